"""The number of entries of a tensor, on which bounds of rounding errors depend."""

import math
from collections.abc import Sequence

import keras


def entries_of(layer: keras.layers.Layer, shape: Sequence[int | None]) -> int:
    """The product of the lengths of some axes.

    Args:
        layer: the layer that asks, for the error.
        shape: lengths, None for one that is not known.

    Raises:
        ValueError: if a length is not known.
    """
    known = [length for length in shape if length is not None]
    if len(known) < len(shape):
        raise ValueError(
            f"{layer.name} has no bounds of rounding errors, because it was built for inputs of an "
            f"unknown size: {tuple(shape)}"
        )
    return math.prod(known)
