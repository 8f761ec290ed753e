"""Heavy NumPy work on all cores, with a whole task for each core."""

import concurrent.futures
import contextlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import threadpoolctl

from zoo.utils.progress import track_part

# `threadpool_limits` changes a setting of the whole process. So the first context that needs the
# limit sets it, and the last one that ends restores the setting.
_LOCK = threading.Lock()
_limit: Any = None
_users = 0
_Result = TypeVar("_Result")


def cores() -> int:
    """The number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _take_control() -> None:
    """Let the calling thread change OpenBLAS's number of threads.

    Since threadpoolctl 3.8, the first thread that changes it is the only one that can, and the
    calls of all others are ignored. But the contexts here may begin and end in different threads.
    """
    controller: Any = getattr(threadpoolctl, "OpenBLASController", None)
    if hasattr(controller, "clear_controlling_thread"):
        controller.clear_controlling_thread(force=True)


@contextlib.contextmanager
def undivided_linear_algebra() -> Iterator[None]:
    """A context in which NumPy and SciPy do not divide one operation among several threads.

    Such threads wait for each other, even for minutes if another program uses one of the cores.
    """
    global _limit, _users
    with _LOCK:
        if not _users:
            _take_control()
            _limit = threadpoolctl.threadpool_limits(1, user_api="blas")
        _users += 1
    try:
        yield
    finally:
        with _LOCK:
            _users -= 1
            if not _users:
                _take_control()
                _limit.restore_original_limits()
                _take_control()


def on_all_cores(
    function: Callable[..., _Result], *arguments: Iterable[Any], description: str | None = None
) -> list[_Result]:
    """``list(map(function, *arguments))``, with as many tasks at once as there are cores.

    Linear algebra uses one core for each task: see :func:`undivided_linear_algebra`.

    Args:
        function: function of NumPy arrays that mostly runs without holding the interpreter's lock.
        arguments: iterables, one for each argument of the function.
        description: what a progress bar calls the tasks, if the caller shows one (see
            :func:`zoo.utils.progress.track`); None shows none.
    """
    columns = [list(argument) for argument in arguments]
    with (
        undivided_linear_algebra(),
        concurrent.futures.ThreadPoolExecutor(cores()) as pool,
    ):
        results = pool.map(function, *columns)
        if description is None:
            return list(results)
        return list(track_part(results, description, total=min(map(len, columns))))
