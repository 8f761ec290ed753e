"""The calibrated loss against its definition."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logit

from tests.losses.test_worst_case import EPSILONS, LABELS, LOGITS, cross_entropy, per_image
from zoo.losses import CalibratedMargin
from zoo.ops import NormEstimate

PROBABILITIES = st.floats(0.05, 0.95)


def loss_of(value, features=1.0, epsilon=0.5, **options):
    estimate = NormEstimate(np.asarray(value, "float32"), np.float32(features))
    return CalibratedMargin(lambda: estimate, epsilon, **options)


def defined(logits, labels, pairs, epsilon, probability):
    """The scores, image by image and class by class."""
    sigma = 2 * epsilon / (logit(1 - probability / 2) - logit(probability / 2))
    scores = np.zeros(logits.shape)
    for row, (f, y) in enumerate(zip(logits.astype("float64"), labels, strict=True)):
        for j in range(len(f)):
            scores[row, j] = (f[j] - f[y]) / (pairs[j, y] * sigma) + epsilon / sigma
        scores[row, y] = -epsilon / sigma
    return scores


@given(LOGITS, LABELS, st.floats(0.1, 2), PROBABILITIES, st.integers(0, 100))
def test_scores_are_distances_in_units_of_sigma(logits, labels, epsilon, probability, seed):
    pairs = np.random.default_rng(seed).uniform(0.5, 2, size=(4, 4))
    pairs = pairs + pairs.T
    options = {"probability": probability, "penalty": 0.5, "reduction": None}
    found = per_image(loss_of(pairs, 3.0, epsilon, **options), labels, logits)
    expected = cross_entropy(defined(logits, labels, pairs, epsilon, probability), labels)
    np.testing.assert_allclose(found, expected + 0.5 * 9, rtol=1e-3, atol=1e-3)


@given(LOGITS, LABELS, EPSILONS, st.floats(0.1, 10))
def test_the_scale_of_the_logits_does_not_matter(logits, labels, epsilon, scale):
    once, scaled = (
        per_image(loss_of(k, epsilon=epsilon, penalty=0.0, reduction=None), labels, logits * k)
        for k in (np.float32(1.0), np.float32(scale))
    )
    np.testing.assert_allclose(scaled, once, rtol=1e-3, atol=1e-3)


def gradient_of_constants(penalty):
    """Changes of the two parts of a constant ``features · rest`` in one step of descent."""
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Identity()(inputs))
    features, rest = (
        model.add_weight(name=name, shape=(), initializer="ones") for name in ("features", "rest")
    )
    loss = CalibratedMargin(
        lambda: NormEstimate(features.value * rest.value, features.value * 1.0),
        epsilon=1.0,
        penalty=penalty,
    )
    model.compile(keras.optimizers.SGD(0.1), loss)
    model.fit(np.array([[1.0, 0.0]] * 4, "float32"), np.zeros(4, int), verbose=0)
    return float(features) - 1.0, float(rest) - 1.0


def test_only_the_penalty_trains_the_constant_of_the_features():
    features, rest = gradient_of_constants(penalty=0.0)
    assert features == pytest.approx(0.0, abs=1e-6)
    assert rest < -1e-3  # a smaller constant enlarges the radius
    features, _ = gradient_of_constants(penalty=0.25)
    assert features == pytest.approx(-0.1 * 0.5, rel=1e-4)


def test_bad_arguments_are_named():
    for change in ({"probability": 0.0}, {"probability": 1.0}, {"penalty": -1.0}):
        with pytest.raises(ValueError, match=next(iter(change))):
            loss_of(1.0, **change)
    bare = CalibratedMargin(lambda: NormEstimate(np.float32(1.0)), 0.5)
    with pytest.raises(ValueError, match="features"):
        bare(np.array([0]), np.zeros((1, 2), "float32"))
    with pytest.raises(ValueError, match="no estimate"):
        CalibratedMargin(None, 0.5)(np.array([0]), np.zeros((1, 2), "float32"))
    again = CalibratedMargin.from_config(loss_of(1.0, penalty=0.5).get_config())
    assert (again.probability, again.penalty, again.lipschitz) == (0.3, 0.5, None)
