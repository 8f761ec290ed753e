"""Backends that must not wait for each other."""

import os
import subprocess
import sys

import pytest


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cannot choose processors here")
@pytest.mark.timeout(300)
def test_jax_does_not_hang_on_a_single_core():
    """A callback and XLA must not wait for each other when there is one thread."""
    pytest.importorskip("jax")
    program = """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import numpy as np, zoo
model = zoo.models.LinfDistNet((28, 28, 1), 10, width=256, depth=2)
x = np.random.default_rng(0).uniform(size=(128, 28, 28, 1)).astype("float32")
print(len(model.certify(x, method="lipschitz")))
model.compile()
model.fit(x, np.zeros(128, int), verbose=0)
"""
    run = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert run.returncode == 0, run.stderr
