"""The range of valid inputs of a network: the box that perturbed inputs stay in."""

import math
from typing import Any, TypeAlias

import numpy as np

from zoo.typing import Array, Numbers, Shape

#: ``(low, high)``: every entry of a valid input lies between these two, which are numbers, or
#: arrays that broadcast to the shape of an input.
ValidRange: TypeAlias = tuple[Numbers, Numbers]


def valid_range_of(value: Any, shape: Shape) -> ValidRange | None:
    """The range of valid inputs that a user's argument stands for.

    Args:
        value: ``(low, high)``, two numbers or two arrays that broadcast to ``shape``, such as one
            number per channel; or None if all inputs are valid.
        shape: of one input, without the batch.

    Returns:
        None, or two float64 numbers or arrays. They are rounded outwards to float32, so that the
        float32 form of every valid input lies within them.

    Raises:
        ValueError: if it is no such pair, or if ``low`` is above ``high``.
    """
    if value is None:
        return None
    try:
        if isinstance(value, str):
            raise TypeError
        low, high = (np.asarray(end, np.float64) for end in value)
        for end in (low, high):
            np.broadcast_to(end, shape)
    except (TypeError, ValueError):
        raise ValueError(
            "valid_range must be a pair (low, high) of numbers, or of arrays that broadcast to an "
            f"input {tuple(shape)}; or None if all inputs are valid; got {value!r}"
        ) from None
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise ValueError(f"the ends of valid_range must be finite, got {value!r}")
    if not (low <= high).all() or not (low < high).any():
        raise ValueError(f"the low end of valid_range must be below the high end, got {value!r}")
    low, high = _outwards(low, -np.inf), _outwards(high, np.inf)
    return (float(low), float(high)) if low.ndim == high.ndim == 0 else (low, high)


def numbers_of(valid_range: ValidRange | None) -> tuple[float, float] | None:
    """The two ends if they are the same two numbers for all entries; otherwise None."""
    if valid_range is None or np.ndim(valid_range[0]) + np.ndim(valid_range[1]):
        return None
    return float(valid_range[0]), float(valid_range[1])


def is_unit_range(value: Any) -> bool:
    """Whether a user's argument stands for the range [0, 1] of ordinary images."""
    return (
        isinstance(value, (tuple, list))
        and len(value) == 2
        and all(
            np.ndim(end) == 0 and end == wanted for end, wanted in zip(value, (0, 1), strict=True)
        )
    )


def require_within(x: Array, valid_range: ValidRange) -> None:
    """Raise unless all inputs are valid.

    Args:
        x: float array ``(n, *shape)``.
        valid_range: what :func:`valid_range_of` returned for this shape.

    Raises:
        ValueError: naming the first entry that is not, and its range.
    """
    outside = (x < valid_range[0]) | (x > valid_range[1])
    if outside.any():
        index = tuple(int(i) for i in np.argwhere(outside)[0])
        low, high = (float(np.broadcast_to(end, x.shape[1:])[index[1:]]) for end in valid_range)
        raise ValueError(
            f"x must lie in valid_range, but x[{', '.join(map(str, index))}] is {x[index]!r}, and "
            f"its range [{low:g}, {high:g}]; where rounding is the cause, np.clip(x, *valid_range) "
            "brings it back"
        )


def diameter(valid_range: ValidRange, shape: Shape) -> dict[str, float]:
    """The largest distance of two valid inputs, by norm.

    Args:
        valid_range: what :func:`valid_range_of` returned for this shape.
        shape: of one input, without the batch.
    """
    widths = np.broadcast_to(np.subtract(valid_range[1], valid_range[0]), shape)
    if numbers_of(valid_range):
        width = float(np.max(widths))
        return {"linf": width, "l2": width * math.sqrt(math.prod(shape))}
    return {"linf": float(widths.max()), "l2": float(np.linalg.norm(widths))}


def _outwards(end: Array, direction: float) -> Array:
    """The nearest float32 numbers that are not further inside, as float64."""
    with np.errstate(over="ignore"):
        nearest = end.astype(np.float32)
    inside = nearest < end if direction > 0 else nearest > end
    rounded = np.where(inside, np.nextafter(nearest, np.float32(direction)), nearest)
    if not np.isfinite(rounded).all():
        raise ValueError("the ends of valid_range must be numbers that float32 can hold")
    return rounded.astype(np.float64)
