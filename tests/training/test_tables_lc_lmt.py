"""The LC-LMT paper's figures, trained and measured at the smallest size."""

import json

import keras
import numpy as np
import pytest

from tests import datasets
from training.tables import __main__ as command
from training.tables import lc_lmt

needs_cw = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="Carlini–Wagner is for TensorFlow"
)


@needs_cw
def test_figures_are_trained_once_printed_and_drawn(tmp_path, monkeypatch, capsys):
    images = datasets.made_up(tmp_path / "data.npz", (28, 28, 1), 60)
    results = tmp_path / "results.json"
    monkeypatch.setattr(lc_lmt, "_EPOCHS", {"mnist": 2})
    monkeypatch.setattr(lc_lmt, "_ATTACKED", 10)
    monkeypatch.setattr(lc_lmt, "_CW", {"steps": 5, "search_steps": 1})
    rows = [lc_lmt.ROWS[0], lc_lmt.ROWS[-1]]
    options = {"data_file": images, "results": results, "verbose": 0}
    lc_lmt.run(None, rows, seeds=(0, 1), **options)
    found = json.loads(results.read_text())
    assert len(found) == 4
    for measured in found.values():
        assert len(measured["margin"]) == len(measured["required"]) == len(measured["loss"]) == 2
        assert len(measured["norms"]) == 10
        assert 0 <= measured["certified"]["0.5"] <= measured["test"] <= 1
    before = results.read_text()
    lc_lmt.run(None, rows, seeds=(0, 1), **options)
    assert results.read_text() == before
    first, second, third = lc_lmt.tables(results)
    assert [row["trained"].startswith("2 seeds, 2 epochs") for row in first["rows"]] == [
        True,
        False,
    ]
    assert "±" in first["rows"][0]["loss, epoch the last"]
    assert second["rows"][-1]["training"] == "plain"
    assert third["rows"][0]["trained"].startswith("not trained")
    lc_lmt.plot(tmp_path / "figures.png", results)
    assert (tmp_path / "figures.png").read_bytes().startswith(b"\x89PNG")
    assert command.main(["lc-lmt"]) == 0
    assert "78.5" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("margin", "expected"),
    [([0, 2, 3], 2), ([2, 0, 3], 3), ([2, 3, 4], 1), ([0, 3, 0], None)],
)
def test_the_bound_is_met_once_it_stays_met(margin, expected):
    assert lc_lmt._met_from({"margin": margin, "required": [1, 1, 1]}) == expected


def test_curves_count_what_no_perturbation_has_fooled():
    run = {"norms": [0.0, 0.4, 1.2, None]}
    np.testing.assert_array_equal(lc_lmt._left(run, [0.0, 0.4, 1.0, 9.0]), [0.75, 0.5, 0.5, 0.25])


def test_a_plot_needs_results(tmp_path):
    with pytest.raises(ValueError, match="has no results"):
        lc_lmt.plot(tmp_path / "plot.png", tmp_path / "none.json")
