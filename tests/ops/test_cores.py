"""Threads of our own in place of those of the linear algebra."""

import os
import subprocess
import sys

import pytest

from zoo.ops.cores import on_all_cores

pytestmark = pytest.mark.integration


def test_results_are_in_order():
    assert on_all_cores(lambda a, b: a - b, range(20), range(0, 40, 2)) == list(range(0, -20, -1))


_BLAS_THREADS = """
import threading
import threadpoolctl
from zoo.ops.cores import on_all_cores, undivided_linear_algebra

def blas_threads():
    return [
        library["num_threads"]
        for library in threadpoolctl.threadpool_info()
        if library["user_api"] == "blas"
    ]

before = blas_threads()
assert max(before) == 2, before
"""

_OVERLAPPING = """
seen = []
threads = [
    threading.Thread(target=on_all_cores, args=(lambda _: seen.append(blas_threads()), [0] * 5))
    for _ in range(4)
]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert len(seen) == 20
assert all(count == 1 for counts in seen for count in counts), seen
assert blas_threads() == before, blas_threads()
"""

_FIRST_THREAD_ENDS_LAST = """
inside, leave, outside, end = [threading.Event() for _ in range(4)]

def first():
    with undivided_linear_algebra():
        inside.set()
        leave.wait()
    outside.set()
    end.wait()

thread = threading.Thread(target=first)
thread.start()
inside.wait()
with undivided_linear_algebra():
    leave.set()
    outside.wait()
after = blas_threads()
# The limits of others work afterwards.
with threadpoolctl.threadpool_limits(1, user_api="blas"):
    limited = blas_threads()
end.set()
thread.join()
assert after == blas_threads() == before, after
assert max(limited) == 1, limited
"""

_ANOTHER_LIMIT = """
with threadpoolctl.threadpool_limits(2, user_api="blas"):
    with undivided_linear_algebra():
        assert max(blas_threads()) == 1, blas_threads()
    assert blas_threads() == before, blas_threads()
threadpoolctl.threadpool_limits(2, user_api="blas")
on_all_cores(lambda _: None, [0])
assert blas_threads() == before, blas_threads()
"""

_EXCEPTIONS = """
try:
    with undivided_linear_algebra():
        try:
            with undivided_linear_algebra():
                raise KeyError
        except KeyError:
            assert max(blas_threads()) == 1, blas_threads()
            raise
except KeyError:
    assert blas_threads() == before, blas_threads()
"""

_AFTER_THE_MAIN_THREAD = """
import time

def late():
    with undivided_linear_algebra():
        time.sleep(0.5)

threading.Thread(target=late).start()
time.sleep(0.1)
"""

_FORK = """
import os

with undivided_linear_algebra():
    child = os.fork()
if not child:
    os._exit(blas_threads() != before)
assert os.waitpid(child, 0)[1] == 0
assert blas_threads() == before, blas_threads()
"""


@pytest.mark.parametrize(
    "program",
    [
        _OVERLAPPING,
        _FIRST_THREAD_ENDS_LAST,
        _ANOTHER_LIMIT,
        _EXCEPTIONS,
        _AFTER_THE_MAIN_THREAD,
        pytest.param(_FORK, marks=pytest.mark.skipif(os.name != "posix", reason="no fork here")),
    ],
    ids=["overlapping", "first ends last", "another limit", "exceptions", "late", "fork"],
)
def test_each_task_has_one_core_and_calls_that_overlap_leave_all_of_them(program):
    """In a process of its own with two threads: a worker of the tests has one from the start."""
    done = subprocess.run(
        [sys.executable, "-c", _BLAS_THREADS + program],
        # No backend takes part, and JAX is imported faster than TensorFlow.
        env={**os.environ, "OPENBLAS_NUM_THREADS": "2", "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "Error" not in done.stderr
