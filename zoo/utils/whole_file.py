"""Write a file completely or not at all, and check whether a file can be written."""

import contextlib
import os
import pathlib
from collections.abc import Iterator
from typing import IO

from zoo.typing import Path
from zoo.utils.paths import expanded


def write_whole(path: Path, text: str) -> None:
    """Write a text file under a temporary name, and rename it once it is complete.

    Args:
        path: path of the file, as for :func:`whole_file`.
        text: content of the file, written as UTF-8.

    Raises:
        OSError: naming the path and the reason. No partial file or new folder is left behind, and
            an existing file is unchanged.

    Examples:
        >>> import pathlib, tempfile
        >>> from zoo.utils.whole_file import write_whole
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_whole(pathlib.Path(folder, "new", "page.html"), "all of it")
        ...     pathlib.Path(folder, "new", "page.html").read_text(encoding="utf-8")
        'all of it'
    """
    with whole_file(path) as file:
        # A name of a file that is not UTF-8 is written as the file system has it.
        file.write(text.encode("utf-8", "surrogateescape"))


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A context with a binary file that gets its name once it is complete.

    Args:
        path: path of the file, where ``~`` is the user's folder; an existing file is replaced.
            Missing folders are created. Of a symbolic link, the file that it leads to is replaced.
            A device or a pipe, such as ``/dev/stdout``, is written to as it is.

    Raises:
        OSError: as :func:`write_whole`. After any exception in the context, too, no partial file or
            new folder is left behind, and an existing file is unchanged.
    """
    path = expanded(path)
    # A rename would put a file in the place of a device or a pipe. Where /dev/stdout leads to a
    # pipe, its real path is no path of a file.
    in_place = _is_device(path)
    target = path if in_place else pathlib.Path(os.path.realpath(path))
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        with new_folder(target.parent):
            try:
                with open(target if in_place else partial, "wb") as file:
                    yield file
                if not in_place:
                    replace(partial, target)
            except BaseException:
                with contextlib.suppress(OSError):
                    partial.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise OSError(f"cannot write {path}: {_reason(path, error)}") from error


def replace(complete: pathlib.Path, target: pathlib.Path) -> None:
    """Give a complete file its name; a file that has the name already is replaced.

    Args:
        complete: path of the file under its temporary name.
        target: path with its name, on the same file system.
    """
    # Without this, a power cut could leave an empty file under the new name.
    with open(complete, "rb+") as file:
        os.fsync(file.fileno())
    complete.replace(target)


@contextlib.contextmanager
def new_folder(folder: pathlib.Path) -> Iterator[None]:
    """A context in which a folder exists; after an exception in it, no new empty folder is left.

    Args:
        folder: path of the folder. It and its missing parents are created.
    """
    made = _missing(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for path in made:
            with contextlib.suppress(OSError):  # it was not created, or has files by now
                path.rmdir()
        raise


def require_writable(path: Path, *, makes_folders: bool = False) -> None:
    """Raise unless a file can be written here; call it before the work whose result is written.

    Args:
        path: path of the file, which may exist already.
        makes_folders: whether missing folders will be created.

    Raises:
        OSError: naming the path and the reason.
    """
    path = expanded(path)
    if str(path) == "-":
        raise OSError("cannot write -: it is no name of a file; /dev/stdout is standard output")
    if _is_device(path):
        if os.access(path, os.W_OK):
            return
        raise OSError(f"cannot write {path}: it cannot be written to")
    # A link is followed: the file that it leads to is replaced.
    folder = (pathlib.Path(os.path.realpath(path)) if path.is_symlink() else path).parent
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


def _is_device(path: pathlib.Path) -> bool:
    """Whether a path is that of a device or a pipe."""
    return path.exists() and not (path.is_file() or path.is_dir())


def _missing(folder: pathlib.Path) -> list[pathlib.Path]:
    """The folder and those of its parents that do not exist, the innermost first."""
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
