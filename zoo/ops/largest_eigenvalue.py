"""Upper bounds of the largest eigenvalue of a symmetric matrix, proven by a factorisation.

A full eigendecomposition costs many times as much as one Cholesky factorisation. So the largest
eigenvalue is estimated by Lanczos iterations, and the factorisation of ``s I − A`` then proves that
no eigenvalue of ``A`` exceeds a number ``s`` that is slightly larger than the estimate.
"""

import numpy as np
import scipy.linalg

from zoo.typing import Array

#: The largest relative error of one float64 operation.
UNIT_ROUNDOFF64 = 2.0**-53
# The allowed distance of s from the estimate, relative to the largest absolute eigenvalue, for the
# attempts that use the quick estimate. All attempts after these use the exact eigenvalue.
_QUICK = (1e-9, 1e-7)
# The quick estimate ends after this many iterations, or if the residual is this small.
_ITERATIONS, _RESIDUAL = 120, 1e-6
# Below this size the exact eigenvalues take no longer than the estimate.
_SMALL = 32


def rounding64(terms: int) -> float:
    """Bound of the relative error of a product of ``terms`` factors ``1 + δ`` with |δ| ≤ 2⁻⁵³.

    The error of a float64 sum of products is at most this fraction of the sum of their absolute
    values, in any order of summation, if no product goes through more than ``terms`` roundings.

    Reference:
        Higham: Accuracy and Stability of Numerical Algorithms, 2002, lemma 3.1.
    """
    if terms * UNIT_ROUNDOFF64 >= 0.5:
        return float("inf")
    return terms * UNIT_ROUNDOFF64 / (1.0 - terms * UNIT_ROUNDOFF64)


def gram_error(trace: float, terms: int) -> float:
    """Bound of the spectral norm of the rounding errors in a computed matrix ``F Fᵀ``.

    Each entry is wrong by at most ``γ |F| |F|ᵀ``, where γ is :func:`rounding64`. The spectral norm
    of ``|F| |F|ᵀ`` is at most its trace, which is that of ``F Fᵀ``: all terms of the diagonal are
    squares, so the computed trace is at least ``1 − γ`` times the exact one.

    Args:
        trace: the trace of the computed matrix.
        terms: upper bound of the number of roundings that a product of two entries goes through,
            including those of the sum, and of the trace itself.
    """
    rounding = rounding64(terms)
    return 2.0 * rounding * trace if rounding < 0.25 else float("inf")


def largest_eigenvalue(matrix: Array, error: float = 0.0) -> float:
    """Upper bound of the largest eigenvalue of a symmetric matrix, but at least 0.

    Let ``A`` be the matrix as it is stored, and ``H`` the computed ``s I − A``. If the Cholesky
    factorisation of H succeeds in floating-point arithmetic, its factor R satisfies
    ``RᵀR = H + Δ`` with ``|Δ| ≤ γ |Rᵀ| |R|`` (Higham, theorem 10.3; γ is :func:`rounding64` of the
    number of roundings of an entry). RᵀR is positive semidefinite, so no eigenvalue of H is below
    ``−‖Δ‖₂ ≥ −γ ‖R‖_F²``. The diagonal of the equation says ``‖R‖_F² ≤ tr H + γ ‖R‖_F²``. So no
    eigenvalue of H is below ``−γ / (1 − γ) · tr H`` (Rump, theorem 2.3). The theorem counts
    ``n + 1`` roundings. Four times as many are allowed for here, because libraries factorise block
    by block and multiply by rounded reciprocals. The difference ``s − a`` on the diagonal of H is
    rounded once, by at most 2⁻⁵³ of it.

    Sums and products that underflow are wrong by at most 2⁻¹⁰²² each. The matrix is scaled by a
    power of two so that its largest entry is between 1/2 and 1. The underflows of n roundings in n²
    entries are then far below the rounding of s.

    Args:
        matrix: float64 array ``(n, n)``. Only one triangle of it need be rounded correctly.
        error: upper bound of the spectral norm of the difference between this matrix and the
            symmetric one whose eigenvalue is asked for.

    Returns:
        float; ``inf`` if the matrix has infinite or NaN entries. It exceeds the eigenvalue by no
        more than ``error`` and about 1e-7 of the largest absolute eigenvalue, usually 1e-9 of it.

    Examples:
        >>> import numpy as np
        >>> from zoo.ops.largest_eigenvalue import largest_eigenvalue
        >>> round(largest_eigenvalue(np.array([[2.0, 1.0], [1.0, 2.0]])), 6)
        3.0

    Reference:
        Rump: Verification of Positive Definiteness, BIT Numerical Mathematics 46, 2006.
    """
    size = len(matrix)
    largest = float(np.abs(matrix).max(initial=0.0))
    if not (np.isfinite(largest) and np.isfinite(error)):
        return float("inf")
    if largest == 0.0:
        return error
    exponent = int(np.frexp(largest)[1])
    bound = _scaled_bound(np.ldexp(matrix, -exponent), size)
    with np.errstate(over="ignore"):
        # The last factor covers the roundings of this line and of the sums in `_scaled_bound`.
        return float((np.ldexp(bound, exponent) + error) * (1.0 + 32.0 * UNIT_ROUNDOFF64))


