"""The losses on the worst case within a budget."""

from fractions import Fraction

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from zoo.epsilon import Epsilon
from zoo.losses import (
    ClippedHinge,
    ClippedHingeMixture,
    LipschitzMargin,
    WorstCaseCrossEntropy,
    WorstCaseHinge,
)
from zoo.losses.worst_case import largest_gap
from zoo.ops import NormEstimate, input_gradient

LOGITS = arrays("float32", (6, 4), elements=st.floats(-5, 5, width=32))
LABELS = arrays("int64", 6, elements=st.integers(0, 3))
EPSILONS = st.floats(0.01, 2)


def per_image(loss, labels, logits):
    return keras.ops.convert_to_numpy(loss(labels, logits))


def cross_entropy(logits, labels):
    """In float64, from the definition."""
    logits = logits.astype("float64")
    total = np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1)) + logits.max(1)
    return total - logits[np.arange(len(logits)), labels]


@given(LOGITS, LABELS, EPSILONS)
def test_hinge_is_the_worst_class(logits, labels, epsilon):
    expected = [
        max(0, *(f[j] - f[y] + 2 * epsilon for j in range(4) if j != y))
        for f, y in zip(logits.astype("float64"), labels, strict=True)
    ]
    found = per_image(WorstCaseHinge(epsilon, reduction=None), labels, logits)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "loss",
    [
        WorstCaseHinge(0.1, reduction=None),
        LipschitzMargin(lambda: NormEstimate(1.0), 0.1, reduction=None),
    ],
    ids=lambda loss: loss.name,
)
def test_labels_outside_of_the_classes_give_nan_and_one_hot_rows_are_refused(loss):
    found = per_image(loss, np.array([-1, 3, 0, 2]), np.zeros((4, 3), "float32"))
    np.testing.assert_array_equal(np.isnan(found), [True, True, False, False])
    with pytest.raises(ValueError, match=r"labels must be integers of shape \(batch,\)"):
        loss(np.eye(3, dtype="float32"), np.zeros((3, 3), "float32"))


@given(LOGITS, LABELS, EPSILONS, st.integers(0, 1000))
def test_no_attack_within_the_budget_exceeds_the_worst_case(logits, labels, epsilon, seed):
    """Any logits that a 1-Lipschitz network could move to have a smaller cross-entropy."""
    moved = logits + np.random.default_rng(seed).uniform(-epsilon, epsilon, logits.shape)
    worst = per_image(WorstCaseCrossEntropy(epsilon, reduction=None), labels, logits)
    assert (cross_entropy(moved, labels) <= worst + 1e-4).all()
    own = np.eye(4)[labels]
    attained = cross_entropy(logits + epsilon * (1 - 2 * own), labels)
    np.testing.assert_allclose(worst, attained, rtol=1e-4, atol=1e-4)


@given(LOGITS, LABELS, EPSILONS, st.floats(0, 1), st.floats(0.1, 5))
def test_mixture_is_the_sum_of_its_parts(logits, labels, epsilon, weight, scale):
    found = per_image(ClippedHingeMixture(epsilon, weight, scale, reduction=None), labels, logits)
    hinge = per_image(ClippedHinge(epsilon, reduction=None), labels, logits)
    expected = hinge + weight * cross_entropy(scale * logits, labels)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "loss",
    [
        WorstCaseHinge(0.25),
        WorstCaseCrossEntropy(0.25, scale=3.0),
        ClippedHingeMixture(0.25, weight=0.5, scale=2.0),
    ],
)
def test_config_round_trip(loss):
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(again) is type(loss)
    assert again.get_config() == loss.get_config()
    labels, logits = np.array([1, 0]), np.array([[0.1, 0.3], [0.5, -1.0]], "float32")
    assert float(again(labels, logits)) == float(loss(labels, logits)) > 0


@pytest.mark.parametrize(
    ("epsilon", "number"),
    [
        ("8/255", 8 / 255),
        (Fraction(1, 4), 0.25),
        (Epsilon("1/4"), 0.25),
        (np.float32(0.1), 0.1),
        (0.1, 0.1),
        (1, 1.0),
    ],
)
def test_the_config_has_every_digit_of_a_budget(epsilon, number):
    config = WorstCaseHinge(epsilon).get_config()
    assert config["epsilon"] == number
    assert isinstance(config["epsilon"], float)


@pytest.mark.parametrize("epsilon", ["0", np.float32(-1), float("nan")])
def test_a_budget_that_is_not_positive_is_refused(epsilon):
    with pytest.raises(ValueError, match="epsilon must be (positive|a finite number).*, got"):
        WorstCaseHinge(epsilon)


@pytest.mark.parametrize("kind", [WorstCaseHinge, WorstCaseCrossEntropy, ClippedHingeMixture])
def test_bad_epsilon_is_named(kind):
    with pytest.raises(ValueError, match="epsilon must be positive, got -1"):
        kind(-1)


def test_the_gap_has_a_gradient_however_far_the_label_leads():
    logits = np.array([[1e12, 0.0, 1.0]], "float32")
    labels = np.array([0])
    gradient = input_gradient(lambda x: largest_gap(labels, x), logits)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(gradient), [[-1, 0, 1]])
