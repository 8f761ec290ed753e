"""A text file written whole or not at all."""

import contextlib
import os
import pathlib


def write_whole(path, text):
    """Write a text file under its name only once all of it is written.

    Args:
        path: of the file; a file of that name is replaced. Missing folders are made.
        text: its content, written as UTF-8.

    Raises:
        OSError: naming the path and the reason. Nothing is left behind then, and a file that was
            there stays as it was.

    Example:

    >>> import pathlib, tempfile
    >>> from zoo.whole_file import write_whole
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_whole(pathlib.Path(folder, "new", "page.html"), "all of it")
    ...     pathlib.Path(folder, "new", "page.html").read_text()
    'all of it'
    """
    path = pathlib.Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    made = _missing(path.parent)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        for folder in made:
            with contextlib.suppress(OSError):  # it was never made, or another's file is in it
                folder.rmdir()
        if isinstance(error, OSError):
            raise OSError(f"cannot write {path}: {_reason(path, error)}") from error
        raise


def _missing(folder):
    """The folders on the way that are not there, the innermost first."""
    missing = []
    while not os.path.lexists(folder) and folder != folder.parent:
        missing.append(folder)
        folder = folder.parent
    return missing


def _reason(path, error):
    for folder in path.parents:
        if folder.exists() and not folder.is_dir():
            return f"{folder} is a file, not a folder"
    return error.strerror or str(error)
