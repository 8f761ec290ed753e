"""A text file written whole or not at all, and whether a file can be written."""

import contextlib
import os
import pathlib

from zoo.typing import Path


def write_whole(path: Path, text: str) -> None:
    """Write a text file under its name only once all of it is written.

    Args:
        path: of the file; a file of that name is replaced. Missing folders are made.
        text: its content, written as UTF-8.

    Raises:
        OSError: naming the path and the reason. Nothing is left behind then, and a file that was
            there stays as it was.

    Example:

    >>> import pathlib, tempfile
    >>> from zoo.utils.whole_file import write_whole
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_whole(pathlib.Path(folder, "new", "page.html"), "all of it")
    ...     pathlib.Path(folder, "new", "page.html").read_text(encoding="utf-8")
    'all of it'
    """
    path = pathlib.Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    made = _missing(path.parent)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8", newline="\n")
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


def require_writable(path: Path, *, makes_folders: bool = False) -> None:
    """Raise unless a file could be written here, before the work begins that it is to hold.

    Args:
        path: of the file, which may be there already.
        makes_folders: whether missing folders will be made.

    Raises:
        OSError: naming the path and the reason.
    """
    path = pathlib.Path(path)
    folder = path.parent
    while makes_folders and not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    if path.is_dir():
        reason = "it is a folder, not a file"
    elif not folder.exists():
        reason = f"there is no folder {folder}"
    elif not folder.is_dir():
        reason = f"{folder} is a file, not a folder"
    elif not os.access(folder, os.W_OK | os.X_OK):
        reason = f"the folder {folder} cannot be written to"
    elif path.exists() and not os.access(path, os.W_OK):
        reason = "the file that is there cannot be overwritten"
    else:
        return
    raise OSError(f"cannot write {path}: {reason}")


def _missing(folder: pathlib.Path) -> list[pathlib.Path]:
    """The folders on the way that are not there, the innermost first."""
    missing = []
    while not os.path.lexists(folder) and folder != folder.parent:
        missing.append(folder)
        folder = folder.parent
    return missing


def _reason(path: pathlib.Path, error: OSError) -> str:
    for folder in path.parents:
        if folder.exists() and not folder.is_dir():
            return f"{folder} is a file, not a folder"
    return error.strerror or str(error)
