"""The estimate that trains: from below, differentiable, and useless to certify with."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.backend import value_and_gradients
from zoo.certificates import lipschitz_radius, pairwise_radius
from zoo.ops import NormEstimate, dense_norm, input_gradient, power_iteration


def kernel_of(seed, inputs, units):
    return np.random.default_rng(seed).normal(size=(inputs, units)).astype("float32")


@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 6), st.integers(1, 3))
def test_it_stays_below_the_upper_bound(seed, inputs, units, steps):
    kernel = kernel_of(seed, inputs, units)
    start = np.random.default_rng(seed + 1).normal(size=(1, inputs)).astype("float32")
    estimate, vector = power_iteration(lambda v: keras.ops.matmul(v, kernel), start, steps)
    assert float(estimate.value) <= dense_norm(kernel) * (1 + 1e-5)
    np.testing.assert_allclose(np.linalg.norm(keras.ops.convert_to_numpy(vector)), 1, rtol=1e-5)


def test_it_finds_the_norm_and_its_gradient():
    kernel = kernel_of(0, 5, 4)
    u, s, v = np.linalg.svd(kernel.astype("float64"))

    def norm(kernel):
        start = np.ones((1, 5), "float32")
        return power_iteration(lambda z: keras.ops.matmul(z, kernel), start, 60)[0].value

    value, (gradient,) = value_and_gradients(norm, kernel)
    np.testing.assert_allclose(value, s[0], rtol=1e-5)
    np.testing.assert_allclose(gradient, np.outer(u[:, 0], v[0]), atol=1e-3)


def test_a_map_that_was_zero_is_estimated_when_it_is_none_any_more():
    kernel = np.float32([[3.0, 0.0], [0.0, 4.0]])
    _, vector = power_iteration(lambda x: x @ (0.0 * kernel), np.ones((1, 2), "float32"))
    estimate, _ = power_iteration(lambda x: x @ kernel, vector, steps=20)
    assert float(estimate.value) == pytest.approx(4.0, rel=1e-3)


def test_a_map_that_is_zero():
    estimate, vector = power_iteration(lambda v: 0.0 * v, np.ones((1, 3), "float32"))
    assert float(estimate.value) < 1e-6
    assert np.isfinite(keras.ops.convert_to_numpy(vector)).all()


@pytest.mark.parametrize("radius", [lipschitz_radius, pairwise_radius])
def test_no_certificate_takes_an_estimate(radius):
    logits, estimate = np.array([[1.0, 0.0]]), NormEstimate(np.float32(1.0))
    arguments = (logits, np.eye(2)) if radius is pairwise_radius else (logits,)
    assert (radius(*arguments, lipschitz=1.0) > 0).all()
    with pytest.raises(TypeError):
        radius(*arguments, lipschitz=estimate)
    with pytest.raises(TypeError, match="upper bound"):
        float(estimate)


def test_input_gradients_can_be_differentiated_again():
    x = np.array([1.0, 2.0], "float32")

    def slope_squared(w):
        return input_gradient(lambda z: w * z**3, x) ** 2

    value, (gradient,) = value_and_gradients(slope_squared, np.float32(0.5))
    np.testing.assert_allclose(value, (0.5 * 3 * x**2) ** 2)
    np.testing.assert_allclose(gradient, np.sum(2 * 0.5 * (3 * x**2) ** 2))


def test_what_does_not_depend_on_the_inputs_has_no_slope():
    found = input_gradient(lambda z: keras.ops.ones((2,)), np.ones(2, "float32"))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(found), 0)
