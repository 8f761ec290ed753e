"""Curvature of the differences of logits, estimated from below, as a penalty in training."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from keras import ops

from zoo.ops.gradients import input_gradient
from zoo.typing import Tensor

if TYPE_CHECKING:
    from zoo.bounds.rules.affine import AffineRule
    from zoo.bounds.smooth_network import SmoothNetwork

_SMALLEST = 1e-12


class PairCurvature:
    """Estimates of upper bounds of the curvature of ``f_c − f_j``, for all pairs of classes.

    They estimate the published upper bounds: power iteration replaces the exact eigenvalues and
    norms, and gradients flow to the weights. For several hidden layers the bounds that certify,
    those of :class:`zoo.bounds.curvature.GlobalCurvature`, are tighter.

    Args:
        network: :class:`zoo.bounds.smooth_network.SmoothNetwork`.
        num_classes: number of logits.

    Attributes:
        vector_shapes: list of the shapes of the vectors that :meth:`__call__` takes and returns.

    Reference:
        Singla, Feizi: Second-Order Provable Defenses against Adversarial Attacks, ICML 2020,
        theorems 3 and 4.
    """

    def __init__(self, network: "SmoothNetwork", num_classes: int) -> None:
        pairs = [(c, j) for c in range(num_classes) for j in range(num_classes)]
        self.own, self.other = (np.array(part) for part in zip(*pairs, strict=True))
        self.num_classes = num_classes
        # The tuple keeps a Keras object that holds this one from tracking the network's layers.
        self._network = (network,)
        shapes = [group[0].input_shape for group in network.groups[:-1]]
        self.vector_shapes = [
            *((len(pairs), *shape) for shape in shapes),
            *((1, *shape) for shape in shapes[:-1]),
        ]

    def __call__(self, vectors: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Make one step of power iteration from each vector.

        Returns:
            ``(curvature, vectors)``: a tensor ``(classes, classes)``, and the vectors for the next
            call.
        """
        (network,) = self._network
        count = len(network.activations)
        pair_vectors, norm_vectors = vectors[:count], vectors[count:]
        hidden, head = network.groups[:-1], ops.convert_to_tensor(network.head.kernel)
        stretches, new_norms = [1.0], []
        for group, activation, vector in zip(
            hidden[:-1], network.activations[:-1], norm_vectors, strict=True
        ):
            square, vector = _largest(group, None, vector)
            stretches.append(stretches[-1] * activation.steepest**2 * square[0])
            new_norms.append(vector)
        columns = ops.transpose(head)
        low = high = ops.take(columns, self.own, axis=0) - ops.take(columns, self.other, axis=0)
        total, new_pairs = 0.0, [None] * count
        for index in reversed(range(count)):
            activation, group = network.activations[index], hidden[index]
            products = [slope * bend for slope in (low, high) for bend in activation.bend]
            diagonal = products[0]
            for product in products[1:]:
                diagonal = ops.maximum(diagonal, product)
            found, vector = _largest(group, ops.maximum(diagonal, 0.0), pair_vectors[index])
            total, new_pairs[index] = total + stretches[index] * found, vector
            if index:
                passed_low = ops.minimum(activation.steepest * low, 0.0)
                passed_high = ops.maximum(activation.steepest * high, 0.0)
                (dense,) = group
                kernel = ops.transpose(ops.convert_to_tensor(dense.layer.kernel))
                positive, negative = ops.maximum(kernel, 0.0), ops.minimum(kernel, 0.0)
                low = ops.matmul(passed_low, positive) + ops.matmul(passed_high, negative)
                high = ops.matmul(passed_high, positive) + ops.matmul(passed_low, negative)
        curvature = ops.reshape(total, (self.num_classes, self.num_classes))
        return curvature, [*new_pairs, *new_norms]


def _largest(
    group: "Sequence[AffineRule]", diagonal: Tensor | None, vectors: Tensor
) -> tuple[Tensor, Tensor]:
    """Estimates of the largest eigenvalues of ``W diag(d) Wᵀ``, by one step of power iteration.

    Returns:
        ``(estimates, vectors)``: one estimate for each row of ``vectors``, and the next vectors.
    """

    def through(v: Tensor) -> Tensor:
        for rule in group:
            v = rule.trained(v)
        return v

    def weighted(z: Tensor) -> Tensor:
        if diagonal is None:
            return z
        return z * ops.reshape(diagonal, (-1, *z.shape[1:]))

    axes = tuple(range(1, len(vectors.shape)))
    # W diag(d) Wᵀ v is half the gradient of zᵀ diag(d) z at z = Wᵀ v.
    found = input_gradient(lambda v: 0.5 * weighted(ops.square(through(v))), vectors)
    # No gradient flows through the direction: that of the root below would be infinite at zero.
    found = ops.stop_gradient(found)
    lengths = ops.sqrt(ops.sum(ops.square(found), axis=axes, keepdims=True))
    # If the product is zero, as when d is zero in this step, the old direction is kept: no power
    # iteration can continue from a zero vector.
    found = ops.where(lengths > _SMALLEST, found / ops.maximum(lengths, _SMALLEST), vectors)
    vectors = found
    z = weighted(ops.square(through(vectors)))
    return ops.sum(z, axis=tuple(range(1, len(z.shape)))), vectors
