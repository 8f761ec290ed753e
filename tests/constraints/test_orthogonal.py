"""Kernels that an optimizer's steps leave orthogonal."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.constraints import Orthogonal


def after(steps, matrix):
    return keras.ops.convert_to_numpy(Orthogonal(steps)(keras.ops.convert_to_tensor(matrix)))


def singular_values(kernel):
    matrix = kernel.reshape(-1, kernel.shape[-1]).astype("float64")
    return np.linalg.svd(matrix, compute_uv=False)


@pytest.mark.integration
@given(
    seed=st.integers(0, 100_000),
    shape=st.sampled_from([(1, 1), (3, 8), (8, 3), (6, 6), (3, 3, 2, 5)]),
    scale=st.sampled_from([1e-3, 0.1, 1.0, 10.0, 1e3]),
)
def test_no_singular_value_is_left_above_1(seed, shape, scale):
    kernel = np.random.default_rng(seed).normal(size=shape).astype("float32") * np.float32(scale)
    once = after(1, kernel)
    assert once.shape == shape
    assert singular_values(once).max() <= 1 + 1e-5
    # Small ones grow by half each time.
    assert singular_values(after(80, kernel)).min() > 0.99


@given(seed=st.integers(0, 100_000), wide=st.booleans())
def test_one_step_is_enough_near_the_orthogonal_ones(seed, wide):
    random = np.random.default_rng(seed)
    orthogonal, _ = np.linalg.qr(random.normal(size=(9, 5)))
    near = orthogonal + 0.01 * random.normal(size=orthogonal.shape)
    near = (near.T if wide else near).astype("float32")
    distance = np.abs(singular_values(near) - 1).max()
    assert np.abs(singular_values(after(1, near)) - 1).max() <= 2 * distance**2 + 1e-6


def test_it_goes_where_the_nearest_orthogonal_matrix_is():
    matrix = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
    left, _, right = np.linalg.svd(matrix, full_matrices=False)
    np.testing.assert_allclose(after(40, matrix), left @ right, atol=1e-4)


def test_config_round_trip():
    again = keras.constraints.deserialize(keras.constraints.serialize(Orthogonal(steps=3)))
    assert again.steps == 3
