"""A chain of affine maps and smooth activations: what curvature is bounded of."""

import dataclasses

import numpy as np
from keras import ops

from zoo.bounds.network_rules import rules_of
from zoo.bounds.rules.dense import DenseRule
from zoo.bounds.rules.rule import refuse
from zoo.ops.precision import double_precision
from zoo.ops.singular_values import dense_norm


@dataclasses.dataclass(frozen=True)
class AffineMap:
    """Layers between two activations, as one matrix.

    Attributes:
        kernel, bias: float64 arrays ``(inputs, outputs)`` and ``(outputs,)``.
        sizes, bias_sizes: likewise, with the sizes of all factors on the way: no less than the
            sizes of the entries of kernel and bias.
        roundings: upper bound of the number of roundings that one product goes through.
        stretch: the largest sum of sizes that a number may be multiplied by on the way.
    """

    kernel: np.ndarray
    bias: np.ndarray
    sizes: np.ndarray
    bias_sizes: np.ndarray
    roundings: int
    stretch: float


class SmoothNetwork:
    """The affine maps of a network, and the activations between them.

    Args:
        model: built ``keras.Sequential`` or functional model in one chain of layers that have
            curvature bounds, see ``zoo.bounds.supported("curvature")``. It ends in a dense layer
            without activation.

    Attributes:
        groups: for each affine map the list of rules that it consists of.
        kinds: the activation after each map but the last, see :mod:`zoo.bounds.activations`.
        activations: :class:`zoo.bounds.activations.derivatives.Derivatives` of each.
        maps: :class:`AffineMap` of each group, as they were when :meth:`prepare` was last called.

    Raises:
        TypeError, ValueError: as :func:`zoo.bounds.graph.nodes_of`.
        zoo.UnsupportedLayerError: naming the first layer that does not fit, and what does.
    """

    def __init__(self, model):
        self.groups, self.kinds, self.activations = [[]], [], []
        rules = rules_of(model, "curvature")
        # No layer with several inputs gives bounds of curvature, so the rules are one chain.
        for rule in rules:
            derivatives = rule.second_order()
            if derivatives is None:
                self._add_affine(rule)
                continue
            if not any(part.has_norm for part in self.groups[-1]):
                refuse(rule.layer, "follows no layer with weights", "curvature")
            self.kinds.append(rule.kind)
            self.activations.append(derivatives)
            self.groups.append([])
        last = rules[-1].layer if rules else model
        if not self.activations or not self.groups[-1]:
            refuse(last, "is no last dense layer after at least one activation", "curvature")
        self.maps = []

    def _add_affine(self, rule):
        group = self.groups[-1]
        if rule.keeps_order and (self.activations or not group):
            return
        # Training splits the kernels after the first activation by the signs of their entries.
        if self.activations and (group or type(rule) is not DenseRule):
            refuse(rule.layer, "follows an activation but is not one dense layer", "curvature")
        if len(rule.input_shape) > 1 and type(rule) is DenseRule and self.activations:
            refuse(rule.layer, "is applied to every pixel", "curvature")
        group.append(rule)

    @property
    def head(self):
        """The last layer, which is dense."""
        return self.groups[-1][-1].layer

    @property
    def kernels(self):
        """The matrices of the maps."""
        return [part.kernel for part in self.maps]

    @property
    def biases(self):
        """The offsets of the maps."""
        return [part.bias for part in self.maps]

    def prepare(self):
        """Read the weights as they are now.

        Raises:
            ValueError: naming a layer with NaN or infinite weights.
        """
        with double_precision():
            self.maps = [_matrix(group) for group in self.groups]
        for group, part in zip(self.groups, self.maps, strict=True):
            if not (np.isfinite(part.sizes).all() and np.isfinite(part.bias_sizes).all()):
                name = group[-1].layer.name
                raise ValueError(f"layer {name!r} has NaN or infinite weights")
        self._norms = None

    def norms(self):
        """Upper bounds of the L2 norms of the affine maps but the last."""
        if self._norms is None:
            self._norms = [dense_norm(part.kernel) for part in self.maps[:-1]]
        return self._norms


def values_and_slopes(network, x, heads, offsets):
    """A combination of logits for each row, and its gradient.

    Args:
        network: ``(kernels, biases, kinds)`` of all but the last layer; tensors, and activations
            as in :attr:`SmoothNetwork.kinds`.
        x: tensor ``(rows, inputs)``.
        heads: tensor ``(rows, units of the last hidden layer)``.
        offsets: tensor ``(rows,)``.

    Returns:
        ``(values, gradients)``: tensors ``(rows,)`` and ``(rows, inputs)``.
    """
    slopes, a = [], x
    for kernel, bias, kind in zip(*network, strict=True):
        z = ops.matmul(a, kernel) + bias
        a = kind.value(z)
        slopes.append(kind.derivatives.slope(z))
    values, gradients = ops.sum(a * heads, axis=-1) + offsets, heads
    for kernel, slope in zip(reversed(network[0]), reversed(slopes), strict=True):
        gradients = ops.matmul(gradients * slope, ops.transpose(kernel))
    return values, gradients


def _matrix(group):
    """The :class:`AffineMap` of a chain of rules."""
    shape = group[0].input_shape
    inputs = int(np.prod(shape))
    impulses = ops.convert_to_tensor(np.eye(inputs).reshape(-1, *shape), "float64")
    zero = ops.zeros((1, *shape), "float64")
    kernel, bias, sizes, bias_sizes = impulses, zero, impulses, zero
    roundings, stretch = 0, 1.0
    for rule in group:
        rule.prepare()
        kernel, bias = rule.linear(kernel), rule.linear(bias) + rule.offset
        sizes, bias_sizes = rule.absolute(sizes), rule.absolute(bias_sizes) + abs(rule.offset)
        roundings += rule.roundings
        ones = ops.ones((1, *rule.input_shape), "float64")
        stretch *= max(1.0, float(ops.max(rule.absolute(ones))))
    kernel, sizes = (ops.convert_to_numpy(part).reshape(inputs, -1) for part in (kernel, sizes))
    bias, bias_sizes = (
        np.broadcast_to(ops.convert_to_numpy(part).reshape(-1), kernel.shape[1:])
        for part in (bias, bias_sizes)
    )
    return AffineMap(kernel, bias, sizes, bias_sizes, roundings, stretch)
