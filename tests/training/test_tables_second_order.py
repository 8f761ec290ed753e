"""The tables of second-order defences, trained and measured at the smallest size."""

import json

import pytest

from tests import datasets
from training.tables import second_order
from training.tables.second_order import CONVOLUTION, LOCAL, MEAN, ROWS, TIGHT


@pytest.fixture
def images(tmp_path, monkeypatch):
    for name, count in (("_CERTIFIED", 12), ("_RELAXED", 3), ("_LOCAL", 3)):
        monkeypatch.setattr(second_order, name, count)
    return datasets.made_up(tmp_path / "data.npz", (8, 8, 1), 40)


def test_rows_are_trained_once_and_printed(images, tmp_path):
    results = tmp_path / "results.json"
    local, convolution = next(iter(LOCAL)), next(iter(CONVOLUTION))
    options = {"epochs": 1, "data_file": images, "results": results, "verbose": 0}
    second_order.run(None, [local, convolution], checkpoints=(), **options)
    found = json.loads(results.read_text())
    assert set(found) == {local.name, convolution.name}
    for run in found.values():
        assert run["n"] == 40
        assert run["n certified"] == 12
        # Every class counted proves no more than the runner-up alone.
        assert 0 < run["mean"] <= run["mean runner-up"]
        assert 0 <= run["certified"] <= run["certified runner-up"] <= run["clean"] + 0.5
    measured = found[local.name]
    assert measured["mean local"] >= measured["mean global of those"] > 0
    before = results.read_text()
    second_order.run(None, [local, convolution], checkpoints=(), **options)
    assert results.read_text() == before
    tables = second_order.tables(results)
    assert [len(table["rows"]) for table in tables] == [3, 9, 6, 4, 4]
    trained = [row for table in tables for row in table["rows"] if "s each" in row["trained"]]
    # The standard network of two layers stands in three tables.
    assert len(trained) == 4
    for table in tables:
        assert set(table["text"]) <= set(table["rows"][0])


def test_checkpoints_are_measured_at_their_own_budget(images, tmp_path):
    results = tmp_path / "results.json"
    second_order.run(
        None,
        [],
        checkpoints=("crt-digits", "unknown"),
        data_file=images,
        results=results,
        verbose=0,
    )
    assert list(json.loads(results.read_text())) == ["crt-digits"]


def test_every_row_of_every_table_is_trained():
    assert set(ROWS) == {*LOCAL, *MEAN, *TIGHT, *CONVOLUTION}
    assert len({row.name for row in ROWS}) == len(ROWS)
