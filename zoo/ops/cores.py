"""Heavy NumPy work on all cores, with a whole task for each core."""

import concurrent.futures
import contextlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits

from zoo.utils.progress import track_part

# `threadpool_limits` changes a setting of the whole process. So the first context that needs the
# limit sets it, and the last one that ends restores the setting. The two may belong to different
# threads, but threadpoolctl 3.8 lets nobody else than the thread that set a limit change it. So a
# thread that lives as long as the limit sets it and restores the setting.
_LOCK = threading.Lock()
_limit: Any = None
_limiting_thread: Any = None
_users = 0
_Result = TypeVar("_Result")


def cores() -> int:
    """The number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _limit_threads() -> Any:
    return threadpool_limits(1, user_api="blas").__enter__()


@contextlib.contextmanager
def undivided_linear_algebra() -> Iterator[None]:
    """A context in which NumPy and SciPy do not divide one operation among several threads.

    Such threads wait for each other, even for minutes if another program uses one of the cores.
    """
    global _limit, _limiting_thread, _users
    with _LOCK:
        if not _users:
            _limiting_thread = concurrent.futures.ThreadPoolExecutor(1)
            _limit = _limiting_thread.submit(_limit_threads).result()
        _users += 1
    try:
        yield
    finally:
        with _LOCK:
            _users -= 1
            if not _users:
                _limiting_thread.submit(_limit.__exit__, None, None, None).result()
                _limiting_thread.shutdown()


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
