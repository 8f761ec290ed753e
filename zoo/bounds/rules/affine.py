"""Layers that are affine in their inputs."""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from keras import ops

from zoo.bounds import batch_normalization
from zoo.bounds.activations.derivatives import Derivatives
from zoo.bounds.graph import Node
from zoo.bounds.model_state import require_float32_weight
from zoo.bounds.rules.activations import ActivationRule, activation_of
from zoo.bounds.rules.constants import require_in_range
from zoo.bounds.rules.layout import in_channels_last
from zoo.bounds.rules.lipschitz_bound import UNKNOWN, LipschitzBound, with_flushing
from zoo.bounds.rules.rows import products, sizes, through_transposed
from zoo.bounds.rules.rule import Rule, refuse
from zoo.bounds.window_rows import WindowRows
from zoo.ops.float32 import LARGEST, SECOND_ORDER, SMALLEST_NORMAL, sum_rounding
from zoo.ops.precision import double_precision, float64
from zoo.typing import Array, Box, Numbers, Shape, Tensor
from zoo.utils.float64 import SLACK

if TYPE_CHECKING:
    from zoo.bounds.network_rules import Builder
    from zoo.bounds.rules.scaling import BatchNormalizationRule

# Stands for an unbounded error, because sums may overflow. A box this large proves nothing. The
# number is finite because TensorFlow's check for NaN and infinity would raise at an infinite one.
_UNKNOWN = 1e300


