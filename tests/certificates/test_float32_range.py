"""Certificates of networks with numbers at the ends of float32's range.

In each test the second image has another class than the first one on a machine that replaces
subnormal numbers by zero, as TensorFlow does, or that overflows as float32 does.
"""

import keras
import numpy as np
import pytest
from keras import layers

import zoo


def sequential(size, *parts):
    return keras.Sequential([keras.Input((size,)), *parts])


def assert_not_certified(model, x, z, **options):
    """No image as far away as ``z`` is certified to have the class of ``x``."""
    x, z = (np.array([image], np.float32) for image in (x, z))
    distance = float(np.abs(x.astype(np.float64) - z).max())
    assert zoo.certify(model, x, norm="linf", **options).radius[0] <= distance
    decided = zoo.certify(model, x, norm="linf", eps=[2.0 * distance], **options)
    assert not decided.certified(2.0 * distance).any()


@pytest.mark.integration
@pytest.mark.parametrize("method", ["interval", "crown", "exact"])
@pytest.mark.parametrize("last", [layers.ReLU, layers.Flatten])
def test_logits_that_are_flushed(last, method):
    """The last layer only selects, and no bound of a further layer counts the flushing."""
    model = sequential(2, layers.ReLU(), last())
    assert_not_certified(model, [0.0, 1.2e-38], [0.0, 1.17e-38], method=method)


@pytest.mark.parametrize(
    "activation",
    [
        lambda: layers.LeakyReLU(1e36),
        lambda: layers.ReLU(negative_slope=1e36),
        lambda: layers.PReLU(alpha_initializer=keras.initializers.Constant(1e36)),
    ],
)
def test_inputs_that_are_flushed_before_a_steep_slope(activation):
    model = sequential(1, activation(), layers.Dense(2))
    model.layers[-1].set_weights([np.array([[-1.0, 0.0]]), np.array([0.0, 2e-3])])
    assert_not_certified(model, [-1.3e-38], [-1.1e-38], valid_range=(-1, 1))


def test_kernels_that_are_flushed_before_a_large_factor():
    layer = zoo.layers.EqualizedDense(2, gain=1e29 * 2**0.5)
    model = sequential(2, layer)
    layer.set_weights([np.array([[1e-38, 0.0], [2e-38, 0.0]]), np.array([0.0, 1.5e-9])])
    assert_not_certified(model, [1.0, 1.0], [1.0, 0.7])


@pytest.mark.parametrize("parametrization", ["free", "orthogonal"])
def test_a_certificate_of_logits_where_the_network_may_overflow(parametrization):
    """The logits at the second image are NaN, which counts as class 0."""
    model = zoo.models.L2NonexpansiveNet(
        (1, 2, 1), 2, network="dense", width=2 / 1024, parametrization=parametrization
    )
    dense = [layer for layer in model.hidden if layer.weights] + [model.head]
    entries = (
        {(0, 0): 2e38, (1, 0): 2e38},
        {(0, 0): 1e-30},
        {(0, 0): 1.0},
        {(0, 1): 1.0, (0, 0): -1.0},
    )
    for layer, of_layer in zip(dense, entries, strict=True):
        kernel, *bias = (np.zeros_like(weight) for weight in layer.get_weights())
        for place, value in of_layer.items():
            kernel[place] = value
        layer.set_weights([kernel, *bias])
    x = np.full((1, 1, 2, 1), 0.8, "float32")
    certificate, logits = model.logit_certificate(), model.logits(x)
    assert certificate.radius(logits, x).tolist() == [0.0]
    assert model.certify(x).radius.tolist() == [0.0]


def test_a_certificate_of_logits_is_unchanged_where_nothing_overflows(digits):
    model = zoo.load("l2nnn-digits")
    x = digits.images[:20]
    found = model.logit_certificate().radius(model.logits(x), x)
    np.testing.assert_allclose(found, model.certify(x).radius, atol=1e-3)
    assert (found > 0.1).any()


def test_distances_that_overflow_prove_nothing():
    model = zoo.models.LinfDistNet((2, 2, 1), 3, width=4, depth=2, std=1e6)
    bias = np.array([-3e38, 0.0, 0.0], "float32")
    model.head.bias.assign(bias)
    certificate = model.certify(np.full((1, 2, 2, 1), 0.5, "float32"))
    assert not np.isfinite(model.logits(np.full((1, 2, 2, 1), 0.5, "float32"))).all()
    assert certificate.radius.tolist() == [0.0]
