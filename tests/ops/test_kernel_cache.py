"""Kernels compiled by several processes meet in one cache on disk."""

import os
import subprocess
import sys

import pytest

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
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    for exponents in (["8"], ["20"], ["12"], ["8", "20", "12"]):
        subprocess.run([sys.executable, "-c", _PROGRAM, *exponents], env=environment, check=True)
