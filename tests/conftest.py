"""Fixtures for all tests."""

import os

# Before Keras is imported anywhere.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pytest
from huggingface_hub import constants
from hypothesis import HealthCheck, settings

import zoo
from tests.hub.server import HubServer

settings.register_profile(
    "zoo",
    deadline=None,
    derandomize=True,
    # JAX compiles anew for every shape that is drawn.
    max_examples=40 if keras.backend.backend() == "tensorflow" else 6,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("zoo")


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(0)


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
    server = HubServer()
    for name in ("HF_HUB_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    # The client reads its environment when it is imported.
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    # Large files go by Git's protocol, which the server speaks.
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    yield server
    server.close()
