"""Checkpoints of every kind certify and compile with the lowest declared versions too."""

import numpy as np
import pytest

import zoo
from tests.models.test_soundness import kind
from zoo.hub import catalog, golden

SMALLEST = {
    kind(record): record
    for record in sorted(catalog.list_models(available=True), key=lambda r: -r.parameters)
}
RECORDS = [pytest.param(record, id=record.name) for record in SMALLEST.values()]


@pytest.mark.lowest
@pytest.mark.parametrize("record", RECORDS)
def test_it_certifies_what_an_attack_does_not_break(record):
    model = zoo.load(record.name)
    x = golden.images(model.image_shape)
    certificate = model.certify(x)
    np.testing.assert_array_equal(certificate.prediction, np.argmax(record.golden, axis=1))
    assert np.isfinite(certificate.radius).all()
    # Of an ordinary network for comparison, nothing may be certified.
    assert certificate.radius.max() > 0 or not any(r.accuracy for r in record.metrics.certified)
    attacked = certificate.radius.argmax()
    if eps := float(certificate.radius[attacked]):
        label = certificate.prediction[[attacked]]
        found = model.attack(x[[attacked]], label, "pgd", eps=eps, norm=certificate.norm, steps=5)
        np.testing.assert_array_equal(model.predict(found, verbose=0).argmax(axis=1), label)
    model.compile()
