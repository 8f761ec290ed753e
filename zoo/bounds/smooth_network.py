"""A network as a chain of affine maps and smooth activations, as curvature bounds need it."""

import dataclasses
import threading
from collections.abc import Callable, Sequence
from typing import Any, cast

import keras
import numpy as np
import scipy.sparse
from keras import ops

from zoo.bounds.activations.derivatives import Derivatives
from zoo.bounds.network_rules import rules_of
from zoo.bounds.rules.activations import ActivationRule
from zoo.bounds.rules.affine import AffineRule
from zoo.bounds.rules.dense import DenseRule
from zoo.bounds.rules.rule import refuse
from zoo.ops.largest_eigenvalue import rounding64
from zoo.ops.precision import double_precision
from zoo.ops.singular_values import dense_norm
from zoo.typing import Array, Tensor
from zoo.utils.float64 import LINE_SLACK


@dataclasses.dataclass(frozen=True)
class AffineMap:
    """All layers between two activations, composed into one matrix and one offset.

    Attributes:
        kernel, bias: float64 arrays ``(inputs, outputs)`` and ``(outputs,)``.
        sizes, bias_sizes: arrays of the same shapes, from the same layers with all their factors
            replaced by absolute values. They are at least ``|kernel|`` and ``|bias|``.
        roundings: upper bound of the number of roundings that one product goes through.
        terms: upper bound of the number of products in one output of each layer, added up.
        stretch: the product over the layers of ``max(1, s)``, where s is the largest sum of the
            absolute factors of one of the layer's outputs.
        peak: the largest sum of sizes of offsets at any of the layers.
        within: the largest sum of the absolute factors of an output of any layer but the last one,
            with respect to the inputs of the first one; 0 if there is one layer.
    """

    kernel: Array
    bias: Array
    sizes: Array
    bias_sizes: Array
    roundings: int
    terms: float
    stretch: float
    peak: float
    within: float = 0.0


class SmoothNetwork:
    """The affine maps of a network, and the activations between them.

    Args:
        model: built ``keras.Sequential`` or functional model. Its layers must form one chain, and
            all must have curvature bounds, see ``zoo.bounds.supported("curvature")``. The last one
            must be a dense layer without activation.

    Attributes:
        groups: for each affine map, the list of the rules that it is composed of.
        kinds: the activation after each map except the last one, see
            :mod:`zoo.bounds.activations`.
        activations: the :class:`zoo.bounds.activations.derivatives.Derivatives` of each of them.
        maps: the :class:`AffineMap` of each group, with the weights that :meth:`prepare` last read.

    Raises:
        TypeError, ValueError: as :func:`zoo.bounds.graph.nodes_of`.
        zoo.UnsupportedLayerError: naming the first layer that is not supported.
    """

    def __init__(self, model: keras.Model) -> None:
        self.groups: list[list[AffineRule]] = [[]]
        self.kinds: list[Any] = []
        self.activations: list[Derivatives] = []
        rules = rules_of(model, "curvature")
        # No layer with several inputs has curvature bounds, so the rules form one chain.
        for rule in rules:
            derivatives = rule.second_order()
            if derivatives is None:
                self._add_affine(cast(AffineRule, rule))
                continue
            if not any(part.has_norm for part in self.groups[-1]):
                refuse(rule.layer, "follows no layer with weights", "curvature")
            self.kinds.append(cast(ActivationRule, rule).kind)
            self.activations.append(derivatives)
            self.groups.append([])
        last = rules[-1].layer if rules else model
        if not self.activations or not self.groups[-1]:
            refuse(
                last,
                "ends the model, which must end in a dense layer after an activation",
                "curvature",
            )
        self.maps: list[AffineMap] = []
        self._derived: dict[str, Any] = {}
        self._lock = threading.RLock()

    def _add_affine(self, rule: AffineRule) -> None:
        group = self.groups[-1]
        if rule.keeps_order and (self.activations or not group):
            return
        # Training (zoo.losses.curvature) splits every kernel after the first activation into its
        # positive and its negative entries, which it can do for a single dense layer only.
        if self.activations and (group or not isinstance(rule, DenseRule)):
            refuse(rule.layer, "follows an activation but is not one dense layer", "curvature")
        if len(rule.input_shape) > 1 and isinstance(rule, DenseRule) and self.activations:
            refuse(rule.layer, "is applied to every pixel", "curvature")
        group.append(rule)

    @property
    def head(self) -> keras.layers.Layer:
        """The last Keras layer, which is dense."""
        return self.groups[-1][-1].layer

    @property
    def kernels(self) -> list[Array]:
        """The matrices of the affine maps."""
        return [part.kernel for part in self.maps]

    @property
    def biases(self) -> list[Array]:
        """The offset vectors of the affine maps."""
        return [part.bias for part in self.maps]

    def prepare(self) -> None:
        """Read the current weights of the layers into :attr:`maps`.

        Raises:
            ValueError: naming a layer with NaN or infinite weights.
        """
        with double_precision():
            maps = [_matrix(group) for group in self.groups]
        for group, part in zip(self.groups, maps, strict=True):
            if not (np.isfinite(part.sizes).all() and np.isfinite(part.bias_sizes).all()):
                name = group[-1].layer.name
                raise ValueError(f"layer {name!r} has NaN or infinite weights")
        self.maps, self._derived = maps, {}

    def norms(self) -> list[float]:
        """Upper bounds of the L2 norms of all affine maps except the last one."""
        return self._once("norms", lambda: [dense_norm(part.kernel) for part in self.maps[:-1]])

    def signed_kernels(self, index: int) -> tuple[Array, Array]:
        """The positive and the negative entries of a kernel, each with zeros for the others."""
        kernel = self.kernels[index]
        return self._once(
            f"signed {index}", lambda: (np.maximum(kernel, 0.0), np.minimum(kernel, 0.0))
        )

    def product(self, first: int, last: int) -> tuple[Array, float]:
        """The product ``W_first … W_last`` of kernels, and how wrong rounding made it.

        Returns:
            ``(product, wrong)``: float64 array ``(inputs, outputs)``, and an upper bound of the
            Frobenius norm of its difference from the exact product.
        """
        return self._once(f"product {first} {last}", lambda: self._product(first, last))

    def _product(self, first: int, last: int) -> tuple[Array, float]:
        kernel = self.kernels[first]
        if first == last:
            return kernel, 0.0
        later, wrong = self.product(first + 1, last)
        # Twice the bound of the product's rounding makes up for the rounding of the norms.
        lost = 2.0 * rounding64(len(later) + 2) * np.linalg.norm(kernel) * np.linalg.norm(later)
        return kernel @ later, float((self.norms()[first] * wrong + lost) * (1.0 + LINE_SLACK))

    def gram(self) -> Array | None:
        """``WᵀW`` of the first kernel ``W (inputs, outputs)``; None with far more outputs."""
        kernel = self.kernels[0]
        if kernel.shape[1] > 2 * kernel.shape[0]:
            return None
        return self._once("gram", lambda: kernel.T @ kernel)

    def weighted(self, diagonal: Array) -> Array:
        """``W diag(d) Wᵀ`` of the first kernel ``W (inputs, outputs)``, for ``d (outputs,)``."""
        kernel = self.kernels[0]
        # The matrix of a convolution has few entries.
        sparse = self._once("sparse", lambda: _sparse(kernel))
        if sparse is None:
            return (kernel * diagonal) @ kernel.T
        return (sparse.multiply(diagonal[None]).tocsr() @ sparse.T).toarray()

    def _once(self, name: str, compute: Callable[[], Any]) -> Any:
        """The result of a function of the weights, which is kept until they are read again."""
        with self._lock:
            if name not in self._derived:
                self._derived[name] = compute()
            return self._derived[name]


