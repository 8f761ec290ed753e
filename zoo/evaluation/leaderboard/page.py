"""Makes the leaderboard's HTML page, and writes it into a folder."""

import dataclasses
import json
import pathlib
import re
from collections.abc import Iterable
from typing import Any

from zoo.epsilon import Epsilon
from zoo.evaluation.curves import curves
from zoo.evaluation.leaderboard.published import published
from zoo.evaluation.leaderboard.rows import grouped, rows
from zoo.hub.records import Record
from zoo.project import DOCUMENTATION
from zoo.typing import Path
from zoo.utils.whole_file import write_whole

#: Name of the file that the page is written to.
PAGE = "index.html"
_FILES = pathlib.Path(__file__).parent


def page(records: Iterable[Record]) -> str:
    """The leaderboard as one HTML page that needs no other file and no network.

    Args:
        records: iterable of :class:`zoo.hub.records.Record`, as :func:`zoo.list_models` returns.

    Returns:
        HTML text that contains its style, its script and all data.

    Examples:
        >>> import zoo
        >>> from zoo.evaluation.leaderboard.page import page
        >>> page(zoo.list_models()).startswith("<!doctype html>")
        True
    """
    records = list(records)
    parts = {
        "page.css": _read("page.css"),
        "page.js": _read("page.js"),
        "data": _json_in_html(data(records)),
        "documentation": DOCUMENTATION,
    }
    # All placeholders are replaced in one pass, so inserted text is not searched for placeholders.
    return re.sub(r"\{\{(.+?)\}\}", lambda place: parts[place[1]], _read("page.html"))


def data(records: list[Record]) -> dict[str, list[dict[str, Any]]]:
    """The data in the page: rows, curves, and what papers print, in JSON's types.

    Args:
        records: list of :class:`zoo.hub.records.Record`.

    Returns:
        Dictionary: ``rows`` and ``curves`` as the functions of these names return them, and
        ``published``, the results of papers for the data sets and norms of the rows, with
        accuracies between 0 and 1.
    """
    found = rows(records)
    return {
        "rows": found,
        "curves": curves(records),
        "published": [
            {
                **dataclasses.asdict(result),
                "certified": result.certified / 100,
                "clean": None if result.clean is None else result.clean / 100,
                "budget": float(Epsilon(result.eps)),
                "short_source": result.short_source,
            }
            for threat in grouped(found)
            for result in published(*threat)
        ],
    }


def write(folder: Path, records: Iterable[Record]) -> pathlib.Path:
    """Write the page into a folder, completely or not at all.

    Args:
        folder: folder of the site, created if it does not exist; other files in it are kept.
        records: as for :func:`page`.

    Returns:
        Path of ``index.html``.

    Raises:
        OSError: if the folder is a file or cannot be written to.

    Examples:
        >>> import tempfile, zoo
        >>> from zoo.evaluation.leaderboard.page import write
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write(folder, zoo.list_models()).name
        'index.html'
    """
    path = pathlib.Path(folder) / PAGE
    write_whole(path, page(records))
    return path


def _read(name: str) -> str:
    return (_FILES / name).read_text(encoding="utf-8")


def _json_in_html(value: Any) -> str:
    """JSON without characters that could end the enclosing HTML element or start a comment."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")
