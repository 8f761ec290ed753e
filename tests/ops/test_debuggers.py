"""Debuggers of NaN and infinity, switched on in search of one's own, find none of the zoo's."""

import keras
import numpy as np
import pytest

import zoo
from tests.backend import BACKEND, value_and_gradients
from zoo.certificates import network_bounds
from zoo.ops import linf_interval, linf_interval_conv, lp_distance, lp_distance_conv
from zoo.ops.lp_distance import INFINITE

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def _debugger():
    if BACKEND == "jax":
        import jax

        with jax.debug_nans(True), jax.debug_infs(True):
            yield
        return
    import tensorflow as tf

    tf.debugging.enable_check_numerics()
    yield
    tf.debugging.disable_check_numerics()


@pytest.fixture(autouse=True)
def _short_search(monkeypatch):
    """Every step of the search for a radius computes the same, and the debugger makes it slow."""
    monkeypatch.setattr(network_bounds, "_STEPS", 1)


# Shapes that no other test has: what was traced before is not looked at.
X = np.random.default_rng(0).normal(size=(5, 23)).astype("float32")
W = np.concatenate([X[:2], np.zeros((1, 23), "float32")])  # distance 0, and many ties
IMAGES = np.random.default_rng(1).normal(size=(2, 7, 6, 3)).astype("float32")
FILTERS = np.zeros((3, 2, 3, 5), "float32")


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("implementation", ["numba", "portable"])
@pytest.mark.parametrize("p", [float("inf"), np.float32(np.inf), "tensor", 8.0, 1000.0])
def test_distances(p, implementation, compiled):
    options = {"p": np.asarray(INFINITE, "float32") if isinstance(p, str) else p}
    options["implementation"] = implementation
    u, _ = value_and_gradients(lambda x, w: lp_distance(x, w, **options), X, W, compiled=compiled)
    if not isinstance(p, float) or p == np.inf:
        np.testing.assert_array_equal(u, np.abs(X[:, None] - W).max(axis=-1))
    value_and_gradients(
        lambda x, w: lp_distance_conv(x, w, **options), IMAGES, FILTERS, compiled=compiled
    )


@pytest.mark.parametrize("implementation", ["numba", "portable"])
def test_intervals(implementation):
    linf_interval(X, X + 1, W, implementation=implementation)
    linf_interval_conv(IMAGES, IMAGES + 1, FILTERS, implementation=implementation)


def small_network(activation):
    layers = [
        keras.Input((8, 8, 1)),
        keras.layers.Conv2D(3, 3, strides=2, use_bias=False),
        keras.layers.BatchNormalization(),
        keras.layers.Activation(activation),
        keras.layers.MaxPooling2D(),
        keras.layers.Flatten(),
    ]
    return keras.Sequential([*layers, keras.layers.Dense(10)])


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_certificates_of_ordinary_models(activation):
    model, x = small_network(activation), np.full((2, 8, 8, 1), 0.5, "float32")
    for norm, method in (("linf", "crown"), ("l2", "crown-interval"), ("linf", "interval")):
        assert len(zoo.certify(model, x, norm=norm, method=method)) == 2


@pytest.mark.parametrize("name", [record.name for record in zoo.list_models(dataset="digits")])
def test_models_are_loaded_certified_and_trained(name):
    model, x = zoo.load(name), np.full((4, 8, 8, 1), 0.5, "float32")
    for norm, method in model.certificates:
        if method != "exact":  # it takes seconds for an image
            model.certify(x[:1], norm=norm, method=method)
    model.logits(x)
    # XLA compiles no checks of tensors.
    model.compile("sgd", jit_compile=False)
    model.fit(x, np.arange(4), verbose=0)
    model.predict(x, verbose=0)
