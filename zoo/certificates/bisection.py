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
    Bounds fall slowly at small budgets and ever more steeply at larger ones. So the search takes
    the fall from the margin at zero for a power of the budget, through the two last budgets around
    the zero, and tries the budget at which that power says that the margin is zero. Every returned
    budget was itself proved.

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
    at_zero = np.asarray(at_zero, np.float64)
    low, high = np.zeros(len(at_zero)), np.full(len(at_zero), float(upper))
    # Two budgets that were tried and how far the margin fell there: the ends of the bracket, or
    # the last two that were proved. What is not known yet is NaN.
    (near, near_fall), (far, far_fall) = np.full((2, 2, len(low)), np.nan)
    trial, failed = np.minimum(np.full(len(low), float(first)), high), np.zeros(len(low), bool)
    for _ in range(steps):
        found = np.asarray(margin(trial), np.float64)
        proved = found > 0  # False for NaN
        # The smaller of the two budgets gives way to a larger one that was proved; the larger one
        # gives way if it has failed, or if none has failed yet.
        new = proved & failed
        near = np.where(new, trial, np.where(failed, near, far))
        near_fall = np.where(new, at_zero - found, np.where(failed, near_fall, far_fall))
        far = np.where(new, far, trial)
        far_fall = np.where(new, far_fall, at_zero - found)
        low, high = np.where(proved, trial, low), np.where(proved, high, trial)
        failed = failed | ~proved
        trial = _where_a_power_is_zero(at_zero, (near, near_fall), (far, far_fall), low, high)
    return np.where(at_zero > 0, low, 0.0)


def _where_a_power_is_zero(
    at_zero: Array,
    near: tuple[Array, Array],
    far: tuple[Array, Array],
    low: Array,
    high: Array,
) -> Array:
    """The next budget to try between two, of which one was proved and the other failed.

    Args:
        at_zero: the margins without a perturbation.
        near, far: two budgets, and how far the margins fell there.
        low, high: the largest budgets that were proved, and the smallest ones that failed.
    """
    with np.errstate(all="ignore"):
        power = np.log(far[1] / near[1]) / np.log(far[0] / near[0])
        # Beyond what was proved, the margin is taken to fall at least as steeply as a square: a
        # trial that goes far beyond the zero says little about where the zero is. A single small
        # budget says how steeply the margin falls at first, and it only falls more steeply later.
        power = np.clip(power, np.where(far[0] > low, 0.5, 2.0), 12.0)
        alone, power = ~np.isfinite(power), np.where(np.isfinite(power), power, 1.0)
        # A little less, so that the trial is rather proved than not.
        zero = np.where(alone, 0.3, 0.999) * far[0] * (at_zero / far[1]) ** (1.0 / power)
        width = high - low
        # Between two ends, each trial shortens the bracket; beyond what was proved there is no end.
        least = np.where(np.isfinite(near[0]) & (far[0] > low), low + 0.02 * width, 1.02 * low)
        within = np.clip(zero, least, high - 0.02 * width)
    within = np.where(np.isfinite(within), within, (low + high) / 2)
    return np.where(low > 0, within, np.minimum(within, high / 2))
