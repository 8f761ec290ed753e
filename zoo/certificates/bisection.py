"""Search for the largest budget that a certificate proves."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from zoo.certificates.certificate import at_budgets, round_down
from zoo.epsilon import Epsilon
from zoo.typing import Array, ArrayLike
from zoo.utils.deadline import time_is_up
from zoo.utils.padding import padded_places

# A bracket narrower than this share of its upper end is tried only at its predicted zero. A wider
# one is halved by every second trial.
_NARROW = 0.05
# The search by margins ends if the expected zero of the margin is above what was proved by less
# than this share.
_PRECISION = 2e-3


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
    return _bracket(is_certified, start, upper, tolerance)[0]


def largest_of_budgets(
    is_certified: Callable[[Array, Array], ArrayLike],
    start: ArrayLike,
    budgets: Sequence[Epsilon],
    *,
    upper: float = 1.0,
    tolerance: float = 1e-5,
) -> Array:
    """What :func:`largest_certified` finds, rounded down to some budgets, with far fewer trials.

    The budgets that a bisection can try form a fixed grid, so the smallest one above a given budget
    is known without any trial. If a larger budget is never easier to prove, the search ends above
    the given budget exactly if that grid point is proved.

    Args:
        is_certified: function from an int array of the places of some images, and a float32 array
            of a budget for each of them, to a bool array.
        start, upper, tolerance: as for :func:`largest_certified`.
        budgets: list of :class:`zoo.epsilon.Epsilon`.

    Returns:
        float32 array ``(n,)`` as of :func:`zoo.certificates.certificate.at_budgets`. No image is
        tried more than once for each budget, and none whose start is above it.

    Examples:
        >>> import numpy as np
        >>> from zoo.certificates.bisection import largest_of_budgets
        >>> from zoo.epsilon import Epsilon
        >>> found = largest_of_budgets(
        ...     lambda rows, eps: eps <= 0.3, np.zeros(1), [Epsilon(0.25), Epsilon(0.5)])
        >>> round(float(found[0]), 4)
        0.25
    """
    start = round_down(start)
    radius, holds = at_budgets(start, budgets), np.ones(len(start), bool)
    for budget in sorted(budgets, key=lambda budget: budget.exact):
        _, trial = _bracket(lambda eps, b=budget: eps <= b.below, start, upper, tolerance)
        # The search takes its upper end for unproved, and never tries it.
        open_ = holds & (start <= budget.below)
        rows = np.flatnonzero(open_ & (trial < np.maximum(start, np.float32(upper))))
        proved = np.zeros(len(start), bool)
        if len(rows):
            padded = padded_places(rows)
            proved[rows] = np.asarray(is_certified(padded, trial[padded]), bool)[: len(rows)]
        radius = np.where(proved, np.float32(budget.beyond), radius)
        holds &= proved | ~open_
    return radius


def _bracket(
    is_certified: Callable[[Array], ArrayLike], start: ArrayLike, upper: float, tolerance: float
) -> tuple[Array, Array]:
    """The ends of the bracket at the end of the search of :func:`largest_certified`."""
    low = round_down(start)
    high = np.maximum(low, np.float32(upper))
    # All images get equally many halvings, as a radius must not depend on the batch's other images.
    for _ in range(min(24, math.ceil(math.log2(max(1.0, upper / tolerance))))):
        middle = (low + high) / np.float32(2)
        proved = np.asarray(is_certified(middle), bool)
        low, high = np.where(proved, middle, low), np.where(proved, high, middle)
    return low, high


def largest_by_margin(
    margin: Callable[[Array, Array], ArrayLike],
    at_zero: Array,
    *,
    first: float,
    upper: float,
    steps: int = 8,
) -> Array:
    """Largest budget, per image, at which a lower bound of the margin is proved to be positive.

    This is :func:`largest_certified` for a bound that is too expensive to be computed twenty times.
    Bounds fall slowly at small budgets and ever more steeply at larger ones. So the search models
    the decrease of the margin as a power of the budget, fits it to the last two budgets around the
    zero, and tries the budget at which this model predicts a margin of zero. Every returned budget
    was itself proved. The search for an image ends if the predicted budget is less than 0.2 % above
    the proved one, unless a failed budget is still far away, or if almost nothing is left above it.

    Args:
        margin: function from an int array of the places of some images, and a float64 array of a
            budget for each of them, to lower bounds.
        at_zero: float array ``(n,)``, the margin without a perturbation. If it is not positive,
            nothing is certified.
        first: budget to begin with, positive.
        upper: budget beyond which there is nothing to prove.
        steps: the largest number of calls of ``margin``.

    Returns:
        float64 array ``(n,)``.

    Examples:
        >>> import numpy as np
        >>> from zoo.certificates.bisection import largest_by_margin
        >>> found = largest_by_margin(
        ...     lambda places, eps: 0.3 - eps**2, np.array([0.3]), first=1e-3, upper=1.0)
        >>> 0.54 < float(found[0]) < 0.3**0.5
        True
    """
    at_zero = np.asarray(at_zero, np.float64)
    low, high = np.zeros(len(at_zero)), np.full(len(at_zero), float(upper))
    # Two budgets that were tried and how far the margin fell there: the ends of the bracket, or
    # the last two that were proved. What is not known yet is NaN.
    (near, near_fall), (far, far_fall) = np.full((2, 2, len(low)), np.nan)
    trial, failed = np.minimum(np.full(len(low), float(first)), high), np.zeros(len(low), bool)
    bracketed, open_ = np.zeros(len(low), int), at_zero > 0
    for _ in range(steps):
        places, found = np.flatnonzero(open_), np.full(len(low), np.nan)
        if not len(places):
            break
        found[places] = margin(places, trial[places])
        proved = found > 0  # False for NaN, and so for every image whose search has ended
        # The smaller of the two budgets gives way to a larger one that was proved; the larger one
        # gives way if it has failed, or if none has failed yet.
        new = proved & failed
        near = np.where(new, trial, np.where(failed, near, far))
        near_fall = np.where(new, at_zero - found, np.where(failed, near_fall, far_fall))
        far = np.where(new, far, trial)
        far_fall = np.where(new, far_fall, at_zero - found)
        low, high = np.where(proved, trial, low), np.where(proved, high, trial)
        failed = failed | ~proved
        zero = _where_a_power_is_zero(at_zero, (near, near_fall), (far, far_fall), low)
        wide = failed & (high - low > _NARROW * high)
        # The predicted zero may end the search only if it follows from two measured falls, not from
        # the extrapolation of one.
        measured = (near_fall > 0) & (near_fall < far_fall) & ~wide
        end = np.where(measured, np.minimum(zero, high), high)
        open_ = open_ & ~((low > 0) & (end <= (1.0 + _PRECISION) * low))
        trial = _between(zero, low, high, beyond=(low == 0) | ~failed)
        # A margin that bends suddenly is no power. So every second trial within a bracket that is
        # still wide halves it; in a wide one with no fall at its lower end, it halves the exponent.
        bracketed += failed
        middle = np.where(near_fall <= 0, np.sqrt(low * high), (low + high) / 2)
        trial = np.where(wide & (bracketed % 2 == 0), middle, trial)
    return low


def _where_a_power_is_zero(
    at_zero: Array, near: tuple[Array, Array], far: tuple[Array, Array], low: Array
) -> Array:
    """The budget at which the margin is expected to be zero, a little less so that it is proved.

    Args:
        at_zero: the margins without a perturbation.
        near, far: two budgets, and how far the margins fell there.
        low: the largest budgets that were proved.

    Returns:
        float64 array; NaN where a margin fell beyond float32's range, which says nothing.
    """
    with np.errstate(all="ignore"):
        power = np.log(far[1] / near[1]) / np.log(far[0] / near[0])
        # Beyond what was proved, the margin is taken to fall at least as steeply as a square while
        # more than half of it is left: a trial that goes far beyond the zero says little about
        # where the zero is. Close to the zero, the measured power is good enough. A single small
        # budget says how steeply the margin falls at first, and it only falls more steeply later.
        left = 1.0 - far[1] / at_zero
        least = np.where(far[0] > low, 0.5, np.minimum(2.0, 1.0 + 2.0 * left))
        power = np.clip(power, least, 12.0)
        alone, power = ~np.isfinite(power), np.where(np.isfinite(power), power, 1.0)
        zero = np.where(alone, 0.3, 0.999) * far[0] * (at_zero / far[1]) ** (1.0 / power)
    return np.where(np.isfinite(far[1]), zero, np.nan)


def _between(zero: Array, low: Array, high: Array, *, beyond: Array) -> Array:
    """The next budget to try: the expected zero, but not too close to what was tried.

    Args:
        zero: where the margins are expected to be zero; NaN where nothing is known.
        low, high: the largest budgets that were proved, and the smallest ones that failed.
        beyond: whether the trial goes on from what was proved, towards an end that is not known.
    """
    width = high - low
    # Between two ends, each trial shortens the bracket.
    least = np.where(beyond, 1.01 * low, low + 0.02 * width)
    within = np.clip(zero, least, high - 0.02 * width)
    within = np.where(np.isfinite(within), within, (low + high) / 2)
    return np.where(low > 0, within, np.minimum(within, high / 2))


def largest_by_flips(
    decide: Callable[[float], tuple[bool, float]],
    start: float,
    *,
    first: float,
    upper: float,
) -> float:
    """Largest budget of one input, by decisions that take seconds each and are nearly exact.

    A decision also gives the distance of the nearest input that it met with another class; no
    budget above that distance can be proved. Since decisions are nearly exact, the radius may be
    close to it. So if the distance is smaller than the budget that was tried, the next trial lies
    just below it. All other trials halve the bracket.

    Args:
        decide: function from a budget to whether it is proved, and to the distance of the nearest
            input that was met and is classified otherwise, or ``inf``.
        start: a budget that is proved, or 0.
        first: budget to begin with if ``start`` is 0.
        upper: budget beyond which there is nothing to prove.

    Returns:
        The largest budget that was proved, or the start. The search ends if the ends of the bracket
        differ by a hundredth, after 30 decisions, or when the time of
        :func:`zoo.utils.deadline.time_limit` is up.

    Examples:
        >>> from zoo.certificates.bisection import largest_by_flips
        >>> found = largest_by_flips(
        ...     lambda eps: (eps < 0.3, 0.31 if eps >= 0.3 else float("inf")), 0.1,
        ...     first=0.01, upper=1.0)
        >>> 0.297 < found < 0.3
        True
    """
    just_below = 0.99
    low, high, closed = min(start, upper), upper, False
    trial = min(1.25 * low if low > 0 else first, upper)
    for _ in range(30):
        if time_is_up() or low >= just_below * high:
            break
        proved, flip = decide(trial)
        low = trial if proved else low
        nearer = flip < min(high, just_below * trial)
        high = min(high, flip, math.inf if proved else trial)
        closed = closed or not proved or nearer
        if nearer:
            trial = low + just_below * (high - low)
        else:
            trial = (low + high) / 2.0 if closed else min(1.5 * trial, upper)
    return low


def largest_per_class(
    margins: Callable[[Array], ArrayLike],
    classes: Array,
    at_zero: Array,
    start: Array,
    *,
    upper: float,
) -> Array:
    """Largest budget, per image and other class, at which this class is proved not to overtake.

    A trial of one budget tells about all classes of an image. Each trial is for the class of the
    image whose bracket is the widest, at the zero that the secant of its margins predicts. Every
    returned budget was itself proved for this class, or is the start.

    Args:
        margins: function from a float64 array ``(n,)`` of budgets to lower bounds ``(n, classes)``
            of the margin to each class.
        classes: int array ``(n,)``, the predicted classes.
        at_zero: float array ``(n, classes)``, the margins without a perturbation. An infinite one,
            of logits that overflow, proves nothing.
        start: float array ``(n,)`` of budgets that are proved for all classes.
        upper: budget beyond which there is nothing to prove.

    Returns:
        float64 array ``(n, classes)``; ``inf`` for the predicted class. The least of each row is
        the start.

    Examples:
        >>> import numpy as np
        >>> from zoo.certificates.bisection import largest_per_class
        >>> gaps = np.array([[np.inf, 0.3, 0.5]])
        >>> found = largest_per_class(
        ...     lambda e: gaps - 2.0 * e[:, None], np.array([0]), gaps, np.array([0.15]), upper=1.0)
        >>> found.round(2).tolist()
        [[inf, 0.15, 0.25]]
    """
    own = np.arange(np.shape(at_zero)[1]) == np.asarray(classes)[:, None]
    count = own.shape[1]
    low = np.where(own, np.inf, np.asarray(start, np.float64)[:, None])
    high = np.where(own, np.inf, float(upper))
    f_low, f_high = np.asarray(at_zero, np.float64), np.full(low.shape, np.nan)
    slope = np.full(low.shape, np.nan)
    images = np.arange(len(low))
    # Where nothing is proved, not even the prediction itself may be what float32 computes.
    some = (np.asarray(start) > 0)[:, None] & ~own
    for step in range(2 * count + 8):
        with np.errstate(all="ignore"):
            width = np.where(some & (high > low), (high - low) / high, -1.0)
            place = images, width.argmax(axis=1)
            bottom, top = low[place], high[place]
            inside = f_low[place] / (f_low[place] - f_high[place])
            # A little below the zero, so that the trial is proved rather than not.
            by_secant = bottom + (top - bottom) * np.clip(0.98 * inside, 0.05, 0.95)
            by_slope = np.minimum(bottom + 0.98 * f_low[place] / slope[place], 10.0 * bottom)
            trial = np.where(np.isfinite(by_secant), by_secant, by_slope)
            trial = np.where((trial > bottom) & (trial < top), trial, (bottom + top) / 2.0)
            if step % 2:  # whatever the shape of the margins, this narrows the bracket
                trial = np.sqrt(bottom * top)
            trial = np.where(width[place] > 0, trial, bottom)
            trial = np.where(np.isfinite(trial), trial, 0.0)
            found = np.asarray(margins(trial), np.float64)
            each = np.broadcast_to(trial[:, None], low.shape)
            proved = found > 0  # False for NaN
            lower, upper_end = some & proved & (each > low), some & ~proved & (each < high)
            slope = np.where(lower, (f_low - found) / (each - low), slope)
            low, f_low = np.where(lower, each, low), np.where(lower, found, f_low)
            high, f_high = np.where(upper_end, each, high), np.where(upper_end, found, f_high)
    low[images, low.argmin(axis=1)] = start
    return low