def _scaled_bound(matrix: Array, size: int) -> float:
    """:func:`largest_eigenvalue` of a matrix whose largest absolute entry is between 1/2 and 1."""
    rounding = rounding64(4 * (size + 2))
    diagonal = np.diagonal(matrix)
    estimate, spread = _ends(matrix, exact=size <= _SMALL)
    attempts = [(step, size <= _SMALL) for step in _QUICK]
    attempts += [(10.0**power, True) for power in range(-9, 1)]
    exact = size <= _SMALL
    for step, needs_exact in attempts:
        if needs_exact and not exact:
            estimate, spread = _ends(matrix, exact=True)
            exact = True
        shift = max(estimate, 0.0) + step * spread
        pivots = shift - diagonal
        if rounding >= 0.25 or not (pivots > 0.0).all():
            continue
        if _factorises(matrix, pivots):
            # Twice the rounding exceeds γ / (1 − γ), and makes up for the rounding of the trace.
            return shift + 2.0 * rounding * float(pivots.sum()) + UNIT_ROUNDOFF64 * pivots.max()
    # The largest row sum bounds every eigenvalue; its rounding is less than that of n more terms.
    return float(np.abs(matrix).sum(axis=1).max()) * (1.0 + 2.0 * rounding64(size + 2))


def _factorises(matrix: Array, pivots: Array) -> bool:
    """Whether the Cholesky factorisation of ``diag(pivots) − offdiagonal(matrix)`` succeeds."""
    shifted = np.negative(matrix)
    np.fill_diagonal(shifted, pivots)
    # LAPACK reads columns: the transposed array of a symmetric matrix is not copied.
    (factorise,) = scipy.linalg.get_lapack_funcs(("potrf",), (shifted,))
    factor, info = factorise(shifted.T, lower=1, clean=0, overwrite_a=1)
    # Some libraries do not notice a NaN pivot, which an overflow may have caused.
    roots = np.diagonal(factor)
    return info == 0 and bool((np.isfinite(roots) & (roots > 0.0)).all())


def _ends(matrix: Array, exact: bool) -> tuple[float, float]:
    """Estimates of the largest eigenvalue, and of the largest absolute eigenvalue."""
    if exact:
        found = scipy.linalg.eigh(matrix, eigvals_only=True, check_finite=False)
    else:
        found = _ritz_values(matrix)
    return float(found[-1]), float(max(abs(found[0]), abs(found[-1])))


def _ritz_values(matrix: Array) -> Array:
    """Approximate eigenvalues by Lanczos iterations, in ascending order.

    Each vector is made orthogonal to all earlier ones, so that rounding creates no spurious
    eigenvalues. Always the same start makes the results reproducible.
    """
    size = len(matrix)
    steps = min(size, _ITERATIONS)
    basis = np.zeros((steps + 1, size))
    start = np.random.default_rng(0).normal(size=size)
    basis[0] = start / np.linalg.norm(start)
    alpha, beta = np.zeros(steps), np.zeros(steps)
    values = np.zeros(1)
    for step in range(steps):
        vector = matrix @ basis[step]
        alpha[step] = vector @ basis[step]
        earlier = basis[: step + 1]
        for _ in range(2):
            vector -= (earlier @ vector) @ earlier
        beta[step] = np.linalg.norm(vector)
        last = step + 1 == steps
        if last or step % 8 == 7 or beta[step] < 1e-14:
            values, vectors = scipy.linalg.eigh_tridiagonal(alpha[: step + 1], beta[:step])
            residual = beta[step] * abs(vectors[-1, -1])
            if residual <= _RESIDUAL * np.abs(values[[0, -1]]).max():
                break
        if not last:
            basis[step + 1] = vector / beta[step]
    return values
