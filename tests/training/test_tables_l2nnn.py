"""The poster's tables, trained and measured at the smallest size."""

import json
import pathlib

import numpy as np
import pytest

import zoo
from tests import datasets
from training import recipe as recipes
from training.tables import __main__ as command
from training.tables import l2nnn
from training.tables.results import read


@pytest.mark.parametrize("row", l2nnn.POSTER)
def test_every_row_has_its_recipe(row):
    recipe = recipes.load(f"l2nnn-poster/{row}")
    model = recipe["model"]
    assert row.startswith("resnet" if model["network"] == "resnet20" else "convnet")
    assert f"-w{model['regularization']}-" in row
    assert model["divide_before_convolution"] != row.endswith("-no-dbc")
    assert model["parametrization"] == "free"


def test_rows_are_trained_once_and_printed(tmp_path, monkeypatch, capsys):
    images = datasets.made_up(tmp_path / "data.npz", (28, 28, 1), 40)
    results = tmp_path / "results.json"
    options = {"data_file": images, "results": results, "verbose": 0}
    small = recipes.load("l2nnn-poster/convnet-w0.1-dbc")
    small["model"]["width"] = 0.1
    small["training"].update(epochs=1, batch_size=20)
    monkeypatch.setattr(l2nnn.recipes, "load", lambda name: small)
    l2nnn.run(tmp_path / "runs", ["convnet-w0.1-dbc"], **options)
    found = json.loads(results.read_text())["convnet-w0.1-dbc"]
    assert found["n"] == found["n attacked"] == 40
    assert found["epochs"] == 1
    assert 0 <= found["pgd"] <= found["natural"] <= 1
    assert found["gap"] > 0
    before = results.read_text()
    l2nnn.run(tmp_path / "runs", ["convnet-w0.1-dbc"], **options)
    assert results.read_text() == before
    (table, _) = l2nnn.tables(results)
    row = next(row for row in table["rows"] if row["network"] == "convnet-w0.1-dbc")
    assert row["our natural"] == pytest.approx(100 * found["natural"], abs=0.01)
    assert row["trained"].startswith("1 × 40 images")
    l2nnn.plot(tmp_path / "plot.svg", results)
    drawn = (tmp_path / "plot.svg").read_text()
    assert drawn.startswith("<?xml")
    assert f"mean gap {found['gap']:.1e}" in drawn
    assert command.main(["l2nnn"]) == 0
    assert "86.10" in capsys.readouterr().out.replace("86.1 ", "86.10 ")


def test_the_page_shows_the_results():
    """Every cell of docs/masked_gradients.md that is ours."""
    page = pathlib.Path(zoo.__file__).parents[1] / "docs" / "masked_gradients.md"
    cells = [line.strip("| ").split(" | ") for line in page.read_text().splitlines()]
    shown = {row[0]: row[2:] for row in cells if row[0] in l2nnn.POSTER}
    found = read(l2nnn.RESULTS)
    assert shown.keys() == found.keys() == l2nnn.POSTER.keys()
    for name, row in found.items():
        certified = " / ".join(f"{100 * accuracy:.1f}" for accuracy in row["certified"].values())
        attacked = [f"{100 * row[key]:.1f}" for key in ("pgd", "pgd rescaled")]
        expected = [f"{100 * row['natural']:.1f}", f"{row['gap']:.1e}", *attacked, certified]
        assert shown[name] == expected


def test_rescaling_changes_no_prediction(small_model, small_images):
    unit = l2nnn.Rescaled(small_model, 1e3)
    logits = small_model.logits(small_images)
    np.testing.assert_allclose(unit.logits(small_images), 1e3 * logits, rtol=1e-5)


def test_a_plot_needs_results(tmp_path, capsys):
    with pytest.raises(ValueError, match="has no results; python -m training.tables l2nnn --train"):
        l2nnn.plot(tmp_path / "plot.svg", tmp_path / "none.json")
    with pytest.raises(SystemExit):
        command.main(["linf-dist", "--plot", str(tmp_path / "plot.svg")])
    assert "no plot for linf-dist" in capsys.readouterr().err


def test_only_rows_that_are_no_checkpoints_are_trained_here(capsys):
    with pytest.raises(SystemExit):
        command.main(["linf-dist", "--train"])
    assert "one by one" in capsys.readouterr().err
