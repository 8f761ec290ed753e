"""NumPy's heavy work on all cores, a whole task for each."""

import concurrent.futures
import os
import threading

from threadpoolctl import threadpool_limits

# The limit is the process's: who restores it must be who set it.
_LIMIT = threading.Lock()


def cores() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def on_all_cores(function, *arguments):
    """``list(map(function, *arguments))``, with as many tasks at once as there are cores.

    Linear algebra takes one core for each task: where it splits a task, its threads wait for each
    other, for seconds if something else has a core meanwhile.

    Args:
        function: of NumPy arrays; most of its time goes by without the interpreter's lock.
        arguments: iterables, one for each of its arguments.
    """
    with (
        _LIMIT,
        threadpool_limits(1, user_api="blas"),
        concurrent.futures.ThreadPoolExecutor(cores()) as pool,
    ):
        return list(pool.map(function, *arguments))
