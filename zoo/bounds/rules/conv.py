"""Convolutions."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import keras
import numpy as np
from keras import ops

from zoo.bounds.graph import Node
from zoo.bounds.model_state import require_float32_weight
from zoo.bounds.rules.activations import ActivationRule, activation_of
from zoo.bounds.rules.affine import KernelRule
from zoo.bounds.rules.layout import PermutationRule, require_right_bias
from zoo.bounds.rules.rule import refuse, register_rule
from zoo.bounds.window_rows import WindowRows
from zoo.ops.precision import float64
from zoo.ops.singular_values import convolution_norm, dense_norm
from zoo.ops.windows import Windows
from zoo.typing import Array, Numbers, Shape, Tensor

if TYPE_CHECKING:
    from zoo.bounds.network_rules import Builder


def require_right_sums(layer: keras.layers.Layer, windows: Windows, channels: int) -> None:
    """Refuse the convolutions for which TensorFlow on a CPU reads memory that is not theirs.

    Its float32 results for these settings differ from its float64 results by up to 1e37.

    Args:
        layer: the layer.
        windows: its windows.
        channels: number of channels that are convolved at once.
    """
    (rows, columns), (down, right) = windows.counts, windows.strides
    if (
        keras.backend.backend() == "tensorflow"
        and channels == 1
        and down == 1 < right
        and columns == 1 < rows
    ):
        refuse(
            layer,
            "convolves single channels, with strides along the width alone and outputs of one "
            "column, which TensorFlow computes wrongly on a CPU",
        )


@register_rule(keras.layers.Conv1D, keras.layers.Conv2D)
class ConvRule(KernelRule):
    limits = "without LoRA, quantisation and causal padding"

    def check(self) -> None:
        if self.layer.padding == "causal":
            refuse(self.layer, "pads causally")
        layer, image = self.layer, self.input_shape[:-1]
        expected = (*layer.kernel_size, self.input_shape[-1] // layer.groups, layer.filters)
        if tuple(layer.kernel.shape) != expected:
            refuse(layer, f"has a kernel {tuple(layer.kernel.shape)}, not {expected} as it says")
        has_windows = len(image) == 2 and math.prod(layer.dilation_rate) == 1
        if has_windows:
            self.windows = Windows(image, layer.kernel_size, layer.strides, layer.padding)
            require_right_sums(layer, self.windows, self._channels_at_once())
        self.takes_windows = has_windows and layer.groups == 1

    def _channels_at_once(self) -> int:
        """The smallest number of channels that the backend is given to convolve at once."""
        return self.input_shape[-1] // self.layer.groups

    def apply(self, tensor: Tensor, kernel: Tensor) -> Tensor:
        # Each group is convolved by itself, because TensorFlow has no gradients of grouped
        # convolutions on a CPU.
        groups = self.layer.groups
        if groups > 1:
            inputs, kernels = ops.split(tensor, groups, axis=-1), ops.split(kernel, groups, axis=-1)
            parts = zip(inputs, kernels, strict=True)
            return ops.concatenate([self._conv(*part) for part in parts], axis=-1)
        return self._conv(tensor, kernel)

    def _conv(self, tensor: Tensor, kernel: Tensor) -> Tensor:
        return ops.conv(
            tensor,
            kernel,
            self.layer.strides,
            self.layer.padding,
            data_format="channels_last",
            dilation_rate=self.layer.dilation_rate,
        )

    def transposed(self, rows: Tensor) -> Tensor:
        if not self.takes_windows:
            return super().transposed(rows)
        found = self._spread(rows)
        # Pixels of the padding are cut off, and pixels that no window reaches are zero.
        for axis, ((before, _), n) in enumerate(
            zip(self.windows.margins, self.windows.image_shape, strict=True), start=2
        ):
            found = ops.take(
                ops.pad(found, [(0, n) if i == axis else (0, 0) for i in range(5)]),
                ops.arange(before, before + n),
                axis=axis,
            )
        return found

    def _spread(self, rows: Tensor) -> Tensor:
        """The transposed convolution without padding, of rows or of their windows."""
        flat = ops.reshape(rows, (-1, *rows.shape[2:]))
        strides = self.windows.strides
        flat = ops.conv_transpose(flat, self.kernel, strides, "valid", data_format="channels_last")
        return ops.reshape(flat, (*rows.shape[:2], *flat.shape[1:]))

    def window_of(self, window: Shape) -> Shape:
        # Where strides are longer than the kernel, the transposed convolution adds zeros.
        sizes = zip(window, self.windows.size, self.windows.strides, strict=True)
        return tuple((n - 1) * s + max(k, s) for n, k, s in sizes)

    def transposed_windows(self, rows: WindowRows) -> WindowRows:
        top, left = self._starts(rows.top, rows.left)
        return WindowRows(self._spread(rows.values), top, left, self.input_shape).cut()

    def _starts(self, *places: Array) -> list[Array]:
        """The first rows and columns of the windows that begin the outputs' windows."""
        settings = zip(places, self.windows.strides, self.windows.margins, strict=True)
        return [place * stride - before for place, stride, (before, _) in settings]

    def rows_of(self, entries: Array) -> WindowRows | None:
        if not self.takes_windows:
            return None
        y, x, channel = np.unravel_index(entries, self.output_shape)
        filters = ops.transpose(self.kernel, (3, 0, 1, 2))
        values = ops.take(filters, ops.convert_to_tensor(channel, "int32"), axis=0)
        top, left = self._starts(y, x)
        return WindowRows(values, top, left, self.input_shape).cut()

    def norm(self, kernel: Array) -> float:
        # Groups share neither inputs nor outputs, so the largest of their norms is the norm.
        parts = np.split(kernel, self.layer.groups, axis=-1)
        return max(
            image_norm(part, self.input_shape[:-1], self.layer, self.layer.dilation_rate)
            for part in parts
        )


