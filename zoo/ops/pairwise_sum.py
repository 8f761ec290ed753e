"""A sum whose terms are added in pairs, in every way of executing it."""

import math
from collections.abc import Callable

import keras
import numpy as np
from keras import ops

from zoo.typing import Tensor

# NumPy does not know this type.
_LARGEST_BFLOAT16 = (2.0 - 2.0**-7) * 2.0**127


def pairwise_sum(term: Callable[[int], Tensor], count: int) -> Tensor:
    """The sum of terms of equal shapes, in which each term goes through ``log₂ count`` additions.

    Two optimizers of TensorFlow would add them in another order, with more roundings:

    * In a graph that XLA does not compile, such as that of ``predict`` on a CPU or of a SavedModel,
      sums of sums become one operation, which adds the terms one after the other. It leaves a sum
      alone whose shape is changed before the next addition, so we add an axis after each one.
    * XLA may start the sum of a matrix product with the term that is added to it, if the product
      has one row. It does not if there is another operation between product and addition, so we
      take the minimum with the largest finite number, which changes no finite number and no NaN.
      It replaces infinity, but nothing is certified where a sum may overflow.

    JAX has no such optimizer, and nothing is optimized in an eager call.

    Args:
        term: function from an index below ``count`` to a tensor.
        count: number of terms, a power of two.

    Returns:
        Tensor of the shape of one term.
    """
    optimized = keras.backend.backend() == "tensorflow" and not _is_eager()

    # The recursion is depth first, so that few partial sums exist at a time and stay in the cache.
    def total(first: int, last: int) -> Tensor:
        if last - first == 1:
            found = term(first)
            return ops.minimum(found, _largest(found)) if optimized else found
        middle = (first + last) // 2
        found = total(first, middle) + total(middle, last)
        return ops.expand_dims(found, axis=0) if optimized else found

    if count == 1:
        return term(0)
    found = total(0, count)
    return ops.squeeze(found, axis=tuple(range(int(math.log2(count))))) if optimized else found


def _is_eager() -> bool:
    import tensorflow as tf

    return tf.executing_eagerly()


def _largest(tensor: Tensor) -> float:
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    return _LARGEST_BFLOAT16 if dtype == "bfloat16" else float(np.finfo(dtype).max)
