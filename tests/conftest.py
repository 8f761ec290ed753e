"""Fixtures for all tests."""

import os

# Before Keras is imported anywhere.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, settings

import zoo

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
