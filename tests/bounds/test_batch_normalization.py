"""Batch normalisation at the ends of float32's range: what is lost there counts."""

import functools

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers

import zoo
from tests.backend import BACKEND
from zoo.bounds.lipschitz import LipschitzNetwork
from zoo.bounds.network_rules import rules_of

# Exponents of two, from numbers that float32 flushes to zero up to its largest.
exponents = st.integers(-149, 126)
signs = st.sampled_from([-1.0, 1.0])


@functools.cache
def compiled(epsilon):
    """A model and ways to execute it, eager and compiled once, whatever its weights become."""
    model = keras.Sequential(
        [keras.Input((2,)), layers.BatchNormalization(epsilon=epsilon), layers.Dense(2)]
    )
    if BACKEND == "jax":
        import jax

        # A function that is compiled holds the weights as constants: one for every call.
        return model, [lambda x: model(x), lambda x: jax.jit(lambda x: model(x))(x)]
    import tensorflow as tf

    return model, [
        lambda x: model(x),
        tf.function(lambda x: model(x), autograph=False, jit_compile=True),
    ]


def network(gamma, beta, mean, variance, epsilon):
    model, _ = compiled(epsilon)
    normalization, head = model.layers
    values = [[gamma, 1], [beta, 0], [mean, 0], [variance, 1]]
    normalization.set_weights([np.array(value, "float32") for value in values])
    head.set_weights([np.array([[0, 1], [0, 0.5]], "float32"), np.array([0.2, 0], "float32")])
    return model


@pytest.mark.integration
@given(
    *[st.builds(lambda s, e: s * 2.0**e, signs, exponents) for _ in range(3)],
    st.builds(lambda e: 2.0**e, exponents),
    st.sampled_from([1e-3, 1e-39, 0.0, 1e-12]),
)
def test_no_point_within_the_radius_is_flipped(gamma, beta, mean, variance, epsilon):
    model = network(gamma, beta, mean, variance, epsilon)
    x = np.array([[0.5, 0.5]], "float32")
    points = np.stack([np.full(51, 0.5), np.linspace(0, 1, 51)], axis=1).astype("float32")
    points = np.concatenate([points, points[:, ::-1]])
    away = np.abs(points.astype("float64") - 0.5).max(axis=1)
    certificates = [zoo.certify(model, x, norm="linf", method=m) for m in ("crown", "interval")]
    for function in compiled(epsilon)[1]:
        logits = keras.ops.convert_to_numpy(function(keras.ops.convert_to_tensor(points)))
        for certificate in certificates:
            inside = away < certificate.radius[0]
            assert np.isfinite(logits[inside]).all()
            assert (logits[inside].argmax(axis=1) == certificate.prediction[0]).all()


@pytest.mark.parametrize(
    ("gamma", "mean", "variance", "epsilon"),
    [
        (1.0, 0.0, 0.0, 1e-39),  # float32 flushes the epsilon: it divides by zero
        (1.0, 0.0, -1.0, 1.0001),  # rounding the epsilon to float32 changes their sum by a part
        (1e30, 0.0, 1e-20, 1e-30),  # the factor overflows
        (1e-20, 1e38, 1e38, 1e-3),  # the factor is flushed to zero, the mean is large
    ],
)
def test_what_float32_cannot_hold_has_radius_zero(gamma, mean, variance, epsilon):
    x = np.full((1, 2), 0.5, "float32")
    model = network(gamma, 0.0, mean, variance, epsilon)
    assert zoo.certify(model, x, norm="l2").radius[0] == 0


@pytest.mark.parametrize("after_a_kernel", [False, True])
def test_the_lipschitz_bounds_know_it_too(after_a_kernel):
    normalization = layers.BatchNormalization(epsilon=1e-39)
    before = [layers.Dense(4)] if after_a_kernel else []
    network = keras.Sequential(
        [keras.Input((2, 2, 1)), layers.Flatten(), *before, normalization, layers.ReLU(),
         layers.Dense(3)]
    )  # fmt: skip
    model = zoo.models.LipschitzMarginNet(network)
    x = np.full((2, 2, 2, 1), 0.5, "float32")
    assert (model.certify(x).radius > 0).all()
    normalization.moving_variance.assign(np.zeros(4))
    assert (model.certify(x).radius == 0).all()
    assert model.network_lipschitz() == np.inf
    logits = np.array([[3.0, 2.0, 1.0]], "float32")
    assert model.logit_certificate().radius(logits)[0] == 0


def test_a_flushed_factor_counts_in_the_lipschitz_bounds():
    normalization = layers.BatchNormalization(center=False)
    network = keras.Sequential(
        [keras.Input((1, 2, 1)), layers.Flatten(), normalization, layers.Dense(2)]
    )
    model = zoo.models.LipschitzMarginNet(network)
    normalization.set_weights(
        [np.array(w, "float32") for w in ([1e-20, 1], [-1e38, 0], [1e38, 1 - 1e-3])]
    )
    network.layers[-1].set_weights(
        [np.array([[0, 1], [0, 0.5]], "float32"), np.array([0.2, 0], "float32")]
    )
    x = np.full((1, 1, 2, 1), 0.5, "float32")
    points = np.full((201, 1, 2, 1), 0.5, "float32")
    points[:, 0, 1, 0] = np.linspace(0, 1, 201)
    certificate = model.certify(x)
    inside = np.abs(points - x)[:, 0, 1, 0] < certificate.radius[0]
    assert (model.logits(points[inside]).argmax(axis=1) == certificate.prediction[0]).all()


def test_settings_that_float32_cannot_hold_are_refused():
    for settings in ({"scale": 1e39}, {"scale": 1.0, "offset": -1e39}):
        network = keras.Sequential(
            [keras.Input((2, 2, 1)), layers.Rescaling(**settings), layers.Flatten(),
             layers.Dense(3)]
        )  # fmt: skip
        with pytest.raises(zoo.UnsupportedLayerError, match="rescaling.*float32 cannot hold"):
            zoo.certify(network, np.zeros((1, 2, 2, 1)), norm="linf")
        with pytest.raises(zoo.UnsupportedLayerError, match="rescaling.*float32 cannot hold"):
            zoo.models.LipschitzMarginNet(network)


@pytest.mark.parametrize("after_a_kernel", [False, True])
def test_the_lipschitz_bounds_count_the_roundings_of_merged_sums(after_a_kernel):
    """A graph optimizer adds the products and the shifts of many such layers in another order."""

    def errors(count):
        image = keras.Input((4,))
        keras.utils.set_random_seed(0)
        branches = []
        for _ in range(count):
            hidden = layers.Dense(4, use_bias=False)(image) if after_a_kernel else image
            mean = keras.initializers.Constant(10.0)
            branches.append(layers.BatchNormalization(moving_mean_initializer=mean)(hidden))
        outputs = layers.Dense(3)(layers.Add()(branches))
        network = LipschitzNetwork(rules_of(keras.Model(image, outputs), "lipschitz"))
        return network.bounds()[0]  # of the first branch

    few, many = errors(2), errors(60)
    # Each branch may be rounded as often as there are products and shifts.
    assert many.offset > 4 * few.offset
    assert many.per_size > 4 * few.per_size
