"""Bounds of the errors that float32 makes, each stated once with its reason."""

import math

#: The result of one float32 operation is wrong by at most this fraction of it: float32 has 24 bits
#: and rounds to the nearest number.
UNIT_ROUNDOFF = 2.0**-24
#: Processors may replace smaller numbers by zero. The error is then at most this number.
SMALLEST_NORMAL = 2.0**-126
#: Float32 ends at 3.4e38. A sum of terms whose sizes add up to less than this does not overflow,
#: whatever its order and its roundings are.
LARGEST = 1e38
#: Float32's activation functions of x are wrong by at most this many times
#: ``UNIT_ROUNDOFF * (1 + |x|)``. Libraries approximate them to a few units in the last place, and
#: :mod:`zoo.ops.arithmetic` measures that they do.
ACTIVATION_ROUNDINGS = 32.0
#: Float32's tanh is wrong by at most this much, however large its argument is: 16 units roundoff,
#: as its values lie in [-1, 1]. It is measured too.
TANH_ERROR = 2.0**-20
#: Where the errors of two stages are added up instead of compounded, their product is left out. It
#: is less than 1/1000 of their sum while each stage is wrong by less than 1/1000 of its terms, as a
#: sum of up to 16,000 terms is; this factor makes up for it.
SECOND_ORDER = 1.001


def sum_rounding(terms):
    """Bound of a float32 sum of products' error relative to the sum of their sizes, in any order.

    Args:
        terms: number of roundings that one product may go through.

    Reference:
        Higham: Accuracy and Stability of Numerical Algorithms, 2002, lemma 3.1.
    """
    if terms * UNIT_ROUNDOFF >= 0.5:
        raise ValueError(f"a float32 sum of {terms} terms may be wrong by as much as it is")
    return terms * UNIT_ROUNDOFF / (1.0 - terms * UNIT_ROUNDOFF)


def flushing(terms, entries, weight=1.0):
    """Bound of what float32 loses where it takes numbers below the smallest normal one for zero.

    Of an array of sums of products with weights, in L2: results, partial sums and factors alike.

    Args:
        terms: of one sum.
        entries: number of sums.
        weight: largest weight's size.

    Returns:
        ``(per_size, offset)``: the loss is at most ``per_size · ‖inputs‖ + offset``.
    """
    each = terms * SMALLEST_NORMAL * math.sqrt(entries)
    return each, each * (2.0 + weight)
