"""The certificate object."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from zoo.certificates import Certificate


def make(prediction, radius):
    radius = np.asarray(radius, "float32")
    return Certificate(np.asarray(prediction), radius, 2 * radius, "linf", "lipschitz", 10)


def test_polarity():
    """True means certified, and a larger radius certifies more."""
    certificate = make([0, 0, 0], [0.0, 0.1, 0.2])
    assert certificate.certified(0.15).tolist() == [False, False, True]
    assert certificate.certified(0).tolist() == [False, True, True]


def test_a_budget_equal_to_the_radius_is_not_certified():
    assert not make([0], [0.25]).certified(0.25)[0]
    assert make([0], [np.nextafter(np.float32(0.25), np.float32(1))]).certified(0.25)[0]


def test_fractions_are_rounded_up():
    below = np.float32(8 / 255)
    if float(below) > 8 / 255:
        below = np.nextafter(below, np.float32(0))
    assert not make([0], [below]).certified("8/255")[0]
    # The float .03137 is smaller than 8/255: a radius between them certifies only the float.
    assert make([0], [0.031371]).certified(0.03137)[0]
    assert not make([0], [0.031371]).certified("8/255")[0]


def test_accuracy_counts_right_and_certified():
    certificate = make([1, 1, 2, 2], [0.3, 0.1, 0.3, 0.1])
    assert certificate.accuracy([1, 1, 2, 3], 0.2) == 0.5
    assert certificate.accuracy([0, 1, 2, 2], 0.05) == 0.75


@given(
    radius=arrays("float32", 12, elements=st.floats(0, 1, width=32)),
    labels=arrays("int64", 12, elements=st.integers(0, 2)),
)
def test_the_curve_is_the_accuracy(radius, labels):
    certificate = make(np.zeros(12, int), radius)
    eps, accuracy = certificate.curve(labels)
    assert eps[0] == 0
    assert (np.diff(eps) > 0).all()
    assert (np.diff(accuracy) <= 0).all()
    for e, a in zip(eps, accuracy, strict=True):
        assert a == certificate.accuracy(labels, float(e))


def test_to_dict_is_json():
    certificate = make([3], [0.5])
    again = json.loads(json.dumps(certificate.to_dict()))
    assert again["radius"] == [0.5]
    assert again["prediction"] == [3]
    assert again["norm"] == "linf"


def test_bad_eps_is_named():
    with pytest.raises(ValueError, match="eps must not be negative"):
        make([0], [1]).certified(-1)