class _DepthwiseRule(KernelRule):
    """A depthwise convolution: each filter sees one channel of the input."""

    def check(self) -> None:
        if math.prod(self.layer.dilation_rate) != 1:
            refuse(self.layer, "has dilation")

    def apply(self, tensor: Tensor, kernel: Tensor) -> Tensor:
        return ops.depthwise_conv(
            tensor, kernel, self.layer.strides, self.layer.padding, data_format="channels_last"
        )

    def scaled(self, kernel: Array, scale: Numbers) -> Array:
        return kernel * np.reshape(scale, (-1, kernel.shape[-1])) if np.ndim(scale) else kernel

    def count(self, kernel: Array) -> int:
        return math.prod(kernel.shape[:-2]) + 3

    def norm(self, kernel: Array) -> float:
        channels = np.split(kernel, kernel.shape[-2], axis=-2)
        return max(image_norm(part, self.input_shape[:-1], self.layer) for part in channels)


@register_rule(keras.layers.DepthwiseConv2D)
class DepthwiseConv2DRule(_DepthwiseRule):
    limits = "without dilation"


class _DepthwisePartRule(_DepthwiseRule):
    """The first half of a separable convolution."""

    def weights(self) -> tuple[Array, Array]:
        require_float32_weight(self.layer, "depthwise_kernel")
        return float64(self.layer.depthwise_kernel), np.zeros(1)

    def trained(self, tensor: Tensor) -> Tensor:
        return self.apply(tensor, ops.convert_to_tensor(self.layer.depthwise_kernel))

    def compute(self, tensors: Sequence[Tensor]) -> Tensor:
        return self.trained(tensors[0])


