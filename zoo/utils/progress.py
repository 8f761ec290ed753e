"""Progress bars that show the remaining time."""

import contextlib
import contextvars
import datetime
import functools
import html
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
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
# The display that `steps` shows at present. A terminal has room for one display only, so the parts
# of a step add their bars to it.
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


def bar(show: bool | int = True, *, notebook: bool = True) -> Any:
    """A progress display, as a context manager: on standard error, or in a notebook's cell.

    Args:
        show: whether anything is shown.
        notebook: whether the display in a notebook is one for its cells. With False it is the text
            of standard error there, too.

    Returns:
        :class:`rich.progress.Progress`, or in a notebook a :class:`NotebookProgress`.
    """
    console = Console(stderr=True, force_jupyter=None if notebook else False)
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


@contextlib.contextmanager
def steps(description: str, total: int, *, show: bool | int = True) -> Iterator[Callable[[], None]]:
    """A context with a progress bar for a number of steps.

    Args:
        description: what is done.
        total: the number of steps.
        show: whether the bar is shown. If another context shows a bar already, this one stands
            below it, and disappears when the context ends.

    Yields:
        a function without arguments that moves the bar on by one step.
    """
    outer = _SHOWN.get()
    if show and outer is not None:
        task = outer.add_task(description, total=total)
        try:
            yield functools.partial(outer.advance, task)
        finally:
            outer.remove_task(task)
        return
    with bar(show) as progress:
        _SHOWN.set(progress)
        try:
            yield functools.partial(progress.advance, progress.add_task(description, total=total))
        finally:
            _SHOWN.set(outer)


def track(items: Sequence[Item], description: str, *, show: bool | int = True) -> Iterator[Item]:
    """Yield the items of a list, and move the bar of :func:`steps` on after each."""
    with steps(description, len(items), show=show) as advance:
        for item in items:
            yield item
            advance()


def track_part(items: Iterable[Item], description: str, *, total: int) -> Iterator[Item]:
    """Yield the parts of the work on one item, with a bar of their own below that of the items.

    Nothing is shown unless :func:`steps` shows a progress bar at present.

    Args:
        items: the parts.
        description: what they are.
        total: their number.
    """
    if _SHOWN.get() is None:
        yield from items
        return
    with steps(description, total) as advance:
        for item in items:
            yield item
            advance()
