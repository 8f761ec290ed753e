"""The manifest and its records."""

import dataclasses
import json

import jsonschema
import pytest

import zoo
from zoo.epsilon import Epsilon
from zoo.hub import catalog


def test_the_manifest_fits_its_schema():
    manifest = json.loads(catalog.MANIFEST.read_text())
    jsonschema.validate(manifest, json.loads(catalog.SCHEMA.read_text()))
    names = [model["name"] for model in manifest["models"]]
    assert names == sorted(set(names))
    assert "linf-dist-digits" in names


@pytest.mark.parametrize("record", catalog.list_models(), ids=lambda record: record.name)
def test_entries_are_consistent(record):
    assert record.size <= 20 * 2**20
    assert record.training.recipe == record.name


def test_filters():
    everything = {record.name for record in zoo.list_models()}
    assert {record.name for record in zoo.list_models("linf-dist-*")} == {
        name for name in everything if name.startswith("linf-dist-")
    }
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


def test_listing_fits_a_terminal_and_is_sorted():
    records = zoo.list_models()
    assert max(map(len, str(records).splitlines())) <= 80
    assert [(r.dataset, r.norm) for r in records] == sorted((r.dataset, r.norm) for r in records)
    (group,) = {tuple(r.name for r in zoo.list_models(dataset="cifar10", norm="linf"))}
    at = [
        max(c.accuracy for c in zoo.info(name).metrics.certified if c.eps == "8/255")
        for name in group
    ]
    assert at == sorted(at, reverse=True)
    assert len(at) == 3


def test_a_listing_too_wide_leaves_out_budgets():
    (record,) = zoo.list_models("linf-dist-digits")
    first = record.metrics.certified[0]
    many = [dataclasses.replace(first, eps=f"{i}/255", accuracy=1 / i) for i in range(1, 40)]
    metrics = dataclasses.replace(record.metrics, certified=many)
    wide = zoo.hub.records.Records([dataclasses.replace(record, metrics=metrics)])
    lines = str(wide).splitlines()
    assert 70 < max(map(len, lines)) <= 80
    assert "39/255" in lines[1]
    assert " 1/255" not in lines[1]
    assert wide._repr_html_().count("/255") == 39


def test_a_filter_that_nothing_has_names_what_there_is():
    for key, known in (("dataset", "cifar10, digits"), ("approach", "crt")):
        with pytest.raises(ValueError, match=f"no model has {key}='nothing'; there are: {known}"):
            zoo.list_models(**{key: "nothing"})


def test_a_notebook_shows_tables():
    page = zoo.list_models()._repr_html_()
    assert page.count("<table>") == len({(r.dataset, r.norm) for r in zoo.list_models()})
    record = zoo.info("linf-dist-digits")
    assert f"{100 * record.metrics.clean:.2f}%" in record._repr_html_()
    assert zoo.list_models("linf-dist-digits").to_latex().count("tabular") == 2


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
    for function in (catalog.check, catalog.write):
        with pytest.raises(ValueError, match="linf-dist-digits.*would not fit its schema: .*'l7'"):
            function(dataclasses.replace(record, norm="l7"))
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


def test_the_page_on_choosing_recommends_what_certifies_most():
    """It names the approaches by data set and budget; this is what it says of L2."""

    def best(dataset):
        found = {}
        for record in catalog.list_models(dataset=dataset, norm="l2"):
            for entry in record.metrics.best_certified():
                found.setdefault(entry.eps, []).append((entry.accuracy, record.approach))
        return [max(found[eps])[1] for eps in sorted(found, key=lambda eps: float(Epsilon(eps)))]

    assert best("mnist") == ["crt"] * 3
    assert best("cifar10") == ["lc-lmt", "l2nnn", "l2nnn"]
    assert best("gtsrb") == ["lc-lmt"] * 3
