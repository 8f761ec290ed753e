"""Certificates of networks with numbers at the ends of float32's range.

In each test the second image has another class than the first one on a machine that replaces
subnormal numbers by zero, as TensorFlow does, or that overflows as float32 does.
"""

import keras
import numpy as np
import pytest
from keras import layers

import zoo
from zoo.bounds.rules.pooling import MaxPoolingRule
from zoo.ops.precision import double_precision


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


@pytest.mark.parametrize("method", ["interval", "crown"])
def test_a_slope_that_is_flushed(method):
    """The logits are 0 and ``100 · 1e-39 · z + x − 0.45``, where ``z`` is ``−1e37 · x``."""
    image = keras.Input((1,))
    steep = layers.Dense(1, use_bias=False)
    z = layers.ReLU(negative_slope=1.0, max_value=0.0)(steep(image))
    sloped = layers.LeakyReLU(negative_slope=1e-39)(z)
    head = layers.Dense(2)
    model = keras.Model(image, head(layers.Concatenate()([sloped, image])))
    steep.set_weights([np.array([[-1e37]])])
    head.set_weights([np.array([[0.0, 100.0], [0.0, 1.0]]), np.array([0.0, -0.45])])
    assert_not_certified(model, [0.4], [0.5], method=method)


def test_entries_of_a_window_that_float32_cannot_tell_apart():
    model = keras.Sequential(
        [keras.Input((1, 2, 1)), layers.MaxPooling2D((1, 2)), layers.Flatten(), layers.Dense(2)]
    )
    (rule,) = (rule for rule in zoo.bounds.rules_of(model) if isinstance(rule, MaxPoolingRule))
    entries = np.array([1.0, 1.0 + 1e-12]).reshape(1, 1, 2, 1)
    with double_precision():
        ends = keras.ops.convert_to_tensor(entries, dtype="float64")
        chosen, alone, largest = map(keras.ops.convert_to_numpy, rule.relax([(ends, ends)]))
    line = (chosen.reshape(-1) * entries.reshape(-1)).sum()
    assert np.where(alone, line, largest).item() >= entries.max()


def test_means_of_a_whole_image_are_bounded_in_float64():
    """The row of CROWN at the pooling is −1e-50, which is 0 in float32."""
    parts = [layers.Rescaling(1e20), layers.GlobalAveragePooling2D(), layers.Dense(1)]
    model = keras.Sequential([keras.Input((4, 4, 2)), *parts, layers.Dense(2)])
    model.layers[2].set_weights([np.array([[1e-25], [0.0]]), np.zeros(1)])
    model.layers[3].set_weights([np.array([[0.0, 1e-25]]), np.array([0.0, -5e-31])])
    x, z = np.zeros((4, 4, 2)), np.full((4, 4, 2), 0.6)
    for method in ("interval", "crown"):
        assert_not_certified(model, x, z, method=method)


def test_kernels_that_are_flushed_before_a_large_factor():
    layer = zoo.layers.EqualizedDense(2, gain=1e29 * 2**0.5)
    model = sequential(2, layer)
    layer.set_weights([np.array([[1e-38, 0.0], [2e-38, 0.0]]), np.array([0.0, 1.5e-9])])
    assert_not_certified(model, [1.0, 1.0], [1.0, 0.7])


def test_kernels_that_overflow_before_a_dense_layer():
    """The logits at the image 0 are NaN, which counts as class 0."""
    model = zoo.models.LinfDistMLP((1, 1, 1), 2, width=1, depth=1, hidden_units=2, gain=1e9)
    model.hidden[0].kernel.assign([[0.0]])
    model.dense.kernel.assign([[5e29, 0.0]])
    model.head.kernel.assign(np.zeros((2, 2)))
    model.head.bias.assign([0.0, 1.0])
    certificate = model.certify(np.full((1, 1, 1, 1), 0.08, np.float32))
    assert (certificate.prediction[0], certificate.radius[0]) == (1, 0.0)


def test_results_that_overflow_between_two_affine_layers():
    """The logits are NaN at images above 0.34, though the layers together only multiply by 20."""
    parts = [layers.Rescaling(1e29), layers.Dense(1), layers.Dense(2, "tanh")]
    head = layers.Dense(2)
    network = keras.Sequential([keras.Input((1, 2, 1)), layers.Flatten(), *parts, head])
    parts[1].set_weights([np.array([[1e10], [0.0]]), np.zeros(1)])
    parts[2].set_weights([np.array([[2e-38, 0.0]]), np.zeros(2)])
    head.set_weights([np.zeros((2, 2)), np.array([0.0, 1e22])])
    model = zoo.models.CurvatureNet(network)
    assert model.certify(np.zeros((1, 1, 2, 1), np.float32), method="curvature").radius[0] < 0.34


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
