"""Progress bars that show the remaining time."""

import contextvars
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Item = TypeVar("Item")

# The display that `track` shows at present. A terminal has room for one display only, so the parts
# of an item add their bars to it.
_SHOWN: contextvars.ContextVar[Progress | None] = contextvars.ContextVar("shown", default=None)


def bar(show: bool | int = True) -> Progress:
    """A progress display on standard error, as a context manager."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not show,
    )


def track(items: Sequence[Item], description: str, *, show: bool | int = True) -> Iterator[Item]:
    """Yield the items of a list, and advance a progress bar with each."""
    with bar(show) as progress:
        outer = _SHOWN.get()
        _SHOWN.set(progress)
        try:
            yield from progress.track(items, description=description)
        finally:
            _SHOWN.set(outer)


def track_part(items: Iterable[Item], description: str, *, total: int) -> Iterator[Item]:
    """Yield the parts of the work on one item, with a bar of their own below that of the items.

    Nothing is shown unless :func:`track` shows a progress bar at present.

    Args:
        items: the parts.
        description: what they are.
        total: their number.
    """
    progress = _SHOWN.get()
    if progress is None:
        yield from items
        return
    task = progress.add_task(description, total=total)
    try:
        for item in items:
            yield item
            progress.advance(task)
    finally:
        progress.remove_task(task)
