"""Checks and conversions of the arguments of public functions."""

import math
import numbers
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from zoo.typing import Array, ArrayLike
from zoo.utils import inputs


def images(
    x: ArrayLike,
    shape: Sequence[int],
    bounds: tuple[float, float] | None = (0.0, 1.0),
    integers: str = "bytes",
) -> Array:
    """Check images, or the inputs of another model, and convert them to a float32 array.

    Args:
        x: array-like ``(n, *shape)``, or another form of images that :func:`zoo.utils.inputs.read`
            takes.
        shape: shape of one input: ``(height, width, channels)`` for images.
        bounds: ``(low, high)``, the range that all values must lie in; None allows any finite
            values.
        integers: how integers are read. ``"bytes"``: uint8 arrays are divided by 255, and other
            integers are refused. ``"numbers"``: integers are taken as numbers.

    Returns:
        NumPy array ``(n, *shape)``, float32; ``n`` may be 0.

    Raises:
        TypeError: if ``x`` is not a numeric array.
        ValueError: naming what was expected and what was found.
    """
    array, _ = inputs.read(x, rank=len(shape))
    require_images(array, shape, bounds, integers)
    if array.dtype == np.uint8 and integers == "bytes":
        return array.astype(np.float32) / np.float32(255)
    return array.astype(np.float32)


def require_images(
    x: Array,
    shape: Sequence[int],
    bounds: tuple[float, float] | None = (0.0, 1.0),
    integers: str = "bytes",
) -> None:
    """Raise unless :func:`images` accepts an array; the array is not copied.

    Args:
        x, shape, bounds, integers: as for :func:`images`.

    Raises:
        ValueError: naming what was expected and what was found.
    """
    expected = f"(n, {', '.join(map(str, shape))})"
    if x.shape[1:] != tuple(shape) or x.ndim != len(shape) + 1:
        hint = "; for a single image pass x[None]" if x.shape == tuple(shape) else ""
        if len(shape) == 3 and x.shape[1:] == (shape[2], *shape[:2]):
            hint = "; the channels come last: x.transpose(0, 2, 3, 1), or in torch x.movedim(1, -1)"
        if len(shape) == 3 and x.shape[1:] == (*shape[:2], 3) and shape[2] == 1:
            hint = "; the model takes gray images, but these have three colours"
        raise ValueError(f"x must have shape {expected}, got {x.shape}{hint}")
    if integers == "bytes":
        if x.dtype == np.uint8:
            return
        if x.dtype.kind != "f":
            kind = "floats in [0, 1] or uint8" if bounds else "floats or uint8"
            raise ValueError(f"x must be {kind}, got dtype {x.dtype}")
    elif x.dtype.kind not in "fiu":
        raise ValueError(f"x must be numbers, got dtype {x.dtype}")
    if not x.size:
        return
    low, high = float(x.min()), float(x.max())
    if not np.isfinite(low + high):
        raise ValueError("x must be finite, but has NaN or infinite pixels")
    if bounds and not bounds[0] <= low <= high <= bounds[1]:
        raise ValueError(_outside(low, high, *bounds))


def _outside(low: float, high: float, least: float, most: float) -> str:
    """The message for values outside the bounds, with advice on what to do about them."""
    wanted, found = f"[{least:g}, {most:g}]", f"[{low!r}, {high!r}]"
    # Resizing or rounding exceeds the bounds by a tiny amount, images in 0..255 by a large one.
    excess = max(least - low, high - most) / (most - least)
    if excess < 1e-3:
        return (
            f"x must lie in {wanted}, but ranges over {found}, outside by a rounding error; "
            f"np.clip(x, {least:g}, {most:g}) brings it back"
        )
    advice = ""
    if (least, most) == (0, 1) and low >= 0:
        advice = (
            "; divide pixels in 0..255 by 255, or pass them as uint8; in a tf.data.Dataset, "
            "data.map(lambda x, y: (x / 255, y)) does it"
        )
    return f"x must lie in {wanted}, but ranges over [{low:g}, {high:g}]{advice}"


def labels(y: Any, count: int, num_classes: int, name: str = "y") -> Array:
    """``y`` as an int64 array of ``count`` labels in ``0 … num_classes − 1``.

    Args:
        y: integers, or whole floats, ``(count,)`` or ``(count, 1)``; or one-hot rows
            ``(count, num_classes)``. As an array of any library, or a list.
        count: number of images.
        num_classes: number of classes.
        name: of the argument, for errors.

    Raises:
        TypeError: if ``y`` is not a numeric array.
        ValueError: naming what was expected and what was found.
    """
    y = inputs.class_numbers(inputs.array(y, name), num_classes, name)
    if y.shape != (count,):
        raise ValueError(
            f"{name} must have shape ({count},), one integer label per image, or be one-hot rows "
            f"({count}, {num_classes}), got {y.shape}"
        )
    if y.dtype.kind not in "iu" and y.size:
        raise ValueError(f"{name} must be integer labels, got dtype {y.dtype}")
    if y.size and (y.min() < 0 or y.max() >= num_classes):
        low, high = y.min(), y.max()
        found = f"got {low}" if low == high else f"but ranges over [{low}, {high}]"
        raise ValueError(f"{name} must lie in 0..{num_classes - 1}, {found}")
    return y.astype(np.int64)


