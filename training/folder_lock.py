"""A lock that lets one process at a time train in a folder."""

import contextlib
import warnings

# huggingface_hub, on which the package depends, needs this library.
import filelock


@contextlib.contextmanager
def locked(folder):
    """A context in which no other process trains in a folder.

    Two trainings in one folder would replace and delete each other's states. The lock of a process
    that was killed is free. On a file system without locks, nothing is checked.

    Args:
        folder: path of a folder that exists.

    Raises:
        ValueError: if another process has the lock.
    """
    lock = filelock.FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise ValueError(
            f"another process trains in {folder}; wait for its end, or choose another folder"
        ) from None
    except (NotImplementedError, OSError) as error:
        warnings.warn(f"{folder} cannot be locked: {error}", stacklevel=3)
    try:
        yield
    finally:
        lock.release()
