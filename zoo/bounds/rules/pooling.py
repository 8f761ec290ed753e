"""Average and max pooling."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import keras
from keras import ops

from zoo.bounds.graph import Node
from zoo.bounds.rules.affine import AffineRule
from zoo.bounds.rules.layout import in_channels_last
from zoo.bounds.rules.lipschitz_bound import LipschitzBound, with_flushing
from zoo.bounds.rules.rows import products, through_transposed
from zoo.bounds.rules.rule import Rule, refuse, register_rule
from zoo.ops.singular_values import average_pooling_norm
from zoo.ops.windows import Windows, overlaps
from zoo.typing import Box, Tensor

if TYPE_CHECKING:
    from zoo.bounds.network_rules import Builder


class _Pooling(Rule):
    """The base of the pooling rules. In a global pooling the only window is the whole image."""

    limits = "without keepdims"
    mode: str

    @classmethod
    def expand(cls, builder: "Builder", node: Node, inputs: tuple[int, ...]) -> int:
        if getattr(node.layer, "keepdims", False):
            refuse(node.layer, "keeps the dimensions that it pools")
        return in_channels_last(cls, builder, node, inputs)

    def check(self) -> None:
        layer = self.layer
        if getattr(layer, "pool_mode", self.mode) != self.mode:
            refuse(layer, f"was given another pool_mode than {self.mode!r}, which its class has")
        self.everything = not hasattr(layer, "pool_size")
        image = self.input_shape[:2]
        size, strides = (image, image) if self.everything else (layer.pool_size, layer.strides)
        padding = "valid" if self.everything else layer.padding
        self.windows = Windows(image, size, strides, padding)
        self.may_be_removed = math.prod(size) == 1

    def pooled(
        self, tensor: Tensor, pool: Callable[..., Tensor], reduce: Callable[..., Tensor]
    ) -> Tensor:
        """A tensor pooled over windows by ``pool``, or over the whole image by ``reduce``."""
        if self.everything:
            return reduce(tensor, axis=(1, 2))
        layer = self.layer
        return pool(
            tensor, layer.pool_size, layer.strides, layer.padding, data_format="channels_last"
        )


@register_rule(keras.layers.AveragePooling2D, keras.layers.GlobalAveragePooling2D)
class AveragePoolingRule(_Pooling, AffineRule):
    mode = "average"
    may_be_merged = False

    def linear(self, tensor: Tensor) -> Tensor:
        # On JAX, `ops.mean` of Keras computes in float32.
        count = math.prod(self.windows.size)
        return self.pooled(
            tensor, ops.average_pool, lambda image, axis: ops.sum(image, axis=axis) / count
        )

    def compute(self, tensors: Sequence[Tensor]) -> Tensor:
        return self.linear(tensors[0])

    def prepare(self) -> None:
        self.roundings = math.prod(self.windows.size) + 3

    def norms(self) -> tuple[float, float]:
        windows = self.windows
        norm = average_pooling_norm(
            windows.image_shape, windows.size, windows.strides, windows.padding
        )
        return norm, norm


@register_rule(keras.layers.MaxPooling2D, keras.layers.GlobalMaxPooling2D)
class MaxPoolingRule(_Pooling):
    """The largest entry of each window."""

    mode = "max"
    compares_entries = True

    @property
    def width(self) -> int:
        return math.prod(self.windows.counts) * math.prod(self.windows.size) * self.input_shape[-1]

    def compute(self, tensors: Sequence[Tensor]) -> Tensor:
        return self.pooled(tensors[0], ops.max_pool, ops.max)

    def interval(self, boxes: Sequence[Box]) -> Box:
        return tuple(self.compute([end]) for end in boxes[0])

    def lipschitz(self) -> LipschitzBound:
        # A maximum changes by at most the largest change in its window, and a pixel lies in at most
        # `overlaps` windows. So the squares of all outputs' changes add up to at most `overlaps`
        # times those of the pixels.
        stretch = math.sqrt(overlaps(self.windows.size, self.windows.strides))
        return with_flushing(stretch, 0.0, 0.0, terms=1, entries=math.prod(self.input_shape))

    def apart(self, inputs: Sequence[Tensor], boxes: Sequence[Box], box: Box) -> Tensor:
        return self.compute(inputs)  # a maximum changes by at most the largest change

    def relax(self, boxes: Sequence[Box]) -> tuple[Tensor, Tensor, Tensor]:
        """Lines below and above the maximum of each window.

        The line below is the entry with the largest lower bound. The line above is the same entry
        if no other one can be larger, and otherwise the constant largest upper bound.
        """
        lower, upper = (self._entries(end, outside=-1e300) for end in boxes[0])
        # On JAX, `ops.argmax` of Keras compares in float32, so that the chosen entry's lower bound
        # may be a little less than the largest. The lines hold for any entry of the image.
        chosen = ops.one_hot(ops.argmax(lower, axis=-1), lower.shape[-1], dtype="float64")
        others = ops.max(ops.where(chosen > 0, -1e300, upper), axis=-1)
        alone = ops.cast(others <= ops.sum(chosen * lower, axis=-1), "float64")
        return chosen, alone, ops.max(upper, axis=-1)

    def backward(
        self, rows: Tensor, relaxed: tuple[Tensor, Tensor, Tensor]
    ) -> tuple[list[Tensor], Tensor]:
        chosen, alone, largest = relaxed
        rows = ops.reshape(rows, (*rows.shape[:2], *alone.shape[1:]))
        positive, negative = ops.maximum(rows, 0.0), ops.minimum(rows, 0.0)
        offset = products(negative, (1.0 - alone) * largest)
        rows = (positive + negative * alone[:, None])[..., None] * chosen[:, None]
        return [through_transposed(self._entries, rows, self.input_shape)], offset

    def _entries(self, tensor: Tensor, outside: float = 0.0) -> Tensor:
        return self.windows.entries(tensor, outside)
