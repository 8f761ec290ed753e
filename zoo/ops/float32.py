"""Bounds of the errors that float32 makes, each stated once with its reason."""

import math

#: The result of one float32 operation is wrong by at most this fraction of it: float32 has 24 bits
#: and rounds to the nearest number.
UNIT_ROUNDOFF = 2.0**-24
#: Processors may flush smaller (subnormal) numbers to zero. The error is then at most this number.
SMALLEST_NORMAL = 2.0**-126
#: Float32 ends at 3.4e38. A sum of terms whose sizes add up to less than this does not overflow,
#: whatever its order and its roundings are.
LARGEST = 1e38
#: Float32's activation functions of x are wrong by at most this many times
#: ``UNIT_ROUNDOFF * (1 + |x|)``. Libraries approximate them to a few units in the last place, and
#: :mod:`zoo.ops.arithmetic` measures that they do.
ACTIVATION_ROUNDINGS = 32.0
#: Float32's tanh is wrong by at most this much, however large its argument is. This is 16 units
#: roundoff of values in [-1, 1], and :mod:`zoo.ops.arithmetic` measures it too.
TANH_ERROR = 2.0**-20
#: The relative errors a and b of two stages compound to a + b + ab. Where they are only added up,
#: this factor makes up for ab, which is less than (a + b) / 1000 if a and b are less than 1/1000.
#: This holds for the relative errors of sums of up to 16,000 terms.
SECOND_ORDER = 1.001


def sum_rounding(terms: int) -> float:
    """Bound of the error of a float32 sum of products, in any order of summation.

    It is relative to the sum of the products' absolute values.

    Args:
        terms: number of roundings that one product may go through.

    Raises:
        ValueError: if there are too many roundings for a bound.

    Reference:
        Higham: Accuracy and Stability of Numerical Algorithms, 2002, lemma 3.1.
    """
    if terms * UNIT_ROUNDOFF >= 0.5:
        raise ValueError(
            f"a float32 sum of {terms} terms may have an error as large as the sum, so nothing can "
            "be proved about it"
        )
    return terms * UNIT_ROUNDOFF / (1.0 - terms * UNIT_ROUNDOFF)


#: The most that a margin, a difference of two logits, can change if float32 flushes both to zero.
FLUSHED_MARGIN = 2.0 * SMALLEST_NORMAL


def flushing(terms: float, entries: int, weight: float = 1.0) -> tuple[float, float]:
    """Bound of the L2 error of an array of sums if float32 flushes subnormal numbers to zero.

    Each sum adds products of an input and a weight. Inputs, weights, products and partial sums may
    all be flushed.

    Args:
        terms: number of terms in one sum.
        entries: number of sums in the array.
        weight: largest absolute value of a weight.

    Returns:
        ``(per_size, offset)``: the error is at most ``per_size · ‖inputs‖ + offset``.
    """
    each = terms * SMALLEST_NORMAL * math.sqrt(entries)
    return each, each * (2.0 + weight)
