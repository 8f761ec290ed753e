"""Progress bars with the time left."""

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


def bar(show=True):
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


def track(items, description, *, show=True):
    """Yield the items of a list, moving a bar along."""
    with bar(show) as progress:
        yield from progress.track(items, description=description)
