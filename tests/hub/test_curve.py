"""The stored certified-accuracy curves."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import zoo
from zoo.certificates import Certificate
from zoo.epsilon import Epsilon
from zoo.hub import catalog
from zoo.hub.curve import MOST_CLASSES, Curve, curve_of

MEASURED = ["0.1", "8/255", "0.3"]
STORED = [
    pytest.param(record, id=record.name)
    for record in zoo.list_models()
    if (catalog.WEIGHTS / record.name / "curve.json").is_file()
]


def certificate_of(radii, prediction, num_classes=3):
    radii = np.asarray(radii, np.float32)
    zeros = np.zeros(len(radii), np.float32)
    return Certificate(np.asarray(prediction), radii, zeros, "linf", "interval", num_classes)


@st.composite
def certificates(draw):
    n = draw(st.integers(1, 400))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    radii = random.choice([0.0, 1e-7, 0.1, float(np.float32(0.3)), 0.5, 1.0], n) * random.choice(
        [1.0, random.random()], n
    )
    labels = random.integers(0, 3, n)
    wrong = random.random(n) < 0.2
    return certificate_of(radii, np.where(wrong, (labels + 1) % 3, labels)), labels


@given(certificates(), st.floats(0, 1.2))
def test_it_is_never_above_what_was_measured_and_equals_it_where_it_was(found, eps):
    certificate, labels = found
    curve = Curve.of(certificate, labels, budgets=MEASURED, weights="w")
    assert curve.accuracy(eps) <= certificate.accuracy(labels, eps)
    for budget in [*MEASURED, *curve.budgets]:
        assert curve.accuracy(budget) == certificate.accuracy(labels, budget)
    exact = [Epsilon(budget).exact for budget in curve.budgets]
    assert exact == sorted(set(exact))
    assert curve.budgets[0] == "0"
    assert curve.certified == sorted(curve.certified, reverse=True)
    assert curve.accuracy(2.0) == 0.0
    assert Curve.from_dict(json.loads(json.dumps(curve.to_dict()))) == curve


@pytest.mark.integration
def test_it_is_close_to_what_was_measured():
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 5000)
    certificate = certificate_of(random.gamma(4, 0.05, 5000), labels)
    curve = Curve.of(certificate, labels, budgets=MEASURED, weights="w")
    assert len(curve.budgets) < 300
    for eps in np.linspace(0, 1, 500):
        assert certificate.accuracy(labels, eps) - curve.accuracy(eps) <= 1 / 200


def test_the_classes_are_counted_at_a_budget_that_tells_them_apart():
    labels = np.array([0, 0, 0, 1, 1, 1])
    certificate = certificate_of([0.2, 0.2, 0.2, 0.05, 0.4, 0.2], [0, 0, 1, 1, 1, 2])
    curve = Curve.of(certificate, labels, budgets=["0.3", "0.1", "0.01"], weights="w")
    assert curve.clean == 4
    counts = curve.by_class
    # At 0.3, less than half of the 4 correct images are certified.
    assert (counts.eps, counts.n) == ("0.1", [3, 3, 0])
    assert (counts.clean, counts.certified) == ([2, 2, 0], [2, 1, 0])
    hopeless = Curve.of(certificate, labels, budgets=["0.9", "0.8"], weights="w")
    assert hopeless.by_class.eps == "0.8"


def test_many_classes_are_not_counted():
    labels = np.array([0, 1])
    certificate = certificate_of([0.2, 0.2], labels, MOST_CLASSES + 1)
    assert Curve.of(certificate, labels, budgets=["0.1"], weights="w").by_class is None


@pytest.mark.parametrize("record", STORED)
def test_a_shipped_curve_agrees_with_its_record(record):
    curve = record.curve
    assert curve is not None, "it is that of other weights; `python -m training NAME --certify`"
    metrics = record.metrics
    first = metrics.certified[0]
    assert (curve.norm, curve.method, curve.n) == (record.norm, first.method, metrics.n)
    assert curve.clean / curve.n == metrics.clean
    for result in metrics.certified:
        if result.method == curve.method:
            assert curve.accuracy(result.eps) == result.accuracy
    if curve.by_class is not None:
        counts = curve.by_class
        assert sum(counts.n) == curve.n
        assert sum(counts.clean) == curve.clean
        assert sum(counts.certified) / curve.n == curve.accuracy(counts.eps)
    assert (catalog.WEIGHTS / record.name / "curve.json").stat().st_size < 10_000


def test_most_checkpoints_have_a_curve():
    assert len(STORED) > len(zoo.list_models()) / 2


def test_there_is_no_curve_of_other_weights_or_without_a_file(tmp_path):
    record = zoo.info("linf-dist-digits")
    assert curve_of(record, tmp_path) is None
    dataclasses.replace(record.curve, weights="0" * 64).save(tmp_path / "curve.json")
    assert curve_of(record, tmp_path) is None
    record.curve.save(tmp_path / "curve.json")
    assert curve_of(record, tmp_path) == record.curve


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"by_class": null, "colour": 1}'])
def test_a_file_that_is_no_curve_is_named(tmp_path, text):
    (tmp_path / "curve.json").write_text(text)
    with pytest.raises(ValueError, match=r"curve\.json is no certified-accuracy curve"):
        curve_of(zoo.info("linf-dist-digits"), tmp_path)
