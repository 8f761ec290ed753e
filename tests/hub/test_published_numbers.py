"""The numbers in the manifest are what the shipped weights give."""

import dataclasses

import numpy as np
import pytest

import zoo
from tests import datasets
from zoo.hub import catalog, download, golden
from zoo.hub.card import card

RECORDS = [pytest.param(record, id=record.name) for record in catalog.list_models()]
WITH_DATA = [
    pytest.param(r, id=r.name, marks=[] if r.dataset == "digits" else pytest.mark.slow)
    for r in catalog.list_models()
]
# .05 points of accuracy: another machine may round a borderline image to the other side.
TOLERANCE = 0.0005


@pytest.mark.integration
@pytest.mark.parametrize("record", RECORDS)
def test_what_needs_no_data(record):
    """Files, golden logits, parameters and card; and certified ≤ attacked ≤ clean."""
    folder = catalog.WEIGHTS / record.name
    for file in record.files:
        download.check_file(folder / file.path, file.size, file.sha256)
    model = zoo.load(record.name)
    assert golden.difference(model, record.golden) <= golden.TOLERANCE
    assert record.parameters == sum(int(np.prod(w.shape)) for w in model.trainable_weights)
    assert record.architecture == model.architecture
    assert (folder / "README.md").read_text(encoding="utf-8") == card(record)
    metrics = record.metrics
    attacked = {}
    for entry in metrics.attacked:
        place = entry.norm, entry.eps
        attacked[place] = min(attacked.get(place, 1.0), entry.accuracy)
    assert attacked
    if all(entry.n == metrics.n for entry in metrics.attacked):  # else they are of other images
        assert max(attacked.values()) <= metrics.clean
        for entry in metrics.certified:
            assert entry.accuracy <= attacked[entry.norm, entry.eps]


@pytest.mark.parametrize("name", ["gtsrb", "pneumonia-mnist", "cifar100"])
def test_a_card_names_the_source_and_the_licence_of_the_images(name):
    record = catalog.info("linf-dist-digits")
    dataset = zoo.data.DATASETS[name]
    text = card(dataclasses.replace(record, dataset=name))
    for part in (dataset.source, dataset.license, dataset.citation):
        assert part in text
        assert part not in card(record)


@pytest.mark.integration
@pytest.mark.parametrize("record", WITH_DATA)
def test_clean_and_certified(record):
    test = datasets.load(record.dataset).take(record.metrics.n)
    model = zoo.load(record.name)
    assert len(test) == record.metrics.n
    for method in {entry.method for entry in record.metrics.certified}:
        certificate = model.certify(test.images, method=method)
        clean = np.mean(certificate.prediction == test.labels)
        assert clean == pytest.approx(record.metrics.clean, abs=TOLERANCE)
        for entry in record.metrics.certified:
            if entry.method == method:
                measured = certificate.accuracy(test.labels, entry.eps)
                assert measured == pytest.approx(entry.accuracy, abs=TOLERANCE)


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (32, 32, 3)])
def test_the_two_golden_images_differ_throughout(shape):
    first, second = golden.images(shape).astype("float64").reshape(2, -1)
    assert 0 <= min(first.min(), second.min()) <= max(first.max(), second.max()) < 1
    assert (first != second).all()
    assert len(np.unique(first)) == len(first)


def test_other_weights_have_other_golden_logits(small_model):
    expected = golden.logits(small_model)
    assert golden.difference(small_model, expected) <= 1e-6
    # Exponents and scales are scalars, and an exponent may be too large to grow.
    weights = small_model.get_weights()
    small_model.set_weights([w * 1.01 if w.ndim else w for w in weights])
    assert golden.difference(small_model, expected) > golden.TOLERANCE
    assert golden.difference(small_model, [row[:-1] for row in expected]) == float("inf")