class AffineRule(Rule):
    """A layer that is linear in its inputs, plus an offset.

    A subclass defines at least :meth:`linear`, and also :meth:`absolute` if a factor may be
    negative.

    Attributes:
        offset: tensor ``(1, *output_shape)`` or one that broadcasts to it, or 0.
        keeps_order: whether the layer leaves all entries as they are, in the same order, so that
            it is the identity on flattened inputs.
        roundings: upper bound of the number of roundings that one product goes through on its way
            into an output; 0 if the layer rounds nothing.
        largest: the largest absolute value of a factor.
        may_be_merged: whether a compiler may add the offset, or the inputs if there are several, to
            a sum that is an input, in any order.
        merged_roundings: number of further roundings if a compiler merges the layer with the sums
            before or after it.
        offset_roundings: number of further roundings of the offset alone.
    """

    offset: Tensor = 0.0
    keeps_order: bool = False
    roundings: int = 0
    largest: float = 1.0
    may_be_merged: bool = True
    merged_roundings: int = 0
    offset_roundings: int = 0

    @property
    def all_roundings(self) -> int:
        """:attr:`roundings` and :attr:`merged_roundings`; 0 if the layer rounds nothing."""
        return self.roundings + self.merged_roundings if self.roundings else 0

    def require_constants_in_range(self) -> None:
        factors = self.constant_factors()
        if factors is not None:
            require_in_range(self, factors)

    @property
    def terms(self) -> float:
        """Upper bound of the number of products in one output, each of which may be flushed to 0.

        By default it is :attr:`roundings`, because a product in a sum of n may be rounded n times.
        """
        return self.roundings

    @property
    def _all_terms(self) -> float:
        """:attr:`terms`, and the sums of a compiler that merges the layer with others."""
        return self.terms + self.merged_roundings + self.offset_roundings

    def linear(self, tensor: Tensor) -> Tensor:
        """The linear part without the offset, of a float64 tensor ``(batch, *input_shape)``."""
        # `layer(tensor)` would cast the tensor to float32, which `layer.call` does not.
        return self.layer.call(tensor)

    def absolute(self, tensor: Tensor) -> Tensor:
        """The linear part with all factors replaced by their absolute values.

        By default it is :meth:`linear`, which is right if no factor is negative.
        """
        return self.linear(tensor)

    def trained(self, tensor: Tensor) -> Tensor:
        """The linear part with the current weights, which receive gradients.

        Args:
            tensor: float32, ``(batch, *input_shape)``.
        """
        return self.linear(tensor)

    def interval(self, boxes: Sequence[Box]) -> Box:
        lower, upper = boxes[0]
        center = self.linear((lower + upper) / 2.0) + self.offset
        spread = self.absolute((upper - lower) / 2.0) + self.rounding(boxes)
        return center - spread, center + spread

    def rounding(self, boxes: Sequence[Box]) -> Tensor:
        """Bound of float32's error over the boxes: tensor ``(batch, *output_shape)``."""
        offset = abs(self.offset)
        error = self.error(boxes, self.absolute(sizes(boxes[0])) + offset)
        return error + self.offset_error(offset)

    def error(self, boxes: Sequence[Box], size: Tensor) -> Tensor:
        """Bound of float32's error, if absolute values of an output's terms add up to ``size``."""
        if not self.roundings:
            return 0.0
        inputs = 0.0
        for box in boxes:
            entries = sizes(box)
            largest = ops.max(entries, axis=tuple(range(1, len(entries.shape))))
            inputs = ops.maximum(inputs, largest)
        inputs = ops.reshape(inputs, (-1, *[1] * (len(size.shape) - 1)))
        # Float32 may flush subnormal inputs, factors and results to zero.
        flushed = self._all_terms * SMALLEST_NORMAL * (1.0 + self.largest + inputs)
        error = SECOND_ORDER * sum_rounding(self.all_roundings) * size + flushed
        return ops.where(self.all_roundings * size < LARGEST, error, _UNKNOWN)

    def offset_error(self, size: Any) -> Any:
        """What :attr:`offset_roundings` add to the error, if the offset is at most ``size``."""
        if not self.offset_roundings:
            return 0.0
        roundings = self.all_roundings + self.offset_roundings
        return SECOND_ORDER * sum_rounding(roundings) * size

    def apart(self, inputs: Sequence[Tensor], boxes: Sequence[Box], box: Box) -> Tensor:
        return self.absolute(inputs[0]) + 2.0 * self.rounding(boxes)

    def relax(self, boxes: Sequence[Box]) -> Tensor:
        return self.rounding(boxes)

    def backward(self, rows: Any, relaxed: Tensor) -> tuple[list[Any], Tensor]:
        if isinstance(rows, WindowRows):
            sizes_of_rows = dataclasses.replace(rows, values=ops.abs(rows.values))
            offset = products(rows, self.offset) - products(sizes_of_rows, relaxed)
            return [self.transposed_windows(rows)], offset
        offset = products(rows, self.offset) - products(ops.abs(rows), relaxed)
        return [self.transposed(rows)], offset

    def transposed_windows(self, rows: WindowRows) -> WindowRows:
        """As :meth:`transposed`, for a rule that takes windows."""
        raise NotImplementedError

    def rows_of(self, entries: Array) -> Tensor | WindowRows | None:
        """The rows of the linear part for some outputs: their coefficients of the inputs.

        Args:
            entries: int array ``(batch, rows)``, indices into the flattened output.

        Returns:
            Tensor ``(batch, rows, *input_shape)`` or :class:`zoo.bounds.window_rows.WindowRows`;
            None if the rule has no faster way than :meth:`transposed`.
        """
        return

    def transposed(self, rows: Tensor) -> Tensor:
        """Rows ``(batch, rows, *output_shape)`` through the transposed linear part."""
        return through_transposed(self.linear, rows, self.input_shape)

    def norms(self) -> tuple[float, float]:
        """Upper bounds of the L2 norms of the linear part, and of it with absolute factors.

        By default both are the bound of :func:`norm_by_sums`.
        """
        with double_precision():
            norm = norm_by_sums(self.absolute, self.input_shape)
        return norm, norm

    def lipschitz(self) -> LipschitzBound:
        with double_precision():
            self.prepare()
        if not self.roundings:
            return with_flushing(self.norms()[0], 0.0, 0.0, terms=0, entries=0)
        norm, absolute = self.norms()
        offset = float64(self.offset)
        offset = float(np.linalg.norm(np.broadcast_to(offset, (1, *self.output_shape))))
        if not np.isfinite([norm, absolute, offset]).all():
            return UNKNOWN
        rounding = SECOND_ORDER * sum_rounding(self.all_roundings)
        return with_flushing(
            norm,
            rounding * absolute,
            rounding * offset + self.offset_error(offset),
            terms=self._all_terms,
            entries=math.prod(self.output_shape),
            weight=max(1.0, self.largest),
        )

    def second_order(self) -> Derivatives | None:
        return None


