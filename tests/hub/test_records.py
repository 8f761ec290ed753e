"""The dataclasses of the manifest, and their way back to its form."""

import dataclasses
import json

import pytest

import zoo
from zoo.hub import catalog
from zoo.hub.records import AttackResult, CertifiedResult, Cost, HubLocation, Record

ENTRIES = json.loads(catalog.MANIFEST.read_text(encoding="utf-8"))["models"]


def text(entry):
    """As text, which shows the order of the keys and the kinds of the numbers as well."""
    return json.dumps(entry, indent=1, ensure_ascii=False)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["name"])
def test_every_entry_comes_back_as_it_was(entry):
    assert text(Record.from_dict(entry).to_dict()) == text(entry)


def test_writing_an_unchanged_record_leaves_the_manifest_as_it_is(tmp_path, monkeypatch):
    manifest = tmp_path / "manifest.json"
    manifest.write_bytes(catalog.MANIFEST.read_bytes())
    monkeypatch.setattr(catalog, "MANIFEST", manifest)
    before = manifest.read_bytes()
    catalog.write(zoo.info("linf-dist-digits"))
    assert manifest.read_bytes() == before


def test_what_is_nested_has_its_own_class():
    record = zoo.info("linf-dist-digits")
    assert record.files[0].path == "config.json"
    assert isinstance(record.metrics.certified[0], CertifiedResult)
    assert isinstance(record.metrics.attacked[0], AttackResult)
    assert isinstance(record.metrics.cost, Cost)
    assert record.hub is None or isinstance(record.hub, HubLocation)
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.metrics.clean = 1.0


def test_keys_that_may_be_missing():
    """The minutes of a run that was given a limit, and the place of a published checkpoint."""
    entry = zoo.info("linf-dist-digits").to_dict()
    assert "minutes" not in entry["training"]
    entry["training"] = {"minutes": 5.0, **entry["training"]}
    entry["hub"] = {"repo_id": "someone/linf-dist-digits", "revision": "0" * 40}
    record = Record.from_dict(entry)
    assert (record.training.minutes, record.hub.repo_id) == (5.0, "someone/linf-dist-digits")
    assert record.to_dict() == entry
    del entry["metrics"]["cost"]
    assert Record.from_dict(entry).metrics.cost is None
    assert Record.from_dict(entry).to_dict() == entry


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda entry: entry.pop("files"), "lacks the key 'files'"),
        (lambda entry: entry.pop("name"), "None is not a record: .*'name'"),
        (lambda entry: entry.update(colour="red"), "colour"),
        (lambda entry: entry["metrics"].pop("clean"), "clean"),
        (lambda entry: entry["metrics"].pop("certified"), "lacks the key 'certified'"),
        (lambda entry: entry["metrics"]["attacked"][0].pop("eps"), "eps"),
        (lambda entry: entry["training"].update(gpus=8), "gpus"),
        (lambda entry: entry.update(metrics=None), "linf-dist-digits.*NoneType"),
        (lambda entry: entry.update(hub="somewhere"), "linf-dist-digits.*mapping"),
    ],
)
def test_an_entry_of_another_form_is_named(change, complaint):
    entry = zoo.info("linf-dist-digits").to_dict()
    change(entry)
    with pytest.raises(ValueError, match=f"the manifest's entry of .*{complaint}"):
        Record.from_dict(entry)


def test_the_best_result_of_each_budget():
    record = zoo.info("linf-dist-digits")
    results = [
        CertifiedResult(eps=eps, norm="linf", method=method, accuracy=accuracy, n=500)
        for eps, method, accuracy in (("0.1", "a", 0.5), ("0.1", "b", 0.6), ("0.2", "a", 0.0))
    ]
    results.append(CertifiedResult(eps="0.1", norm="l2", method="a", accuracy=0.9, n=500))
    metrics = dataclasses.replace(record.metrics, certified=results)
    assert metrics.best_certified() == results[1:]
