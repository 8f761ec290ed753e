"""Norm bounds against the singular values of the whole operators."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.ops import convolution_norm, dense_norm, row_sum_bound


def operator(kernel, image_shape, strides, padding):
    """The matrix of a convolution, from its impulse responses."""
    channels = kernel.shape[2]
    impulses = np.eye(image_shape[0] * image_shape[1] * channels, dtype="float32")
    outputs = keras.ops.conv(
        impulses.reshape(-1, *image_shape, channels), kernel, strides=strides, padding=padding
    )
    return keras.ops.convert_to_numpy(outputs).reshape(len(impulses), -1).astype("float64")


@given(
    seed=st.integers(0, 10_000),
    image_shape=st.tuples(st.integers(5, 7), st.integers(5, 7)),
    size=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.sampled_from(["same", "valid"]),
    channels=st.integers(1, 3),
    filters=st.integers(1, 3),
)
def test_convolution_bound_holds(seed, image_shape, size, strides, padding, channels, filters):
    random = np.random.default_rng(seed)
    kernel = random.normal(size=(*size, channels, filters)).astype("float32")
    if seed % 2:
        kernel = np.abs(kernel)  # where padding matters most: the largest is the constant image
    exact = np.linalg.norm(operator(kernel, image_shape, strides, padding), 2)
    bound = convolution_norm(kernel, image_shape, strides, padding)
    assert bound >= exact * (1 - 1e-6)
    # Never worse than the norm of the patch matrix and the number of patches a pixel is in.
    repeats = np.prod([-(-k // s) for k, s in zip(size, strides, strict=True)])
    patches = np.linalg.norm(kernel.reshape(-1, filters).astype("float64"), 2)
    assert bound <= np.sqrt(repeats) * patches * (1 + 1e-6)


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_convolution_bound_is_exact_for_patches_that_do_not_overlap(padding):
    kernel = np.random.default_rng(0).normal(size=(2, 3, 3, 4)).astype("float32")
    exact = np.linalg.norm(operator(kernel, (6, 6), (2, 3), padding), 2)
    bound = convolution_norm(kernel, (6, 6), (2, 3), padding)
    np.testing.assert_allclose(bound, exact, rtol=1e-5)


def test_convolution_bound_closes_in_as_images_grow():
    kernel = np.random.default_rng(0).normal(size=(3, 3, 2, 2)).astype("float32")
    gaps = []
    for side in (6, 12, 18):
        exact = np.linalg.norm(operator(kernel, (side, side), 1, "same"), 2)
        gaps.append(convolution_norm(kernel, (side, side)) / exact - 1)
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 0.02


def test_blocks_of_frequencies_change_nothing(monkeypatch):
    kernel = np.random.default_rng(0).normal(size=(3, 3, 4, 5))
    whole = convolution_norm(kernel, (9, 8))
    monkeypatch.setattr("zoo.ops.singular_values._BLOCK", 1)
    assert convolution_norm(kernel, (9, 8)) == whole


@given(
    seed=st.integers(0, 10_000),
    inputs=st.integers(1, 12),
    units=st.integers(1, 12),
)
def test_dense_bounds_hold(seed, inputs, units):
    kernel = np.random.default_rng(seed).normal(size=(inputs, units)) * 10.0 ** (seed % 5 - 2)
    exact = np.sqrt(np.linalg.eigvalsh(kernel.T @ kernel)[-1])
    assert exact * (1 - 1e-12) <= dense_norm(kernel) <= exact * (1 + 1e-8)
    assert float(row_sum_bound(kernel.astype("float32"))) >= exact**2 * (1 - 1e-5)


def test_row_sum_bound_takes_the_better_gram_matrix():
    kernel = np.array([[3.0], [1.0]], "float32")
    assert float(row_sum_bound(kernel)) == 10.0  # WᵀW is 10; the rows of WWᵀ sum to 12 and 4
    assert float(row_sum_bound(kernel.T)) == 10.0


@pytest.mark.parametrize(("rows", "expected"), [(8, 75.0), (10, 80.0)])
def test_the_larger_gram_matrix_of_a_lopsided_kernel_is_not_computed(rows, expected):
    kernel = np.array([[8.0, 2.0]] + [[0.0, 0.5]] * (rows - 1), "float32")
    # The rows of WᵀW sum to 80 and less, those of WWᵀ to 68 + (rows − 1) and less.
    assert float(row_sum_bound(kernel)) == expected
    assert float(row_sum_bound(kernel.T)) == expected


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: dense_norm(np.zeros(3)), "2 axes"),
        (lambda: dense_norm(np.full((2, 2), np.nan)), "NaN or infinite"),
        (lambda: convolution_norm(np.zeros((3, 3)), (5, 5)), "4 axes"),
        (lambda: convolution_norm(np.zeros((3, 3, 1, 1)), (5, 5), 1, "full"), "'full'"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
