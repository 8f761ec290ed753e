"""Paths as users write them."""

import os
import pathlib

from zoo.typing import Path


def expanded(path: Path) -> pathlib.Path:
    """A path with the user's folder in the place of ``~``.

    Args:
        path: text or a path. A name that only begins with ``~``, such as ``~backup``, stays as it
            is if there is no user of that name.

    Examples:
        >>> from zoo.utils.paths import expanded
        >>> "~" in str(expanded("~/images"))
        False
    """
    return pathlib.Path(os.path.expanduser(path))