def _sparse(kernel: Array) -> Any:
    """A kernel as a sparse matrix, or None if it has too many entries."""
    if np.count_nonzero(kernel) > 0.1 * kernel.size:
        return None
    return scipy.sparse.csr_array(kernel)


def values_and_slopes(
    network: tuple[Sequence[Tensor], Sequence[Tensor], Sequence[Any]],
    x: Tensor,
    heads: Tensor,
    offsets: Tensor,
) -> tuple[Tensor, Tensor]:
    """One linear combination of logits for each row of ``x``, and its gradient.

    Args:
        network: ``(kernels, biases, kinds)`` of all layers except the last one: two lists of
            tensors, and activations as in :attr:`SmoothNetwork.kinds`.
        x: tensor ``(rows, inputs)``.
        heads: tensor ``(rows, units of the last hidden layer)``, the coefficients of that layer's
            outputs in the combination.
        offsets: tensor ``(rows,)``, the constant term of the combination.

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


def _matrix(group: Sequence[AffineRule]) -> AffineMap:
    """The :class:`AffineMap` that a chain of rules computes."""
    if len(group) == 1 and isinstance(group[0], DenseRule) and len(group[0].input_shape) == 1:
        return _matrix_of_dense(group[0])
    shape = group[0].input_shape
    inputs = int(np.prod(shape))
    impulses = ops.convert_to_tensor(np.eye(inputs).reshape(-1, *shape), "float64")
    zero = ops.zeros((1, *shape), "float64")
    kernel, bias, sizes, bias_sizes = impulses, zero, impulses, zero
    roundings, terms, stretch, peak, within = 0, 0, 1.0, 0.0, 0.0
    for rule in group:
        if rule is not group[0]:
            within = max(within, float(ops.max(ops.sum(sizes, axis=0))))
        rule.prepare()
        kernel, bias = rule.linear(kernel), rule.linear(bias) + rule.offset
        sizes, bias_sizes = rule.absolute(sizes), rule.absolute(bias_sizes) + abs(rule.offset)
        roundings += rule.roundings
        terms += rule.terms
        peak = max(peak, float(ops.max(bias_sizes)))
        ones = ops.ones((1, *rule.input_shape), "float64")
        stretch *= max(1.0, float(ops.max(rule.absolute(ones))))
    kernel, sizes = (ops.convert_to_numpy(part).reshape(inputs, -1) for part in (kernel, sizes))
    bias, bias_sizes = (
        np.broadcast_to(ops.convert_to_numpy(part).reshape(-1), kernel.shape[1:])
        for part in (bias, bias_sizes)
    )
    return AffineMap(kernel, bias, sizes, bias_sizes, roundings, terms, stretch, peak, within)


def _matrix_of_dense(rule: DenseRule) -> AffineMap:
    """As :func:`_matrix`, without the products of the kernel and an identity matrix."""
    rule.prepare()
    kernel, sizes, bias = map(ops.convert_to_numpy, (rule.kernel, rule.kernel_sizes, rule.offset))
    bias = np.broadcast_to(bias, kernel.shape[1:])
    return AffineMap(
        kernel,
        bias,
        sizes,
        np.abs(bias),
        rule.roundings,
        rule.terms,
        stretch=max(1.0, float(sizes.sum(axis=0).max())),
        peak=float(np.abs(bias).max()),
    )
