"""Search for the largest budget that a certificate proves."""

import math
from collections.abc import Callable

import numpy as np

from zoo.certificates.certificate import round_down
from zoo.typing import Array, ArrayLike


def largest_certified(
    is_certified: Callable[[Array], ArrayLike],
    start: ArrayLike,
    *,
    upper: float = 1.0,
    tolerance: float = 1e-5,
) -> Array:
    """Largest budget, per image, that a certificate proves.

    Every returned budget was itself proved, or is the given start. So the result may be smaller
    than possible, if the search stops early or the certificate is not monotone, but never wrong.

    Args:
        is_certified: function from a float32 array ``(n,)`` of budgets to a bool array ``(n,)``.
        start: float array ``(n,)`` of budgets that are known to be certified.
        upper: budget beyond which there is nothing to prove; 1 is the whole [0, 1] box in ℓ∞.
        tolerance: width of the bracket at which the search stops. There are at most 24 halvings,
            because float32 resolves no more.

    Returns:
        float32 array ``(n,)``.

    Examples:
        >>> import numpy as np
        >>> from zoo.certificates import largest_certified
        >>> round(float(largest_certified(lambda e: e <= 0.3, np.zeros(1))[0]), 4)
        0.3
    """
    low = round_down(start)
    high = np.maximum(low, np.float32(upper))
    # All images get equally many halvings, as a radius must not depend on the batch's other images.
    for _ in range(min(24, math.ceil(math.log2(max(1.0, upper / tolerance))))):
        middle = (low + high) / np.float32(2)
        proved = np.asarray(is_certified(middle), bool)
        low, high = np.where(proved, middle, low), np.where(proved, high, middle)
    return low


def largest_by_margin(
    margin: Callable[[Array], ArrayLike],
    at_zero: Array,
    *,
    first: float,
    upper: float,
    steps: int = 8,
) -> Array:
    """Largest budget, per image, at which a lower bound of the margin is proved to be positive.

    This is :func:`largest_certified` for a bound that is too expensive to be computed twenty times.
    The secant method (in its Illinois variant) searches for the budget at which the bound is zero.
    Every returned budget was itself proved.

    Args:
        margin: function from a float64 array ``(n,)`` of budgets to lower bounds ``(n,)``.
        at_zero: float array ``(n,)``, the margin without a perturbation. If it is not positive,
            nothing is certified.
        first: budget to begin with, positive.
        upper: budget beyond which there is nothing to prove.
        steps: number of calls of ``margin``.

    Returns:
        float64 array ``(n,)``.

    Examples:
        >>> import numpy as np
        >>> from zoo.certificates.bisection import largest_by_margin
        >>> found = largest_by_margin(lambda e: 0.3 - e**2, np.array([0.3]), first=1e-3, upper=1.0)
        >>> 0.54 < float(found[0]) < 0.3**0.5
        True
    """
    low, high = np.zeros(len(at_zero)), np.full(len(at_zero), float(upper))
    # The margins at both ends of the bracket. At the upper end it is NaN until a trial has failed.
    f_low, f_high = np.asarray(at_zero, np.float64), np.full(len(low), np.nan)
    slope = np.full(len(low), np.nan)
    trial = np.minimum(np.full(len(low), float(first)), high)
    for _ in range(steps):
        found = np.asarray(margin(trial), np.float64)
        proved = found > 0  # False for NaN
        with np.errstate(all="ignore"):
            slope = np.where(proved, (f_low - found) / (trial - low), slope)
            # The value at the end that stays is halved (Illinois method). Without this, the same
            # end may stay for many steps.
            f_high = np.where(proved, f_high / 2, found)
            f_low = np.where(proved, found, f_low / 2)
            low, high = np.where(proved, trial, low), np.where(proved, high, trial)
            width = high - low
            within = low + width * np.clip(f_low / (f_low - f_high), 0.1, 0.9)
            # Until a trial has failed: go half of the way to the zero that the last slope predicts.
            beyond = np.clip(low + 0.5 * f_low / slope, 1.25 * low, 100.0 * low)
            beyond = np.where(np.isfinite(beyond), beyond, 2.0 * low)
            trial = np.where(np.isfinite(f_high), within, np.where(low > 0, beyond, high / 2))
            trial = np.minimum(trial, high)
    return np.where(np.asarray(at_zero) > 0, low, 0.0)
