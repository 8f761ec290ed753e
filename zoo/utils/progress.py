"""Progress bars that show the remaining time."""

import contextvars
import datetime
import html
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

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

# Seconds between two updates of a bar in a notebook, which are messages to the browser.
_PAUSE = 0.2
# The display that `track` shows at present. A terminal has room for one display only, so the parts
# of an item add their bars to it.
_SHOWN: contextvars.ContextVar[Any] = contextvars.ContextVar("shown", default=None)


class NotebookProgress:
    """A progress display in the output of a notebook's cell, as a context manager.

    It has the methods of :class:`rich.progress.Progress` that this package uses. Rich itself needs
    the package ipywidgets in a notebook; this one needs nothing but IPython.
    """

    def __init__(self) -> None:
        self._bars: list[_NotebookBar] = []

    def __enter__(self) -> "NotebookProgress":
        return self

    def __exit__(self, *error: Any) -> None:
        for bar in self._bars:
            bar.show()

    def add_task(self, description: str, total: int) -> int:
        """Show another bar; returns its number."""
        self._bars.append(_NotebookBar(description, total))
        return len(self._bars) - 1

    def advance(self, task: int) -> None:
        """Move a bar on by one step."""
        self._bars[task].advance()

    def remove_task(self, task: int) -> None:
        """Leave a bar as it is at its end: a cell has room for it."""
        self._bars[task].show()

    def track(self, items: Iterable[Item], description: str) -> Iterator[Item]:
        """Yield the items of a list, and advance a bar with each."""
        items = list(items)
        task = self.add_task(description, len(items))
        for item in items:
            yield item
            self.advance(task)


class _NotebookBar:
    def __init__(self, description: str, total: int) -> None:
        from IPython.display import display  # pyright: ignore[reportMissingImports]

        self.description, self.total, self.done = description, total, 0
        self.start = self.shown = time.monotonic()
        self.handle: Any = display(self._content(), raw=True, display_id=True)

    def advance(self) -> None:
        self.done += 1
        if time.monotonic() - self.shown >= _PAUSE:
            self.show()

    def show(self) -> None:
        self.shown = time.monotonic()
        self.handle.update(self._content(), raw=True)

    def _content(self) -> dict[str, str]:
        elapsed = time.monotonic() - self.start
        text = f"{self.description} {self.done}/{self.total} {_clock(elapsed)}"
        if 0 < self.done < self.total:
            text += f", left {_clock(elapsed / self.done * (self.total - self.done))}"
        bar = f'<progress value="{self.done}" max="{max(1, self.total)}"></progress>'
        return {"text/plain": text, "text/html": f"{bar} {html.escape(text)}"}


def _clock(seconds: float) -> str:
    return str(datetime.timedelta(seconds=round(seconds)))


def bar(show: bool | int = True) -> Any:
    """A progress display, as a context manager: on standard error, or in a notebook's cell.

    Args:
        show: whether anything is shown.

    Returns:
        :class:`rich.progress.Progress`, or in a notebook a :class:`NotebookProgress`.
    """
    console = Console(stderr=True)
    if show and console.is_jupyter:
        return NotebookProgress()
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
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
