"""Heavy NumPy work on all cores, with a whole task for each core."""

import concurrent.futures
import os
import threading
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits

# `threadpool_limits` changes a setting of the whole process. The lock keeps one thread from
# restoring the setting while another one relies on it.
_LIMIT = threading.Lock()
_Result = TypeVar("_Result")


def cores() -> int:
    """The number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def on_all_cores(function: Callable[..., _Result], *arguments: Iterable[Any]) -> list[_Result]:
    """``list(map(function, *arguments))``, with as many tasks at once as there are cores.

    Linear algebra uses one core for each task. If it divided a task among threads, these would wait
    for each other, even for seconds if another program uses one of the cores.

    Args:
        function: function of NumPy arrays that mostly runs without holding the interpreter's lock.
        arguments: iterables, one for each argument of the function.
    """
    with (
        _LIMIT,
        threadpool_limits(1, user_api="blas"),
        concurrent.futures.ThreadPoolExecutor(cores()) as pool,
    ):
        return list(pool.map(function, *arguments))