def positive_integer(value: Any, name: str) -> int:
    """``value`` as an int, if it is an integer of at least 1.

    Raises:
        ValueError: naming the argument otherwise.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} must be a positive integer, got {value!r}")
    return int(value)


def positive_number(value: Any, name: str) -> float:
    """``value`` as a float, if it is a finite number above 0.

    Raises:
        ValueError: naming the argument otherwise.
    """
    return _number(value, name, lambda x: 0 < x < math.inf, "a positive number")


def not_negative_number(value: Any, name: str) -> float:
    """``value`` as a float, if it is a finite number of at least 0.

    Raises:
        ValueError: naming the argument otherwise.
    """
    return _number(value, name, lambda x: 0 <= x < math.inf, "a number that is not negative")


def not_negative_integer(value: Any, name: str) -> Any:
    """``value`` as an int, if it is an integer of at least 0.

    Raises:
        ValueError: naming the argument otherwise.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 0:
        raise ValueError(f"{name} must be an integer that is not negative, got {value!r}")
    return int(value)


def positive_even_integer(value: Any, name: str) -> Any:
    """``value`` as an int, if it is an even integer of at least 2.

    Raises:
        ValueError: naming the argument otherwise.
    """
    if positive_integer(value, name) % 2:
        raise ValueError(f"{name} must be a positive even number, got {value!r}")
    return int(value)


def share(value: Any, name: str) -> float:
    """``value`` as a float if it is a number above 0 and at most 1.

    Raises:
        ValueError: naming the argument otherwise.
    """
    return _number(value, name, lambda x: 0 < x <= 1, "a number above 0 and at most 1")


def exponent(value: Any, name: str) -> float:
    """``value`` as a float if it is a finite number of at least 2.

    Raises:
        ValueError: naming the argument otherwise.
    """
    return _number(value, name, lambda x: 2 <= x < math.inf, "a finite number of at least 2")


def _number(value: Any, name: str, accepted: Callable[[float], bool], wanted: str) -> float:
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number or not accepted(float(value)):
        raise ValueError(f"{name} must be {wanted}, got {value!r}")
    return float(value)


def true_or_false(value: Any, name: str) -> Any:
    """``value`` if it is True or False.

    Raises:
        ValueError: naming the argument otherwise.
    """
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, got {value!r}")
    return value


def mask(value: Any, count: int, name: str) -> Array:
    """``value`` as a bool array ``(count,)``.

    Raises:
        ValueError: naming the argument, if it is none.
    """
    value = np.asarray(value)
    if value.dtype != bool or value.shape != (count,):
        raise ValueError(
            f"{name} must be a bool array of shape ({count},), got {value.dtype} of shape "
            f"{value.shape}"
        )
    return value


def one_of(names: Any) -> Any:
    """Make a check, like the functions above, that a value is one of these strings.

    Args:
        names: iterable of the allowed strings.

    Returns:
        Function of ``value`` and ``name`` that returns ``value`` or raises a ValueError.

    Examples:
        >>> from zoo.utils.checks import one_of
        >>> one_of(["margin", "cross_entropy"])("margin", "loss")
        'margin'
    """
    names = tuple(names)

    def check(value: Any, name: str) -> Any:
        if not isinstance(value, str) or value not in names:
            raise ValueError(f"{name} must be one of {', '.join(map(repr, names))}, got {value!r}")
        return value

    return check


def per_channel(value: Any, channels: int, name: str) -> float | list[float]:
    """``value`` as a float, or as a list of one float per channel.

    Raises:
        ValueError: naming the argument otherwise.
    """
    values = np.asarray(value)
    if values.dtype.kind not in "fiu" or values.shape not in ((), (channels,)):
        raise ValueError(f"{name} must be a number or one per channel ({channels}), got {value!r}")
    if not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite, got {value!r}")
    return values.astype(float).tolist()


def pair(value: Any, name: str) -> tuple[int, int]:
    """``value`` as a pair ``(height, width)``, if it is a positive integer or a pair of them.

    Raises:
        ValueError: naming the argument otherwise.
    """
    values = value if isinstance(value, (tuple, list)) else (value, value)
    if len(values) != 2:
        raise ValueError(f"{name} must be a positive integer or a pair of them, got {value!r}")
    return positive_integer(values[0], name), positive_integer(values[1], name)
