"""Bounds of the Hessian of a smooth network, over all inputs or within a ball."""

import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np

from zoo.bounds.smooth_network import SmoothNetwork
from zoo.ops.cores import on_all_cores, undivided_linear_algebra
from zoo.ops.largest_eigenvalue import gram_error, largest_eigenvalue, rounding64
from zoo.typing import Array, Numbers
from zoo.utils.float64 import LINE_SLACK

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

    Each hidden layer adds ``Jᵀ diag(d) J`` to the Hessian. Here J is the Jacobian of the
    activation's inputs, and d is ``σ''`` times the derivative of the logits' difference by the
    activation's outputs; interval bounds of d are propagated backwards from the last layer. The
    Jacobian is ``J = Wᵀ J'``, where J' belongs to the layers before. So the term's eigenvalues are
    bounded by those of ``W diag(d) Wᵀ``, computed in float64, times the bound of ``‖J'‖²`` that
    follows from the norms of the layers before.

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
            norms = network.norms()
            bounds = on_all_cores(
                lambda pair: eigenvalue_bounds(
                    network, norms, head[:, pair[0]] - head[:, pair[1]], ranges
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
    network: SmoothNetwork, norms: Sequence[float], head: Array, ranges: Sequence[Ranges]
) -> tuple[float, float]:
    """Bounds ``(lower, upper)`` of the Hessian's eigenvalues, for one combination of logits.

    Args:
        network: :class:`zoo.bounds.smooth_network.SmoothNetwork`, prepared.
        norms: upper bounds of the L2 norms of its affine maps.
        head: float64 array, the combination's coefficients of the last hidden layer's outputs.
        ranges: for each activation ``((σ' low, σ' high), (σ'' low, σ'' high))``, numbers or arrays.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # an infinite or NaN bound proves nothing
        return _eigenvalue_bounds(network, norms, head, ranges)


def _eigenvalue_bounds(
    network: SmoothNetwork, norms: Sequence[float], head: Array, ranges: Sequence[Ranges]
) -> tuple[float, float]:
    slope_low = slope_high = head
    total_low = total_high = 0.0
    for index in reversed(range(len(network.activations))):
        (least, steepest), bends = ranges[index]
        products = [slope * bend for slope in (slope_low, slope_high) for bend in bends]
        stretch = 1.0
        for before in range(index):
            stretch *= (np.max(ranges[before][0][1]) * norms[before]) ** 2
        low, high = np.min(products, axis=0), np.max(products, axis=0)
        below = _least_eigenvalue(network, index, low)
        # If σ'' has symmetric bounds, both ends belong to the same matrix.
        above = below if np.array_equal(low, -high) else _least_eigenvalue(network, index, -high)
        total_low += stretch * below
        total_high -= stretch * above
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
    # This factor covers the few roundings of the products and sums above.
    return total_low * (1.0 + LINE_SLACK), total_high * (1.0 + LINE_SLACK)


def _least_eigenvalue(network: SmoothNetwork, index: int, diagonal: Array) -> float:
    """Lower bound, at most 0, of the least eigenvalue of ``W diag(d) Wᵀ``.

    The diagonal may be wrong by a few roundings.
    """
    kernel = network.kernels[index]
    if not np.isfinite(diagonal).all():
        return -np.inf
    if (diagonal >= 0).all():
        return 0.0
    # The roundings of an entry: those of the sum, of d, of a root and of the products with them.
    roundings = max(kernel.shape) + 12
    gram = network.gram(index)
    if (diagonal <= 0).all() and gram is not None:
        # With F = √-d Wᵀ the matrix is -FᵀF, whose least eigenvalue is that of -FFᵀ: FᵀF and FFᵀ
        # have the same largest eigenvalue. FFᵀ is WᵀW with scaled rows and columns, and its rows
        # and columns where d is zero do not matter.
        used = np.flatnonzero(diagonal)
        roots = np.sqrt(-diagonal[used])
        matrix = gram[np.ix_(used, used)]
        matrix *= roots
        matrix *= roots[:, None]
        error = gram_error(float(np.trace(matrix)), roundings)
    else:
        matrix = network.weighted(index, -diagonal)
        # As for a Gram matrix, with the trace of the matrix without any cancellation.
        squares = np.square(kernel).sum(axis=0)
        error = gram_error(float(np.abs(diagonal) @ squares), roundings)
    return -largest_eigenvalue(matrix, error)
