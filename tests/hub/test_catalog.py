"""The manifest and its records."""

import dataclasses
import json

import jsonschema
import pytest

import zoo
from zoo.hub import catalog


def test_the_manifest_fits_its_schema():
    manifest = json.loads(catalog.MANIFEST.read_text())
    jsonschema.validate(manifest, json.loads(catalog.SCHEMA.read_text()))
    names = [model["name"] for model in manifest["models"]]
    assert names == sorted(set(names))
    assert "linf-dist-digits" in names


@pytest.mark.parametrize("record", catalog.list_models(), ids=lambda record: record.name)
def test_entries_are_consistent(record):
    clean = record.metrics.clean
    attacked = {e.eps: e.accuracy for e in record.metrics.attacked}
    for entry in record.metrics.certified:
        assert entry.accuracy <= attacked.get(entry.eps, clean) <= clean
    assert record.size <= 20 * 2**20
    assert record.training.recipe == record.name


def test_filters():
    everything = {record.name for record in zoo.list_models()}
    assert {record.name for record in zoo.list_models("linf-dist-*")} <= everything
    assert [
        r.name for r in zoo.list_models(dataset="digits", norm="linf", approach="linf-dist")
    ] == ["linf-dist-digits"]
    assert zoo.list_models("nothing-*") == []


def test_listing_shows_accuracies():
    text = str(zoo.list_models("linf-dist-digits"))
    record = zoo.info("linf-dist-digits")
    assert "linf-dist-digits" in text
    assert f"{100 * record.metrics.clean:.2f}%" in text
    assert str(record).startswith("linf-dist-digits\n")


def test_unknown_name():
    with pytest.raises(zoo.UnknownModelError, match="did you mean linf-dist-digits"):
        zoo.info("linf-dist-digts")
    with pytest.raises(zoo.UnknownModelError, match="there are: "):
        zoo.info("x")


def test_write_replaces_one_entry_or_nothing(tmp_path, monkeypatch):
    manifest = tmp_path / "manifest.json"
    manifest.write_text(catalog.MANIFEST.read_text())
    monkeypatch.setattr(catalog, "MANIFEST", manifest)
    before = len(zoo.list_models())
    record = zoo.info("linf-dist-digits")
    catalog.write(dataclasses.replace(record, notes="again"))
    assert len(zoo.list_models()) == before
    assert zoo.info("linf-dist-digits").notes == "again"
    untouched = manifest.read_text()
    with pytest.raises(jsonschema.ValidationError):
        catalog.write(dataclasses.replace(record, norm="l7"))
    assert manifest.read_text() == untouched


def test_a_number_that_json_lacks_is_not_written(tmp_path, monkeypatch):
    manifest = tmp_path / "manifest.json"
    manifest.write_bytes(catalog.MANIFEST.read_bytes())
    monkeypatch.setattr(catalog, "MANIFEST", manifest)
    record = zoo.info("linf-dist-digits")
    metrics = dataclasses.replace(record.metrics, clean=float("nan"))
    with pytest.raises(ValueError, match="JSON"):
        catalog.write(dataclasses.replace(record, metrics=metrics))
    assert zoo.info("linf-dist-digits") == record


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: zoo.info(3), "name"),
        (lambda: zoo.info(None), "name"),
        (lambda: zoo.info(["linf-dist-digits"]), "name"),
        (lambda: zoo.list_models(3), "pattern"),
        (lambda: zoo.list_models(None), "pattern"),
        (lambda: zoo.list_models(dataset=["digits"]), "dataset"),
    ],
)
def test_arguments_of_another_kind_are_named(call, argument):
    with pytest.raises(TypeError, match=f"{argument} must be"):
        call()


def test_the_norm_is_read_as_everywhere():
    names = [record.name for record in zoo.list_models(norm="l2")]
    assert names
    assert names == [record.name for record in zoo.list_models(norm=2)]
    with pytest.raises(ValueError, match="norm must be 'linf' or 'l2', got 3"):
        zoo.list_models(norm=3)
