"""Bounds of the Hessian of a smooth network, over all inputs or within a ball."""

import dataclasses
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import scipy.linalg

from zoo.bounds.smooth_network import SmoothNetwork
from zoo.ops.cores import on_all_cores
from zoo.typing import Array, Numbers
from zoo.utils.float64 import SLACK

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


def global_curvature(network: SmoothNetwork) -> Curvature:
    """Curvature bounds of all pairs of classes.

    Each hidden layer adds ``Jᵀ diag(d) J`` to the Hessian. Here J is the Jacobian of the
    activation's inputs, and d is ``σ''`` times the derivative of the logits' difference by the
    activation's outputs; interval bounds of d are propagated backwards from the last layer. The
    Jacobian is ``J = Wᵀ J'``, where J' belongs to the layers before. So the term's eigenvalues are
    bounded by those of ``W diag(d) Wᵀ``, computed in float64, times the bound of ``‖J'‖²`` that
    follows from the norms of the layers before.

    Args:
        network: :class:`zoo.bounds.smooth_network.SmoothNetwork`, prepared.

    Returns:
        :class:`Curvature`.

    Reference:
        Singla, Feizi: Second-Order Provable Defenses against Adversarial Attacks, ICML 2020,
        theorems 3 and 4.
    """
    head, norms = network.kernels[-1], network.norms()
    ranges = [((0.0, activation.steepest), activation.bend) for activation in network.activations]
    count = head.shape[1]
    own, other = np.tril_indices(count, -1)
    heads = (head[:, own] - head[:, other]).T
    bounds = on_all_cores(lambda row: eigenvalue_bounds(network, norms, row, ranges), heads)
    low, high = np.transpose(bounds)
    lower, upper = np.zeros((count, count)), np.zeros((count, count))
    lower[own, other], upper[own, other] = low, high
    lower[other, own], upper[other, own] = -high, -low
    return Curvature(lower, upper)


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
        kernel = network.kernels[index]
        products = [slope * bend for slope in (slope_low, slope_high) for bend in bends]
        stretch = 1.0
        for before in range(index):
            stretch *= (np.max(ranges[before][0][1]) * norms[before]) ** 2
        total_low += stretch * _least_eigenvalue(kernel, np.min(products, axis=0))
        total_high -= stretch * _least_eigenvalue(kernel, -np.max(products, axis=0))
        # Interval bounds of the derivative by the activation's inputs, then by the kernel's inputs.
        passed_low = np.minimum(least * slope_low, steepest * slope_low)
        passed_high = np.maximum(least * slope_high, steepest * slope_high)
        positive, negative = np.maximum(kernel, 0.0), np.minimum(kernel, 0.0)
        slope_low = positive @ passed_low + negative @ passed_high
        slope_high = positive @ passed_high + negative @ passed_low
    return total_low, total_high


def _least_eigenvalue(kernel: Array, diagonal: Array) -> float:
    """Lower bound, at most 0, of the least eigenvalue of ``W diag(d) Wᵀ``."""
    if (diagonal >= 0).all():
        return 0.0
    if (diagonal <= 0).all() and kernel.shape[1] < len(kernel):
        # With F = √-d Wᵀ the matrix is -FᵀF, whose least eigenvalue is that of the smaller -FFᵀ:
        # FᵀF and FFᵀ have the same largest eigenvalue.
        factor = np.sqrt(-diagonal)[:, None] * kernel.T
        matrix, diagonal = -factor @ factor.T, np.ones(len(kernel))
    else:
        factor, matrix = kernel, (kernel * diagonal) @ kernel.T
    # The largest row sum of the matrix without any cancellation. Float64's error is a small part of
    # it.
    sizes = np.abs(factor)
    largest = float((sizes @ (np.abs(diagonal) * sizes.sum(axis=0))).max())
    if not np.isfinite(largest):
        return -np.inf
    (least,) = scipy.linalg.eigh(matrix, eigvals_only=True, subset_by_index=[0, 0])
    return min(0.0, float(least)) - SLACK * largest
