"""The time until which a computation may go on."""

import contextlib
import contextvars
import math
from collections.abc import Iterator
from time import monotonic

_END: contextvars.ContextVar[float] = contextvars.ContextVar("end", default=math.inf)


@contextlib.contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """A context whose computations should end after some time.

    Nothing is interrupted: whatever takes long asks :func:`time_left`, and stops by itself.

    Args:
        seconds: the time; None for no limit of its own. The limit of an outer context holds too.

    Examples:
        >>> from zoo.utils.deadline import time_is_up, time_left, time_limit
        >>> with time_limit(60):
        ...     time_is_up(), 59 < time_left() <= 60
        (False, True)
        >>> time_left()
        inf
    """
    end = math.inf if seconds is None else monotonic() + seconds
    token = _END.set(min(end, _END.get()))
    try:
        yield
    finally:
        _END.reset(token)


def time_left() -> float:
    """The seconds until the end of :func:`time_limit`; not positive if they are over."""
    return _END.get() - monotonic()


def time_is_up() -> bool:
    """Whether a computation should stop."""
    return time_left() <= 0
