"""Progress bars that show the remaining time."""

from collections.abc import Iterator, Sequence
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
        yield from progress.track(items, description=description)
