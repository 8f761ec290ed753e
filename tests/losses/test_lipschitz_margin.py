"""The losses of Lipschitz-margin training against their definitions."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.losses.test_worst_case import EPSILONS, LABELS, LOGITS, cross_entropy, per_image
from zoo.losses import LipschitzMargin
from zoo.ops import NormEstimate

CONSTANTS = st.floats(0.1, 3)


def margin_loss(value, epsilon, variant, **options):
    value = np.asarray(value, "float32")
    return LipschitzMargin(lambda: NormEstimate(value), epsilon, variant, **options)


@given(LOGITS, LABELS, EPSILONS, CONSTANTS)
def test_lmt_raises_every_other_logit(logits, labels, epsilon, constant):
    raised = logits + epsilon * constant * (1 - np.eye(4)[labels])
    found = per_image(margin_loss(constant, epsilon, "lmt", reduction=None), labels, logits)
    np.testing.assert_allclose(found, cross_entropy(raised, labels), rtol=1e-4, atol=1e-4)


@given(LOGITS, LABELS, EPSILONS, CONSTANTS)
def test_lc_lmt_raises_only_the_strongest(logits, labels, epsilon, constant):
    raised = logits.astype("float64").copy()
    for row, label in enumerate(labels):
        others = np.where(np.arange(4) == label, -np.inf, logits[row])
        raised[row, np.argmax(others)] += epsilon * constant
    found = per_image(margin_loss(constant, epsilon, "lc-lmt", reduction=None), labels, logits)
    np.testing.assert_allclose(found, cross_entropy(raised, labels), rtol=1e-4, atol=1e-4)


@given(LOGITS, LABELS, EPSILONS, st.integers(0, 100))
def test_pairs_of_classes_have_their_own_margin(logits, labels, epsilon, seed):
    pairs = np.random.default_rng(seed).uniform(0.5, 2, size=(4, 4))
    raised = logits + epsilon * pairs[labels] * (1 - np.eye(4)[labels])
    found = per_image(margin_loss(pairs, epsilon, "lmt", reduction=None), labels, logits)
    np.testing.assert_allclose(found, cross_entropy(raised, labels), rtol=1e-4, atol=1e-4)


@given(LOGITS, LABELS, EPSILONS, st.integers(0, 100))
def test_lc_lmt_of_pairs_raises_the_class_that_is_then_strongest(logits, labels, epsilon, seed):
    pairs = np.random.default_rng(seed).uniform(0.5, 2, size=(4, 4)).astype("float32")
    rows = np.arange(len(labels))
    others = logits + np.float32(epsilon) * pairs[labels]
    others[rows, labels] = -np.inf
    rival, raised = others.argmax(axis=1), logits.astype("float64").copy()
    raised[rows, rival] = others[rows, rival]
    first, second = -np.sort(-others, axis=1)[:, :2].T
    clear = first - second > 1e-4  # rounding may decide between two classes that are closer
    found = per_image(margin_loss(pairs, epsilon, "lc-lmt", reduction=None), labels, logits)
    expected = cross_entropy(raised, labels)
    np.testing.assert_allclose(found[clear], expected[clear], rtol=1e-4, atol=1e-4)


def test_gradients_flow_through_the_constant():
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Identity()(inputs))
    constant = model.add_weight(name="constant", shape=(), initializer="ones")
    loss = LipschitzMargin(lambda: NormEstimate(constant.value * 1.0), epsilon=1.0)
    model.compile(keras.optimizers.SGD(0.1), loss)
    model.fit(np.zeros((4, 2)), np.zeros(4, int), verbose=0)
    # A logit of e against one of 1: the softmax is what the constant's gradient is.
    expected = 1 - 0.1 * np.e / (1 + np.e)
    np.testing.assert_allclose(float(constant), expected, rtol=1e-5)


def test_bad_arguments_are_named():
    estimate = NormEstimate(1.0)
    with pytest.raises(TypeError, match="lipschitz"):
        LipschitzMargin(estimate, 0.5)
    with pytest.raises(ValueError, match="variant"):
        LipschitzMargin(lambda: estimate, 0.5, "lcmt")
    with pytest.raises(ValueError, match="epsilon"):
        LipschitzMargin(lambda: estimate, 0.0)
    with pytest.raises(TypeError, match="NormEstimate"):
        LipschitzMargin(lambda: 1.0, 0.5)(np.array([0]), np.zeros((1, 2), "float32"))
