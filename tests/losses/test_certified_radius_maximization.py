"""The loss that enlarges small radii, against its definition and against the certificate."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.losses.test_worst_case import LABELS, LOGITS, cross_entropy, per_image
from zoo.certificates import steepness_radius
from zoo.losses import CertifiedRadiusMaximization
from zoo.ops import NormEstimate


def loss_of(value, epsilon=2.0, **options):
    estimate = NormEstimate(np.asarray(value, "float32"))
    return CertifiedRadiusMaximization(lambda: estimate, epsilon, **options)


@given(LOGITS, LABELS, st.floats(0.1, 3), st.floats(1, 8), st.integers(0, 100))
def test_radii_below_the_budget_are_enlarged(logits, labels, epsilon, sharpness, seed):
    pairs = np.random.default_rng(seed).uniform(0.5, 2, size=(4, 4))
    pairs = pairs + pairs.T
    options = {"weight": 7.0, "sharpness": sharpness, "scale": 3.0, "reduction": None}
    found = per_image(loss_of(pairs, epsilon, **options), labels, logits)
    expected = cross_entropy(3.0 * logits, labels)
    unsure = np.zeros(len(labels), bool)
    for row, (f, y) in enumerate(zip(logits.astype("float64"), labels, strict=True)):
        radii = np.array([(f[y] - f[j]) / pairs[y, j] for j in range(4) if j != y])
        unsure[row] = abs(radii.min() - epsilon) < 1e-5
        if radii.min() < epsilon:
            expected[row] += 7.0 / sharpness * np.log(np.exp(-sharpness * radii).sum())
    np.testing.assert_allclose(found[~unsure], expected[~unsure], rtol=1e-3, atol=1e-3)


@given(LOGITS, st.integers(0, 100))
def test_a_sharp_term_is_the_certified_radius(logits, seed):
    pairs = np.random.default_rng(seed).uniform(0.5, 2, size=(4, 4))
    pairs = pairs + pairs.T
    labels = logits.argmax(axis=1)
    loss = loss_of(pairs, 100.0, weight=1.0, sharpness=500.0, reduction=None)
    term = per_image(loss, labels, logits) - cross_entropy(logits, labels)
    np.testing.assert_allclose(-term, steepness_radius(logits, pairs), atol=1e-2)


def test_bad_arguments_are_named():
    for change in (
        {"weight": -1.0},
        {"sharpness": 0.0},
        {"sharpness": float("inf")},
        {"scale": 0.0},
    ):
        with pytest.raises(ValueError, match=next(iter(change))):
            loss_of(1.0, **change)
    again = CertifiedRadiusMaximization.from_config(loss_of(1.0, weight=3.0).get_config())
    assert (again.weight, again.sharpness, again.lipschitz) == (3.0, 5.0, None)
