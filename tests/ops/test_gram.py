"""Row sums of Gram matrices: their values and the gradients that train with them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

from zoo.ops import input_gradient
from zoo.ops.gram import gram_row_sums
from zoo.ops.parametrizations import almost_orthogonal_sums


def exact_sums(matrix):
    """The absolute row sums of the smaller and of the larger Gram matrix, in float64."""
    rows, columns = (np.abs(m @ m.T).sum(axis=1) for m in (matrix, matrix.T))
    return (rows, columns) if matrix.shape[1] > matrix.shape[0] else (columns, rows)


def differences(function, matrix, step=1e-6):
    """The gradient of a function of a matrix by central differences in float64."""
    gradient = np.zeros_like(matrix)
    for place in np.ndindex(matrix.shape):
        change = np.zeros_like(matrix)
        change[place] = step
        gradient[place] = (function(matrix + change) - function(matrix - change)) / (2.0 * step)
    return gradient


@given(seed=st.integers(0, 10_000), inputs=st.integers(1, 6), units=st.integers(1, 6))
def test_gradients_are_those_of_both_factors(seed, inputs, units):
    random = np.random.default_rng(seed)
    matrix = random.normal(size=(inputs, units))
    # The larger matrix of a lopsided kernel is not computed.
    for place in range(len(gram_row_sums(matrix))):
        weights = random.normal(size=len(exact_sums(matrix)[place]))

        def exact(changed, place=place, weights=weights):
            return weights @ exact_sums(changed)[place]

        def found(kernel, place=place, weights=weights):
            return ops.sum(gram_row_sums(kernel)[place] * weights.astype("float32"))

        gradient = input_gradient(found, matrix.astype("float32"))
        np.testing.assert_allclose(gradient, differences(exact, matrix), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("shape", [(5, 3), (3, 5)])
def test_gradients_of_almost_orthogonal_sums(shape):
    matrix = np.random.default_rng(0).normal(size=shape)
    gradient = input_gradient(almost_orthogonal_sums, matrix.astype("float32"))
    expected = differences(lambda changed: exact_sums(changed)[0].sum(), matrix)
    np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-3)
