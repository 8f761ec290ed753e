"""Proven bounds of eigenvalues and norms, against exact rational arithmetic."""

from fractions import Fraction
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.ops import dense_norm, largest_eigenvalue
from zoo.ops.largest_eigenvalue import largest_eigenvalue as bound_of

SIZES = st.tuples(st.integers(1, 6), st.integers(1, 6))
# The exponents of ten that float32 weights may have, subnormal numbers included.
EXPONENTS = st.tuples(st.integers(-42, 37), st.integers(-42, 37))


def exact(array):
    return [[Fraction(float(entry)) for entry in row] for row in array]


def gram(rows):
    return [
        [sum((a * b for a, b in zip(x, y, strict=True)), Fraction()) for y in rows] for x in rows
    ]


def semidefinite(matrix):
    """Whether a symmetric matrix of fractions is positive semidefinite, by exact elimination."""
    matrix = [list(row) for row in matrix]
    for k in range(len(matrix)):
        pivot = matrix[k][k]
        if pivot < 0 or (pivot == 0 and any(matrix[k][k + 1 :])):
            return False
        for i in range(k + 1, len(matrix)):
            factor = matrix[i][k] / pivot if pivot else Fraction()
            matrix[i] = [a - factor * b for a, b in zip(matrix[i], matrix[k], strict=True)]
    return True


def above(bound, matrix):
    """Whether ``bound I − matrix`` is positive semidefinite."""
    shifted = [
        [(bound if i == j else 0) - entry for j, entry in enumerate(row)]
        for i, row in enumerate(matrix)
    ]
    return semidefinite(shifted)


def matrices(seed, size, exponents, rank):
    """Float32 matrices whose rows have very different scales, some of deficient rank or zero."""
    random = np.random.default_rng(seed)
    low, high = sorted(exponents)
    factors = random.normal(size=(size[0], rank)) @ random.normal(size=(rank, size[1]))
    with np.errstate(over="ignore", under="ignore"):
        scaled = factors * 10.0 ** random.uniform(low, high, size=(size[0], 1))
        return np.clip(scaled, -3e38, 3e38).astype(np.float32)


@pytest.mark.parametrize("small", [0, 32])  # from the quick estimate, and from exact eigenvalues
@given(seed=st.integers(0, 10_000), size=SIZES, exponents=EXPONENTS, rank=st.integers(0, 6))
def test_no_norm_exceeds_its_bound(small, seed, size, exponents, rank):
    kernel = matrices(seed, size, exponents, rank)
    with mock.patch.object(largest_eigenvalue, "_SMALL", small):
        bound = dense_norm(kernel)
    assert above(Fraction(bound) ** 2, gram(exact(kernel)))
    norm = np.linalg.norm(kernel.astype(np.float64), 2)
    assert bound <= norm * (1 + 1e-6)


@given(
    seed=st.integers(0, 10_000),
    size=st.integers(1, 6),
    exponent=st.integers(-300, 300),
    shift=st.floats(-2, 2),
    quality=st.floats(-1, 2),
)
def test_a_wrong_estimate_gives_no_wrong_bound(seed, size, exponent, shift, quality):
    """Indefinite matrices too, and those without a positive eigenvalue."""
    random = np.random.default_rng(seed)
    matrix = random.normal(size=(size, size)) + shift * np.eye(size)
    matrix = (matrix + matrix.T) * 10.0**exponent
    values = largest_eigenvalue._ritz_values
    with (
        mock.patch.object(largest_eigenvalue, "_SMALL", 0),
        mock.patch.object(largest_eigenvalue, "_ritz_values", lambda m: quality * values(m)),
    ):
        bound = bound_of(matrix)
    assert bound >= 0
    assert above(Fraction(bound), exact(matrix))


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (120, 70), (70, 120)])
def test_norms_of_rank_one_are_exact_to_nine_digits(shape):
    random = np.random.default_rng(0)
    u, v = (random.integers(-9, 10, size=n).astype(float) for n in shape)
    u[0] = v[0] = 9.0
    square = int(u @ u) * int(v @ v)
    bound = dense_norm(np.outer(u, v))
    assert square <= Fraction(bound) ** 2 <= square * (1 + Fraction(1, 10**8))


def test_many_equal_singular_values():
    """All of them are 1, as those of an orthogonal kernel, or hardly differ."""
    random = np.random.default_rng(0)
    orthogonal = np.linalg.qr(random.normal(size=(200, 200)))[0]
    for spread in (0.0, 1e-4):
        kernel = orthogonal * np.linspace(1.0 - spread, 1.0, 200)
        assert 1.0 - 1e-12 <= dense_norm(kernel) <= 1.0 + 1e-6


def test_no_matrix_and_no_number():
    assert dense_norm(np.zeros((3, 5))) == 0.0
    assert bound_of(np.zeros((3, 3)), 0.25) == 0.25
    assert bound_of(np.array([[1.0, np.inf], [np.inf, 1.0]])) == np.inf
    assert bound_of(np.array([[np.nan]])) == np.inf
    assert bound_of(np.eye(2), np.inf) == np.inf


def test_the_error_of_the_matrix_is_added():
    matrix = np.diag([3.0, 1.0])
    assert bound_of(matrix, 0.5) >= 3.5
    assert bound_of(matrix, 0.5) == pytest.approx(3.5, rel=1e-8)
