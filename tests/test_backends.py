"""The tests that make no assumption on the backend, on the other one."""

import os
import pathlib
import subprocess
import sys

import pytest

from tests.backend import BACKEND

FOLDERS = (
    "ops",
    "layers",
    "losses",
    "models",
    "attacks",
    "training/test_schedules.py",
    "test_loading.py",
)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="this is the run on the other backend")
@pytest.mark.timeout(900)
def test_everything_on_jax():
    pytest.importorskip("jax")
    tests = pathlib.Path(__file__).parent
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-m",
            "not slow",
            *(str(tests / f) for f in FOLDERS),
        ],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        cwd=tests.parent,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-5000:]
    assert " passed" in run.stdout
