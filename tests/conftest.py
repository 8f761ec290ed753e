"""Fixtures for all tests.

Nothing here imports Keras, a backend or the Hub's client before a test needs it: a test of pure
Python starts at once.
"""

import logging
import os
import pathlib
import random
import sys

# Before Keras is imported anywhere.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# JAX compiles each operation for every shape, which takes most of the time of its tests. Files keep
# what it has compiled, and all workers and later runs share them.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", str(pathlib.Path(__file__).parent.parent / "build" / "jax")
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
if "PYTEST_XDIST_WORKER" in os.environ:
    # There are as many workers as cores, so that threads of one take time from the others. Those
    # of the linear algebra wait for each other by spinning: a decomposition of milliseconds takes
    # half a second while the other core is busy.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

import zoo
from tests.backend import BACKEND

settings.register_profile(
    "zoo",
    deadline=None,
    derandomize=True,
    # JAX compiles anew for every shape that is drawn.
    max_examples=25 if BACKEND == "tensorflow" else 6,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("zoo")


@pytest.fixture(autouse=True)
def _seeded():
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(0)
    else:
        # Where a test imports Keras itself, Keras draws its own seed from the first of these.
        random.seed(0)
        np.random.seed(0)


@pytest.fixture(autouse=True)
def _loud():
    """``--quiet`` holds for a process, and must not reach the tests that come later."""
    names = ("TQDM_DISABLE", "HF_HUB_DISABLE_PROGRESS_BARS", "TF_CPP_MIN_LOG_LEVEL")
    before = {name: os.environ.get(name) for name in names}
    logger = logging.getLogger("urllib3")
    level = logger.level
    yield
    logger.setLevel(level)
    for name, value in before.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


@pytest.fixture(scope="session")
def digits():
    """The embedded test images."""
    return zoo.data.load("digits", "test")


@pytest.fixture(scope="session")
def digits_model():
    """The shipped model of the embedded set. Do not change it."""
    return zoo.load("linf-dist-digits")


@pytest.fixture
def small_model():
    """An untrained network for 4 × 4 images of three classes."""
    return zoo.models.LinfDistNet((4, 4, 1), 3, width=12, depth=3, mean=0.4, std=0.3)


@pytest.fixture
def small_images():
    return np.random.default_rng(0).uniform(size=(20, 4, 4, 1)).astype(np.float32)


@pytest.fixture
def server(monkeypatch):
    """The Hub on the loopback, and a client that knows no other."""
    from huggingface_hub import constants
    from huggingface_hub.utils import build_hf_headers

    from tests.hub.server import HubServer

    server = HubServer()
    for name in ("HF_HUB_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    # The client reads its environment when it is imported.
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    build_hf_headers()  # once in a process, this asks the Hub; a test sees its own requests alone
    server.requests.clear()
    yield server
    server.close()
