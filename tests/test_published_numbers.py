"""The numbers in the manifest are what the shipped weights give."""

import numpy as np
import pytest

import zoo
from tests import datasets
from zoo import catalog
from zoo.report.card import card

RECORDS = [
    pytest.param(r, id=r.name, marks=[] if r.dataset == "digits" else pytest.mark.slow)
    for r in catalog.list_models()
]
# In points of accuracy: another machine may round a borderline image to the other side.
TOLERANCE = 0.0005


@pytest.mark.parametrize("record", RECORDS)
def test_clean_and_certified(record):
    test = datasets.load(record.dataset).take(record.metrics["n"])
    model = zoo.load(record.name)
    assert len(test) == record.metrics["n"]
    for method in {entry["method"] for entry in record.metrics["certified"]}:
        certificate = model.certify(test.images, method=method)
        clean = np.mean(certificate.prediction == test.labels)
        assert clean == pytest.approx(record.metrics["clean"], abs=TOLERANCE)
        for entry in record.metrics["certified"]:
            if entry["method"] == method:
                measured = certificate.accuracy(test.labels, entry["eps"])
                assert measured == pytest.approx(entry["accuracy"], abs=TOLERANCE)


@pytest.mark.parametrize("record", catalog.list_models(), ids=lambda record: record.name)
def test_parameters_and_card(record):
    model = zoo.load(record.name)
    assert record.parameters == sum(int(np.prod(w.shape)) for w in model.trainable_weights)
    assert record.architecture == model.architecture
    written = (catalog.WEIGHTS / record.name / "README.md").read_text(encoding="utf-8")
    assert written == card(record.to_dict())
