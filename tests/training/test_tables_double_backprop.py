"""The tables of L1-norm double backpropagation, trained and measured at the smallest size."""

import json

import keras
import numpy as np
import pytest

from tests import datasets
from training.tables import double_backprop


def test_rows_are_trained_once_and_printed(tmp_path, monkeypatch):
    images = datasets.made_up(tmp_path / "data.npz", (28, 28, 1), 60)
    results = tmp_path / "results.json"
    monkeypatch.setattr(double_backprop, "_CERTIFIED", 3)
    monkeypatch.setattr(double_backprop, "_ATTACKED", 10)
    rows = [double_backprop.ROWS[1]]
    options = {"epochs": 1, "data_file": images, "results": results, "verbose": 0}
    double_backprop.run(None, rows, seeds=(0, 1), **options)
    found = json.loads(results.read_text())
    assert len(found) == 2
    for measured in found.values():
        assert measured["epochs"] == 1
        assert 0 <= measured["certified"]["0.1"] <= measured["certified"]["0.01"] <= 1
        assert 0 < measured["slopes"]["summed"] <= measured["slopes"]["full"]
    before = results.read_text()
    double_backprop.run(None, rows, seeds=(0, 1), **options)
    assert results.read_text() == before
    tables = double_backprop.tables(results)
    assert [len(table["rows"]) for table in tables] == [5, 8, 6]
    trained = [row for table in tables for row in table["rows"] if row["our clean"]]
    # It stands in two tables.
    assert len(trained) == 2
    assert all(row["trained"].startswith("2 seeds, 1 epoch,") for row in trained)


def test_the_rule_stops_where_the_paper_does():
    rule = double_backprop.stopping_rule()
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.stop_training = False
    rule.set_model(model)
    rule.on_train_begin()
    stopped = []
    for epoch, accuracy in enumerate([0.5] * 10 + [0.90, 0.91, 0.91005]):
        rule.on_epoch_end(epoch, {"val_accuracy": accuracy})
        stopped.append(model.stop_training)
    assert stopped == [False] * 12 + [True]


@pytest.mark.parametrize("form", ["full", "summed"])
def test_the_weight_is_of_a_mean(form):
    from zoo.losses import JacobianL1

    x = np.random.default_rng(0).uniform(size=(1, 28, 28, 1)).astype("float32")
    network = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten()])
    network.add(keras.layers.Dense(10))
    kernel = keras.ops.convert_to_numpy(network.layers[-1].kernel)
    entries = kernel if form == "full" else kernel.sum(axis=1)
    setting = double_backprop.Setting(None, 2.0, form)
    found = setting.weight * float(JacobianL1(form)(network, x)[0])
    assert found == pytest.approx(2.0 * np.abs(entries).mean(), rel=1e-5)
