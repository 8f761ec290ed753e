"""Kernels on machines of every kind: their cache on disk, and threads that share them."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.integration

# The kernels are called without a backend, and JAX is imported faster than TensorFlow.
ENVIRONMENT = {**os.environ, "KERAS_BACKEND": "jax"}

_PROGRAM = """
import sys
import numpy as np
from zoo.ops import lp_distance_numba as kernels
random = np.random.default_rng(0)
x, w = (random.normal(size=(n, 70)).astype("float32") for n in (4, 3))
for p in map(float, sys.argv[1:]):
    u, _ = kernels.forward(x, w, p)
    d = np.abs(x[:, None].astype("float64") - w)
    r = d.max(axis=-1)
    np.testing.assert_allclose(u, r * ((d / r[..., None]) ** p).sum(-1) ** (1 / p), rtol=1e-4)
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_processes_do_not_take_each_others_kernels(tmp_path):
    """Numbered from one in each process, kernels of one name would be taken for one another."""
    environment = {**ENVIRONMENT, "NUMBA_CACHE_DIR": str(tmp_path)}
    for exponents in (["8"], ["20"], ["12"], ["8", "20", "12"]):
        subprocess.run([sys.executable, "-c", _PROGRAM, *exponents], env=environment, check=True)
    from zoo.ops.lp_distance_numba import _VERSION

    files = list(tmp_path.rglob("*.nbi"))
    assert files
    assert all(_VERSION in file.name for file in files)


# Two kernels are enough: each takes seconds to compile where none is cached.
_THREADS = """
import concurrent.futures
import numpy as np
from zoo.ops import lp_distance_numba as kernels
x = np.random.default_rng(0).uniform(size=(64, 256)).astype("float32")

# Otherwise the cache could give a kernel of an older version of the package.
assert kernels._VERSION in kernels._interval.__qualname__

def run(_):
    nearest, _ = kernels.interval(x, x, x)
    np.testing.assert_array_equal(nearest, kernels.forward(x, x, np.inf)[0])

with concurrent.futures.ThreadPoolExecutor(4) as pool:
    list(pool.map(run, range(40)))
"""


def test_without_openmp_and_without_a_folder_for_the_cache():
    """A small machine: numba's own threads serve one kernel at a time, and nothing is cached."""
    environment = {
        **ENVIRONMENT,
        "NUMBA_THREADING_LAYER": "workqueue",
        # What numba does where neither the package's folder nor the user's can be written.
        "NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator",
    }
    environment.pop("NUMBA_CACHE_DIR", None)
    done = subprocess.run(
        [sys.executable, "-c", _THREADS], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


_FULL = """
import os, pathlib, shutil
import numpy as np
from zoo.ops import lp_distance_numba as kernels
cache = os.environ["NUMBA_CACHE_DIR"]
assert os.listdir(cache), "the kernels were to be cached here"
shutil.rmtree(cache)
pathlib.Path(cache).touch()  # nothing can be written into it any more
x = np.array([[0.25, 1.0]], "float32")
assert kernels.forward(x, -x, np.inf)[0] == 2
"""


def test_a_cache_that_cannot_be_written_later(tmp_path):
    """As on a full disk."""
    environment = {**ENVIRONMENT, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-c", _FULL], env=environment, check=True)
