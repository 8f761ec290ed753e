"""Bounds of the Hessian of a smooth network, over all inputs or within a ball."""

import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np

from zoo.bounds.smooth_network import SmoothNetwork
from zoo.ops.cores import on_all_cores, undivided_linear_algebra
from zoo.ops.largest_eigenvalue import (
    UNIT_ROUNDOFF64,
    gram_error,
    largest_eigenvalue,
    rounding64,
)
from zoo.typing import Array, Numbers

#: ``((σ' low, σ' high), (σ'' low, σ'' high))`` of an activation, numbers or arrays.
Ranges: TypeAlias = tuple[tuple[Numbers, Numbers], ...]


@dataclasses.dataclass(frozen=True)
class Curvature:
    """Bounds of the Hessian of each difference of logits ``f_c − f_j``, over all inputs.

    Attributes:
        lower, upper: float64 arrays ``(classes, classes)``, indexed by c and j, with
            ``lower ≤ 0 ≤ upper``. Every eigenvalue of the Hessian lies between them.
    """

    lower: Array
    upper: Array


class GlobalCurvature:
    """Curvature bounds of pairs of classes, each of which is computed when it is first needed.

    Each hidden layer adds ``Jᵢᵀ diag(dᵢ) Jᵢ`` to the Hessian. Here ``Jᵢ`` is the Jacobian of the
    activation's inputs, and ``dᵢ`` is ``σ''`` times the derivative of the logits' difference by the
    activation's outputs; interval bounds of ``dᵢ`` are propagated backwards from the last layer.
    The eigenvalues of the sum are bounded in float64, see :func:`eigenvalue_bounds`.

    Args:
        network: :class:`zoo.bounds.smooth_network.SmoothNetwork`, prepared.

    Reference:
        Singla, Feizi: Second-Order Provable Defenses against Adversarial Attacks, ICML 2020,
        theorems 3 and 4.
    """

    def __init__(self, network: SmoothNetwork) -> None:
        self.network = network
        count = network.kernels[-1].shape[1]
        # NaN stands for a bound that was not computed yet. It proves nothing.
        lower, upper = (np.full((count, count), np.nan) for _ in range(2))
        np.fill_diagonal(lower, 0.0)
        np.fill_diagonal(upper, 0.0)
        self._found = Curvature(lower, upper)

    def of(self, classes: Iterable[int]) -> Curvature:
        """The bounds of every pair that contains one of these classes.

        Args:
            classes: numbers of classes.

        Returns:
            :class:`Curvature`, with NaN for pairs that were never needed.
        """
        found = self._found  # another thread may replace it meanwhile
        lower, upper = found.lower, found.upper
        wanted, count = {int(c) for c in classes}, len(lower)
        pairs = [
            (own, other)
            for own, other in itertools.combinations(range(count), 2)
            if (own in wanted or other in wanted) and np.isnan(lower[own, other])
        ]
        if not pairs:
            return found
        network, head = self.network, self.network.kernels[-1]
        ranges = [
            ((0.0, activation.steepest), activation.bend) for activation in network.activations
        ]
        with undivided_linear_algebra():
            bounds = on_all_cores(
                lambda pair: eigenvalue_bounds(
                    network, head[:, pair[0]] - head[:, pair[1]], ranges
                ),
                pairs,
                description="curvature of pairs of classes",
            )
        lower, upper = lower.copy(), upper.copy()
        for (own, other), (low, high) in zip(pairs, bounds, strict=True):
            lower[own, other], upper[own, other] = low, high
            lower[other, own], upper[other, own] = -high, -low
        self._found = found = Curvature(lower, upper)
        return found

    def of_all(self) -> Curvature:
        """The bounds of all pairs of classes, as :class:`Curvature`."""
        return self.of(range(len(self._found.lower)))


