"""Values that are asked for many times during one computation, and computed once."""

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

_T = TypeVar("_T")
_KNOWN: contextvars.ContextVar[dict[Any, Any] | None] = contextvars.ContextVar(
    "known", default=None
)


@contextlib.contextmanager
def computing_once() -> Iterator[None]:
    """Within this context, :func:`once` keeps what it has computed.

    Nothing that the values depend on may change within it: no weight, no setting, and not the way
    in which a backend computes. Nothing is kept afterwards.
    """
    token = _KNOWN.set({})
    try:
        yield
    finally:
        _KNOWN.reset(token)


def once(owner: Any, name: str, compute: Callable[[], _T]) -> _T:
    """The value of this name of an object, which is computed if it is not known yet.

    Args:
        owner: the object whose value it is.
        name: name of the value.
        compute: function that computes it.
    """
    known = _KNOWN.get()
    if known is None:
        return compute()
    key = id(owner), name
    if key not in known:
        # The object is kept with the value, so that no later object can have the same id.
        known[key] = owner, compute()
    return known[key][1]
