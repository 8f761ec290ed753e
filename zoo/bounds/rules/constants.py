"""Constants that compilers multiply with each other before they multiply a tensor by them."""

import numpy as np

from zoo.bounds.rules.rule import Rule, refuse
from zoo.typing import Array

# Constants of other sizes might leave float32's range together with weights that a program for
# inference multiplies them with.
_LEAST, _MOST = 1e-30, 1e30
# A product of constants with weights must stay in float32's range, with some room for rounding.
_LEAST_WITH_WEIGHTS, _MOST_WITH_WEIGHTS = 1e-36, 1e36


def require_in_range(rule: Rule, factors: Array, *, alone: bool = True) -> None:
    """Refuse factors whose product with the constants before them may leave float32's range.

    Compilers replace ``(x · a) · b`` by ``x · (a · b)`` if ``a`` is a constant, even if ``b`` is a
    weight. If ``a · b`` overflows, the output is infinite or NaN, though ``(x · a) · b`` is not. If
    it is flushed to zero, so is the output.

    Args:
        rule: the rule of the layer that multiplies by the factors. Its ``sources`` are known.
        factors: array of the factors, in any shape. Zeros are of no interest.
        alone: whether to refuse factors that are out of range by themselves, too. False for
            weights, whose own flushing and overflow the layer's bounds count.

    Raises:
        zoo.UnsupportedLayerError: naming the layer.
    """
    (least, most), (own_least, own_most) = _before(rule, {}), _sizes(factors)
    low, high = (_LEAST, _MOST) if alone else (_LEAST_WITH_WEIGHTS, _MOST_WITH_WEIGHTS)
    # A product can be flushed although its factors are not only if both are below 1, and it can
    # overflow only if both are above 1.
    flushed = least < 1 and own_least < 1 and not least * own_least > low
    overflows = most > 1 and own_most > 1 and not most * own_most < high
    if flushed or overflows or (alone and not (own_least > low and own_most < high)):
        refuse(
            rule.layer,
            "multiplies by constants that, alone or together with those of the layers before it, "
            f"lie outside of [{_LEAST:g}, {_MOST:g}]",
        )


def _sizes(factors: Array) -> tuple[float, float]:
    """The smallest and the largest absolute value of factors other than 0."""
    sizes = np.abs(np.asarray(factors, np.float64))
    sizes = sizes[sizes > 0]
    return (float(sizes.min()), float(sizes.max())) if sizes.size else (1.0, 1.0)


def _before(rule: Rule, ranges: dict[int, tuple[float, float]]) -> tuple[float, float]:
    """The least and the largest product of constants in a row that ends before a layer.

    A row may begin at any layer, and it goes on through sums, because compilers may take a common
    factor of the terms out of a sum.
    """
    least = most = 1.0
    for source in rule.sources:
        factors = source.constant_factors()
        if factors is None and not source.passes_constants:
            continue
        if id(source) not in ranges:
            low, high = _before(source, ranges)
            own_low, own_high = (1.0, 1.0) if factors is None else _sizes(factors)
            ranges[id(source)] = min(1.0, low * own_low), max(1.0, high * own_high)
        low, high = ranges[id(source)]
        least, most = min(least, low), max(most, high)
    return least, most