def eigenvalue_bounds(
    network: SmoothNetwork, head: Array, ranges: Sequence[Ranges]
) -> tuple[float, float]:
    """Bounds ``(lower, upper)`` of the Hessian's eigenvalues, for one combination of logits.

    Let ``Jᵢ`` be the Jacobian of the inputs of activation i. Then ``Jᵢ₊₁ = Wᵢ₊₁ᵀ Sᵢ Jᵢ``, where the
    entries of the diagonal matrix ``Sᵢ`` are slopes between 0 and a number s. A term of the Hessian
    is ``Jᵢ₊₁ᵀ D Jᵢ₊₁`` with a diagonal matrix D. Let no entry of D be negative, ``z = Jᵢ v`` for a
    vector v, and ``P = Wᵢ₊₁ D Wᵢ₊₁ᵀ``. With ``Sᵢ = s/2 (I + T)``, where the entries of the diagonal
    matrix T are between -1 and 1,

        ``vᵀ Jᵢ₊₁ᵀ D Jᵢ₊₁ v = ‖P^½ Sᵢ z‖²
        ≤ s²/4 (‖P^½ z‖ + ‖P^½ T z‖)² ≤ s²/2 (zᵀ P z + ‖P‖ zᵀ z)``.

    So the term is at most ``Jᵢᵀ (s²/2 (P + ‖P‖ I)) Jᵢ``, which can be added to the term of layer i.
    In this way all terms are collected, from the last layer to the first one, whose Jacobian is
    constant. The largest eigenvalue of the collected matrix bounds those of the Hessian. The least
    eigenvalue is minus the largest one of the Hessian with the opposite sign.

    The published bound is the sum over the layers of ``‖P‖`` times the squares of the slopes and
    norms of the layers before. For all inputs together, the bound here is never more than that.

    Args:
        network: :class:`zoo.bounds.smooth_network.SmoothNetwork`, prepared.
        head: float64 array, the combination's coefficients of the last hidden layer's outputs.
        ranges: for each activation ``((σ' low, σ' high), (σ'' low, σ'' high))``, numbers or arrays.
            No activation has a negative slope, though a low end may be negative by rounding.

    Reference:
        Singla, Feizi: Second-Order Provable Defenses against Adversarial Attacks, ICML 2020,
        theorems 3 and 4, for the intervals of d.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # an infinite or NaN bound proves nothing
        intervals = _intervals(network, head, ranges)
        steepest = [float(np.max(slopes[1])) for slopes, _ in ranges]
        below = _largest_eigenvalue(network, [-low for low, _ in intervals], steepest)
        # If σ'' has symmetric bounds, both ends belong to the same matrix.
        if all(np.array_equal(low, -high) for low, high in intervals):
            return -below, below
        return -below, _largest_eigenvalue(network, [high for _, high in intervals], steepest)


def _intervals(
    network: SmoothNetwork, head: Array, ranges: Sequence[Ranges]
) -> list[tuple[Array, Array]]:
    """For each hidden layer ``(low, high)``: bounds of ``σ''`` times the derivative behind it."""
    slope_low = slope_high = head
    intervals = []
    for index in reversed(range(len(ranges))):
        (least, steepest), bends = ranges[index]
        products = [slope * bend for slope in (slope_low, slope_high) for bend in bends]
        intervals.append((np.min(products, axis=0), np.max(products, axis=0)))
        if not index:
            break
        # Interval bounds of the derivative by the activation's inputs, then by the kernel's inputs.
        passed_low = np.minimum(least * slope_low, steepest * slope_low)
        passed_high = np.maximum(least * slope_high, steepest * slope_high)
        positive, negative = network.signed_kernels(index)
        sizes = np.maximum(np.abs(passed_low), np.abs(passed_high))
        lost = rounding64(len(sizes) + 4) * ((positive - negative) @ sizes)
        slope_low = positive @ passed_low + negative @ passed_high - lost
        slope_high = positive @ passed_high + negative @ passed_low + lost
    return intervals[::-1]


def _largest_eigenvalue(
    network: SmoothNetwork, diagonals: Sequence[Array], steepest: Sequence[float]
) -> float:
    """Upper bound, at least 0, of the largest eigenvalue of ``Σ Jᵢᵀ diag(dᵢ) Jᵢ``.

    See :func:`eigenvalue_bounds`. Slopes enter by their largest value s only. So the terms that
    have been collected down to layer i are ``Σⱼ Kᵢⱼ diag(wⱼ) Kᵢⱼᵀ``, where ``Kᵢⱼ = Wᵢ … Wⱼ`` is the
    product of kernels. From one layer to the one before, the weights ``wⱼ`` are multiplied by
    ``s²/2``, and the part with ``‖P‖`` is added to that layer's own weights. A diagonal matrix is
    at most its positive part, so weights that are still negative then count as 0.
    """
    if not all(np.isfinite(diagonal).all() for diagonal in diagonals):
        return np.inf
    if len(diagonals) == 1:
        return _largest_of_kernel(network, diagonals[0])
    weights: list[Array] = []
    bound = 0.0
    for index in reversed(range(len(diagonals))):
        factor = steepest[index] ** 2 / 2.0
        own, added = diagonals[index], factor * bound
        # The last part covers the roundings of a sum in which d and the other part may cancel.
        own = own + added + 8.0 * UNIT_ROUNDOFF64 * (np.abs(own) + added)
        weights = [np.maximum(own, 0.0), *(factor * later for later in weights)]
        bound = _largest_of_products(network, index, weights)
    return bound


def _largest_of_products(network: SmoothNetwork, first: int, weights: Sequence[Array]) -> float:
    """Upper bound, at least 0, of the largest eigenvalue of ``Σⱼ Kⱼ diag(wⱼ) Kⱼᵀ``.

    Here ``Kⱼ`` is the product of the kernels from ``first`` on. No weight is negative, and each may
    be wrong by a few roundings.
    """
    if not all(np.isfinite(part).all() for part in weights):
        return np.inf
    products = [network.product(first, first + later) for later in range(len(weights))]
    # With the columns √wⱼ Kⱼ in one factor F, the matrix is FFᵀ, and FᵀF has the same largest
    # eigenvalue.
    factor = np.hstack([k * np.sqrt(w) for (k, _), w in zip(products, weights, strict=True)])
    matrix = factor @ factor.T if len(factor) <= factor.shape[1] else factor.T @ factor
    error = gram_error(float(np.trace(matrix)), sum(factor.shape) + 12 + 4 * len(weights))
    for (product, wrong), part in zip(products, weights, strict=True):
        # If K is wrong by Δ, then K diag(w) Kᵀ is wrong by at most max w (2 ‖K‖ ‖Δ‖ + ‖Δ‖²). The
        # roundings of this line are far less than what the bound of ‖Δ‖ has to spare.
        error += part.max() * wrong * (2.0 * float(np.linalg.norm(product)) + wrong)
    return largest_eigenvalue(matrix, error)


def _largest_of_kernel(network: SmoothNetwork, diagonal: Array) -> float:
    """Upper bound, at least 0, of the largest eigenvalue of ``W diag(d) Wᵀ`` for the first kernel.

    The diagonal may be wrong by a few roundings.
    """
    kernel = network.kernels[0]
    if (diagonal <= 0).all():
        return 0.0
    # The roundings of an entry: those of the sum, of d, of a root and of the products with them.
    roundings = max(kernel.shape) + 12
    gram = network.gram()
    if (diagonal >= 0).all() and gram is not None:
        # With F = √d Wᵀ the matrix is FᵀF, which has the same largest eigenvalue as FFᵀ. FFᵀ is
        # WᵀW with scaled rows and columns, and its rows and columns where d is zero do not matter.
        used = np.flatnonzero(diagonal)
        roots = np.sqrt(diagonal[used])
        matrix = gram[np.ix_(used, used)]
        matrix *= roots
        matrix *= roots[:, None]
        error = gram_error(float(np.trace(matrix)), roundings)
    else:
        matrix = network.weighted(diagonal)
        # The error of a Gram matrix, whose trace has |diagonal| in place of the diagonal.
        squares = np.square(kernel).sum(axis=0)
        error = gram_error(float(np.abs(diagonal) @ squares), roundings)
    return largest_eigenvalue(matrix, error)