@register_rule(keras.layers.SeparableConv2D)
class SeparableConv2DRule(KernelRule):
    """The second half of a separable convolution: a dense map of the channels at each pixel."""

    limits = "without dilation"

    @classmethod
    def expand(cls, builder: "Builder", node: Node, inputs: tuple[int, ...]) -> int:
        layer, shape = node.layer, node.input_shape
        first = layer.data_format == "channels_first"
        place = inputs[0]
        if first:
            place = builder.add(PermutationRule(layer, (place,), shape, [1, 2, 0]))
            shape = builder.shape_of(place)
        place = builder.add(_DepthwisePartRule(layer, (place,), shape))
        place = builder.add(cls(layer, (place,), builder.shape_of(place)))
        if first:
            shape = builder.shape_of(place)
            require_right_bias(layer, shape)
            place = builder.add(PermutationRule(layer, (place,), shape, [2, 0, 1]))
        kind = activation_of(layer)
        if kind is None:
            return place
        return builder.add(ActivationRule(layer, (place,), builder.shape_of(place), kind))

    @property
    def products(self) -> int:
        return self.layer.pointwise_kernel.shape[-2]

    def weights(self) -> tuple[Array, Array]:
        for name in ("pointwise_kernel", "bias") if self.layer.use_bias else ("pointwise_kernel",):
            require_float32_weight(self.layer, name)
        bias = float64(self.layer.bias) if self.layer.use_bias else np.zeros(1)
        return float64(self.layer.pointwise_kernel), bias

    def apply(self, tensor: Tensor, kernel: Tensor) -> Tensor:
        return ops.matmul(tensor, kernel[0, 0])

    def trained(self, tensor: Tensor) -> Tensor:
        return self.apply(tensor, ops.convert_to_tensor(self.layer.pointwise_kernel))

    def norm(self, kernel: Array) -> float:
        return dense_norm(kernel[0, 0])


@register_rule(keras.layers.Conv2DTranspose)
class Conv2DTransposeRule(KernelRule):
    """The transpose of a convolution from the output to the input, which has the same L2 norm."""

    limits = "without dilation, output padding and quantisation"

    @classmethod
    def expand(cls, builder: "Builder", node: Node, inputs: tuple[int, ...]) -> int:
        if math.prod(node.layer.dilation_rate) != 1 or node.layer.output_padding is not None:
            refuse(node.layer, "has dilation or output padding")
        return super().expand(builder, node, inputs)

    def apply(self, tensor: Tensor, kernel: Tensor) -> Tensor:
        # TensorFlow writes past the end of the gradient of a kernel that is smaller than its
        # stride. Zeros at the end of the kernel change no output.
        missing = [
            (0, max(0, stride - side))
            for side, stride in zip(kernel.shape, self.layer.strides, strict=False)
        ]
        if any(after for _, after in missing):
            kernel = ops.pad(kernel, [*missing, (0, 0), (0, 0)])
        return ops.conv_transpose(
            tensor, kernel, self.layer.strides, self.layer.padding, data_format="channels_last"
        )

    def scaled(self, kernel: Array, scale: Numbers) -> Array:
        return kernel * np.asarray(scale)[..., None] if np.ndim(scale) else kernel

    def count(self, kernel: Array) -> int:
        return kernel.size // kernel.shape[-2] + 3

    def norm(self, kernel: Array) -> float:
        return image_norm(kernel, self.output_shape[:-1], self.layer)


def image_norm(
    kernel: Array,
    image_shape: Sequence[int],
    layer: keras.layers.Layer,
    dilation: int | Sequence[int] = 1,
) -> float:
    """Upper bound of the L2 norm of a convolution along one axis or two.

    Args:
        kernel: float64 array ``(*window, channels, filters)``.
        image_shape: shape of the images without batch and channels.
        layer: the Keras layer that gives strides and padding.
        dilation: one number, or one for each axis. A dilated kernel is treated as a larger one with
            zeros between its entries.
    """
    rank = kernel.ndim - 2
    strides, dilation = (
        tuple(np.broadcast_to(setting, rank)) for setting in (layer.strides, dilation)
    )
    if any(step != 1 for step in dilation):
        window = [(n - 1) * step + 1 for n, step in zip(kernel.shape, dilation, strict=False)]
        spread = np.zeros((*window, *kernel.shape[-2:]))
        spread[tuple(slice(None, None, step) for step in dilation)] = kernel
        kernel = spread
    if rank == 1:
        kernel, image_shape, strides = kernel[None], (1, *image_shape), (1, *strides)
    return convolution_norm(kernel, image_shape, tuple(map(int, strides)), layer.padding)


__all__ = ["Conv2DTransposeRule", "ConvRule", "DepthwiseConv2DRule", "SeparableConv2DRule"]