class KernelRule(AffineRule):
    """A layer with a kernel and perhaps a bias, without its activation.

    A subclass defines :meth:`apply` and, for a tighter Lipschitz constant, :meth:`norm`. The
    tensors of the rule have their channels last, even if those of the layer have them first.
    """

    limits = "without LoRA and quantisation"
    has_norm = True
    may_be_merged = False  # its own bias is counted with its sums
    #: Whether float32's error in an output is relative to the sum of its products' absolute values.
    relative_to_sums = True
    #: Whether a batch normalisation may be folded into :meth:`lipschitz`.
    folds = True

    @classmethod
    def expand(cls, builder: "Builder", node: Node, inputs: tuple[int, ...]) -> int:
        layer = node.layer
        # Keras's Dense adds the bias that it was built with, whatever `use_bias` says by then.
        if not getattr(layer, "use_bias", True) and getattr(layer, "bias", None) is not None:
            refuse(layer, "was built with a bias, and use_bias was set to False afterwards")
        place = in_channels_last(cls, builder, node, inputs)
        kind = activation_of(node.layer)
        if kind is None:
            return place
        return builder.add(ActivationRule(node.layer, (place,), builder.shape_of(place), kind))

    def prepare(self) -> None:
        self.require_constants_in_range()
        kernel, offset = self.weights()
        self.kernel = ops.convert_to_tensor(kernel, "float64")
        self.kernel_sizes = ops.abs(self.kernel)
        self.offset = ops.convert_to_tensor(offset, "float64")
        self.roundings = self.depth(kernel)
        self._terms = self.flushed_terms(kernel)
        self.largest = float(np.abs(kernel).max())

    def weights(self) -> tuple[Array, Array]:
        """``(kernel, bias)``: float64 arrays; the bias is one zero if there is none."""
        for name in ("kernel", "bias") if self.layer.use_bias else ("kernel",):
            require_float32_weight(self.layer, name)
        bias = float64(self.layer.bias) if self.layer.use_bias else np.zeros(1)
        return float64(self.layer.kernel), bias

    @property
    def terms(self) -> float:
        return self._terms

    @property
    def products(self) -> int:
        """An upper bound of how often a tensor is rounded that the sum of products starts with."""
        kernel = self._layers_kernel
        if kernel is None:  # a user's rule may count by the kernel's numbers
            return self.depth(self.weights()[0])
        return self.depth(np.broadcast_to(0.0, tuple(kernel.shape)))  # only its shape matters

    @property
    def _layers_kernel(self) -> Any:
        """The layer's own kernel; None if it has none, or if a user's rule may read another one."""
        of_zoo = type(self).__module__.startswith("zoo.")
        return getattr(self.layer, "kernel", None) if of_zoo else None

    def count(self, kernel: Array) -> int:
        """The number of products in an output, and 3 for bias and activation."""
        return math.prod(kernel.shape[:-1]) + 3

    def flushed_terms(self, kernel: Array) -> float:
        """Upper bound of :attr:`terms` for a kernel."""
        return self.count(kernel)

    def depth(self, kernel: Array) -> int:
        """Bound of one product's roundings: by default those of a sum in any order."""
        return self.count(kernel)

    def apply(self, tensor: Tensor, kernel: Tensor) -> Tensor:
        """The layer's linear part, with ``kernel`` in place of the layer's kernel."""
        raise NotImplementedError

    def apart(self, inputs: Sequence[Tensor], boxes: Sequence[Box], box: Box) -> Tensor:
        # Compilers do not compute products of matrices and convolutions again, but perhaps what is
        # added to them. An output of a single product is a multiplication like any other, which
        # they compute again together with its input, and so may be a single sum.
        apart = 2.0 * self.rounding(boxes)
        if self._is_scaling or math.prod(self.output_shape) == 1:
            apart = apart + self.absolute(inputs[0])
        return apart

    @functools.cached_property
    def _is_scaling(self) -> bool:
        """Whether each output is a single product, so that the kernel only scales the input."""
        kernel = self._layers_kernel
        shape = tuple((self.weights()[0] if kernel is None else kernel).shape)
        if math.prod(shape) > math.prod(self.output_shape):
            return False
        ones = ops.ones((1, *self.input_shape), "float32")
        return bool(ops.max(self.apply(ones, ops.ones(shape, "float32"))) <= 1.0)

    def constant_factors(self) -> Array | None:
        return self.weights()[0] if self._is_scaling else None

    def require_constants_in_range(self) -> None:
        if self._is_scaling:
            require_in_range(self, self.weights()[0], alone=False)

    def computed(self, tensor: Tensor, kernel: Tensor) -> Tensor:
        """As :meth:`apply`, with the order of summation of the layer at inference."""
        return self.apply(tensor, kernel)

    def scaled(self, kernel: Array, scale: Numbers) -> Array:
        """The kernel with the factor of each output channel in ``scale`` multiplied into it."""
        return kernel * scale

    def norm(self, kernel: Array) -> float:
        """Upper bound of the L2 norm of :meth:`apply` with a kernel.

        Args:
            kernel: float64 array.
        """
        with double_precision():
            size = ops.convert_to_tensor(np.abs(kernel), "float64")
            return norm_by_sums(lambda tensor: self.apply(tensor, size), self.input_shape)

    def linear(self, tensor: Tensor) -> Tensor:
        return self.apply(tensor, self.kernel)

    def absolute(self, tensor: Tensor) -> Tensor:
        return self.apply(tensor, self.kernel_sizes)

    def trained(self, tensor: Tensor) -> Tensor:
        return self.apply(tensor, ops.convert_to_tensor(self.layer.kernel))

    def compute(self, tensors: Sequence[Tensor]) -> Tensor:
        outputs = self.trained(tensors[0])
        return outputs + ops.convert_to_tensor(self.layer.bias) if self.layer.use_bias else outputs

    def row_lengths(self) -> Tensor:
        ones = ops.ones((1, *self.input_shape), "float64")
        return ops.sqrt(self.apply(ones, ops.square(self.kernel)))

    def lipschitz(self, normalization: "BatchNormalizationRule | None" = None) -> LipschitzBound:
        """The bound of the layer, or of the layer and a batch normalisation together.

        Args:
            normalization: the rule of a batch normalisation that is folded into the layer, or None.
                The norm of both together is at most the product of their norms.
        """
        self.require_constants_in_range()
        kernel, bias = self.weights()
        if not (np.isfinite(kernel).all() and np.isfinite(bias).all()):
            return UNKNOWN
        outputs, terms = math.prod(self.output_shape), self.flushed_terms(kernel)
        bias = float(np.linalg.norm(np.broadcast_to(bias, self.output_shape)))
        absolute = self.norm(np.abs(kernel))
        more = self.merged_roundings + self.offset_roundings
        depth, terms = self.depth(kernel) + self.merged_roundings, terms + more
        local, of_bias = sum_rounding(depth), sum_rounding(depth + self.offset_roundings)
        scale, largest, offset, flushed, more = 1.0, 1.0, 0.0, 0.0, 0
        if normalization is not None:
            more = batch_normalization.ROUNDINGS + normalization.merged_roundings
            local, of_bias = local + sum_rounding(more), of_bias + sum_rounding(more)
            more += normalization.offset_roundings
            scale, flushed, offset = normalization.scale_and_errors(self.output_shape)
            largest = float(np.abs(scale).max())
            if not np.isfinite(largest):
                return UNKNOWN
        bound = with_flushing(
            self.norm(self.scaled(kernel, scale)),
            SECOND_ORDER * (local * largest + flushed) * absolute,
            SECOND_ORDER * ((of_bias * largest + flushed) * bias + offset),
            # Flushing happens in the layer's sums, whose errors the normalisation may enlarge, and
            # in the normalisation.
            terms=(terms + more) * max(1.0, largest),
            entries=outputs,
            weight=max(1.0, largest) * max(1.0, np.abs(kernel).max()),
        )
        return dataclasses.replace(bound, sum_per_size=absolute, sum_offset=bias)


def norm_by_sums(absolute: Callable[[Tensor], Tensor], input_shape: Shape) -> float:
    """Upper bound of the L2 norm of a linear function: ``√(largest row sum · largest column sum)``.

    It holds because ``‖A‖₂² ≤ ‖A‖₁ ‖A‖_∞`` for every matrix.

    Args:
        absolute: the linear function with all factors replaced by their absolute values: a function
            of a float64 tensor ``(n, *input_shape)``.
        input_shape: shape of an input without the batch.
    """
    rows = absolute(ops.ones((1, *input_shape), "float64"))
    columns = through_transposed(absolute, ops.ones_like(rows)[:, None], input_shape)
    return math.sqrt(float(ops.max(rows)) * float(ops.max(columns))) * (1.0 + SLACK)
