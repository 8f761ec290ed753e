"""A row of each paper, trained, measured, stored and printed at the smallest size."""

import dataclasses
import functools
import json

import keras
import numpy as np
import pytest

import zoo
from tests import datasets
from training import recipe as recipes
from training.clock import Clock
from training.run import train
from training.tables import papers, plot, results
from training.tables.measure import QUANTITIES, Rescaled, Subject, measure
from training.tables.rows import above, first_epoch, tables
from training.toml_file import merged

pytestmark = pytest.mark.integration

needs_cw = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="Carlini–Wagner is for TensorFlow"
)
TINY = {"training": {"epochs": 1, "batch_size": 20}}
TINY_NETWORK = {"image_shape": [8, 8, 1], "hidden": [8]}


def small(name, seeds=(0,), **changes):
    """A paper that measures less: ``changes`` are settings by the names of measurements."""
    paper = papers.load(name)
    runs = {
        key: dataclasses.replace(
            run,
            measurements=merged(
                run.measurements, {k: v for k, v in changes.items() if k in run.measurements}
            ),
            seeds=seeds,
        )
        for key, run in paper.runs.items()
    }
    return dataclasses.replace(paper, runs=runs)


@pytest.fixture
def fill(tmp_path):
    """Fills ``results.json``; a second call has nothing left to do."""

    def fill(paper, only, shape=(8, 8, 1), overrides=None, count=60):
        path = tmp_path / "results.json"
        options = {
            "only": only,
            "results": path,
            "data_file": datasets.made_up(tmp_path / "data.npz", shape, count),
            "overrides": merged(TINY, overrides or {}),
            "verbose": 0,
        }
        results.fill(paper, tmp_path / "runs", **options)
        before = path.read_text(encoding="utf-8")
        results.fill(paper, tmp_path / "elsewhere", **options)
        assert path.read_text(encoding="utf-8") == before
        assert not (tmp_path / "elsewhere").exists()
        return path, json.loads(before)

    return fill


def test_double_backpropagation(fill):
    changes = {"certified": {"images": 3}, "median radius": {"images": 3}, "pgd": {"images": 10}}
    paper = small("double-backprop", seeds=(0, 1), **changes)
    overrides = {"data": {"validation": 10}, "model": {"network": TINY_NETWORK}}
    path, found = fill(paper, ["c-eps0.3-summed-10"], overrides=overrides)
    assert list(found) == ["c-eps0.3-summed-10-seed0", "c-eps0.3-summed-10-seed1"]
    for measured in found.values():
        assert (measured["epochs"], measured["images"], measured["n"]) == (1, 50, 60)
        assert 0 <= measured["certified"]["0.1"] <= measured["certified"]["0.01"] <= 1
        assert 0 < measured["slopes"]["summed"] <= measured["slopes"]["full"]
        assert measured["median radius"] > 0
    shown = tables(paper, path)
    assert [len(table["rows"]) for table in shown] == [15, 24, 6]
    trained = [row for table in shown for row in table["rows"] if row["our clean"]]
    # The run stands in two tables.
    assert len(trained) == 2
    assert all(row["trained"].startswith("2 seeds, 1 of 30 epochs, 50 im") for row in trained)
    assert {row["images"] for row in trained} == {"60 / 10 / 3"}


def test_l2_nonexpansive_networks(fill, tmp_path):
    paper = papers.load("l2nnn")
    name = "convnet-w0.1-dbc"
    overrides = {"model": {"width": 0.1}}
    path, found = fill(paper, [name], (28, 28, 1), overrides, count=40)
    measured = found[f"{name}-seed0"]
    assert (measured["epochs"], measured["images"], measured["n"]) == (1, 40, 40)
    assert 0 <= measured["pgd"] <= measured["natural"] <= 1
    assert measured["gap"] > 0
    first, second = tables(paper, path)
    row = next(row for row in first["rows"] if row["network"] == name)
    assert row["our natural"] == pytest.approx(100 * measured["natural"], abs=0.01)
    assert row["trained"].startswith("seed 0, 1 of 20 epochs, 40 images, ")
    assert all(row["trained"].startswith("not trained: ") for row in second["rows"])
    plot.draw(paper, tmp_path / "plot.svg", path)
    drawn = (tmp_path / "plot.svg").read_text(encoding="utf-8")
    assert drawn.startswith("<?xml")
    assert f"mean gap {measured['gap']:.1e}" in drawn
    # A result of an older measurement lacks a column: its network is left out.
    results = json.loads(path.read_text(encoding="utf-8"))
    del results[f"{name}-seed0"]["gap"]
    path.write_text(json.dumps(results), encoding="utf-8")
    plot.draw(paper, tmp_path / "plot.svg", path)
    assert "mean gap" not in (tmp_path / "plot.svg").read_text(encoding="utf-8")


@needs_cw
def test_lipschitz_margin_training(fill, tmp_path):
    changes = {"norms": {"images": 10, "steps": 5, "search_steps": 1}}
    paper = small("lc-lmt", seeds=(0, 1), **changes)
    overrides = {
        "model": {"network": TINY_NETWORK},
        "training": {"epochs": 2},
        "monitor": {"images": 10},
    }
    path, found = fill(paper, ["mnist-lmt-1", "mnist-plain-0"], overrides=overrides)
    assert len(found) == 4
    for measured in found.values():
        assert len(measured["margin"]) == len(measured["required"]) == len(measured["loss"]) == 2
        assert len(measured["norms"]) == 10
        assert 0 <= measured["certified"]["0.5"] <= measured["test"] <= 1
        # The same images are training and test set here.
        assert measured["train"] == measured["test"]
    first, second, third = tables(paper, path)
    assert [row["trained"].startswith("2 seeds, 2 of 40 ep") for row in first["rows"]] == [
        True,
        False,
    ]
    assert "±" in first["rows"][0]["loss, last epoch"]
    assert second["rows"][-1]["training"] == "plain"
    assert [row["data set"] for row in third["rows"]] == ["SVHN"] * 5 + ["CIFAR-10"] * 5
    assert third["rows"][0]["trained"].startswith("not trained: SVHN could not be downloaded")
    assert third["rows"][-1]["trained"].startswith("not trained")
    plot.draw(paper, tmp_path / "figures.png", path)
    assert (tmp_path / "figures.png").read_bytes().startswith(b"\x89PNG")


def test_linf_distance_networks_of_twice_the_width(fill, tmp_path):
    paper = small("linf-dist", attacked={"attack": "fgsm", "images": 20})
    name = "linf-dist-mnist-twice"
    overrides = {"model": {"image_shape": [8, 8, 1], "width": 20, "depth": 3}}
    path, found = fill(paper, [name], overrides=overrides)
    measured = found[f"{name}-seed0"]
    assert measured["multiply-adds"] == round((64 * 20 + 20 * 20 + 20 * 10) / 1e6, 2)
    assert 0 <= measured["certified"]["0.3"] <= measured["clean"] <= 1
    rows = tables(paper, path)[0]["rows"]
    epochs = recipes.load("linf-dist-mnist")["training"]["epochs"]
    (row,) = [row for row in rows if row["trained"].startswith(f"seed 0, 1 of {epochs} epochs")]
    assert row["method"] == "ℓ∞-dist Net, twice the width"
    assert row["images"] == "60 / 20"
    own, printed = plot.scaling(rows, "MNIST (0.3)", "ℓ∞-dist Net")
    shipped = next(row for row in rows if row["trained"].startswith("linf-dist-mnist:"))
    points = [(row["our FLOPs M"], row["our certified"]) for row in (row, shipped)]
    assert own == sorted(points)
    assert printed == [(82.7, 92.64)]
    plot.draw(paper, tmp_path / "scaling.png", path)
    assert (tmp_path / "scaling.png").read_bytes().startswith(b"\x89PNG")


def test_an_attack_that_spares_certified_images_finds_the_same(digits_model, digits):
    """No attack can change them. FGSM has no random start, so that both results are equal."""
    attack = {"quantity": "attacked_accuracy", "attack": "fgsm", "eps": [0.05, 0.2]}
    subject = Subject(digits_model, digits, digits.take(80))
    found = measure(
        subject, {"all": attack, "spared": {**attack, "spare_certified": True, "images": 80}}
    )
    assert found["spared"] == pytest.approx(found["all"])
    assert list(found["all"]) == ["0.05", "0.2"]
    assert found["all"]["0.05"] > found["all"]["0.2"]


def test_only_a_certificate_of_the_attacks_norm_spares_an_image(digits):
    """A radius in L2 says nothing about an ℓ∞ attack of the same budget."""
    attack = {"quantity": "attacked_accuracy", "attack": "fgsm", "eps": 0.05, "images": 20}
    subject = Subject(zoo.load("l2nnn-digits"), digits, digits)
    with pytest.raises(ValueError, match="no certificate for norm='linf'"):
        measure(subject, {"spared": {**attack, "spare_certified": True}})


SECOND_ORDER = {
    "curvature": {"images": 12},
    **{
        name: {"images": 3}
        for name in ("mean crown", "certified crown", "mean of those", "certified of those")
    },
    "mean local": {"images": 3},
}


def test_second_order_defences(fill):
    paper = small("second-order", **SECOND_ORDER)
    local = "2-sigmoid-images-gamma0"
    path, found = fill(paper, [local], overrides={"model": {"network": TINY_NETWORK}})
    measured = found[f"{local}-seed0"]
    # Every class counted proves no more than the runner-up alone.
    curvature = measured["curvature"]
    assert 0 < curvature["mean"] <= curvature["mean runner-up"]
    assert 0 <= curvature["certified"] <= curvature["certified runner-up"] <= 1
    assert measured["mean local"] >= measured["mean of those"] > 0
    assert measured["penalty weight"] == 0
    shown = tables(paper, path)
    assert [len(table["rows"]) for table in shown] == [3, 9, 6, 4, 4]
    trained = [row for table in shown for row in table["rows"] if row["trained"].startswith("seed")]
    # The standard network of two layers stands in three tables.
    assert len(trained) == 3
    for table in shown:
        assert set(table["text"]) <= set(table["rows"][0])


def test_a_convolution_of_second_order_defences(fill):
    paper = small("second-order", **SECOND_ORDER)
    name = "conv-tanh-rho0.5-gamma0.01"
    overrides = {"model": {"network": {"image_shape": [8, 8, 1]}}}
    path, found = fill(paper, [name], overrides=overrides)
    assert found[f"{name}-seed0"]["penalty weight"] == 0.01
    assert "mean local" not in found[f"{name}-seed0"]
    rows = tables(paper, path)[-1]["rows"]
    (trained,) = [row for row in rows if row["trained"].startswith("seed 0, ")]
    assert trained["network"] == "convolution, tanh, CRT, γ 0.01"


def test_checkpoints_are_measured_at_their_own_budget(fill):
    """Those alone that the catalog has, once, whatever the seeds."""
    paper = small("second-order", seeds=(0, 1), **SECOND_ORDER)
    run = paper.runs["crt-mnist"]
    paper = dataclasses.replace(
        paper,
        runs={
            "crt-mnist": dataclasses.replace(run, checkpoint="crt-digits"),
            "unknown": dataclasses.replace(run, name="unknown", checkpoint="crt-unknown"),
        },
    )
    path, found = fill(paper, ["crt-mnist", "unknown"])
    assert list(found) == ["crt-mnist"]
    assert list(found["crt-mnist"]["certified of those"]) == ["1.58"]

    first = {**paper.tables[0], "rows": paper.tables[0]["rows"][:1]}
    paper = dataclasses.replace(paper, tables=[first])
    assert tables(paper, path)[0]["rows"][0]["trained"].startswith("a checkpoint, seed 0")
    found["crt-mnist"]["weights"] = "of an earlier training"
    path.write_text(json.dumps(found), encoding="utf-8")
    assert tables(paper, path)[0]["rows"][0]["trained"].startswith("earlier weights")


def test_interrupted_it_goes_on_where_it_was(tmp_path, monkeypatch):
    """In the middle of the second of two trainings and of its measurements; nothing is repeated."""
    begun, measured = [], []

    class Counting(Clock):
        limit_of_batches = None

        def on_train_batch_begin(self, batch, logs=None):
            if len(begun) == self.limit_of_batches:
                raise KeyboardInterrupt
            begun.append(batch)
            super().on_train_batch_begin(batch, logs)

    monkeypatch.setattr("training.run.Clock", Counting)
    monkeypatch.setattr(results, "train", functools.partial(train, save_every=0))
    changes = {"certified": {"images": 3}, "median radius": {"images": 3}, "pgd": {"images": 10}}
    paper = small("double-backprop", **changes)
    overrides = {
        "data": {"validation": 10},
        "model": {"network": TINY_NETWORK},
        "training": {"epochs": 2, "batch_size": 10},
    }
    options = {
        "only": ["c-eps0.3-summed-0", "c-eps0.3-summed-10"],
        "data_file": datasets.made_up(tmp_path / "data.npz", (8, 8, 1), 60),
        "overrides": overrides,
        "verbose": 0,
    }
    attacked = QUANTITIES["attacked_accuracy"]

    def counted(*args, **settings):
        measured.append(settings)
        if len(measured) == interrupted_at:
            raise KeyboardInterrupt
        return attacked(*args, **settings)

    interrupted_at = None
    monkeypatch.setitem(QUANTITIES, "attacked_accuracy", counted)
    results.fill(paper, tmp_path / "whole", results=tmp_path / "whole.json", **options)
    assert len(begun) == 2 * 2 * 5
    in_all = len(measured)
    assert in_all >= 4
    begun.clear()
    measured.clear()
    monkeypatch.setattr(Counting, "limit_of_batches", 10 + 7)
    parts = tmp_path / "parts.json"
    with pytest.raises(KeyboardInterrupt):
        results.fill(paper, tmp_path / "parts", results=parts, **options)
    assert list(results.read(parts)) == ["c-eps0.3-summed-0-seed0"]
    monkeypatch.setattr(Counting, "limit_of_batches", None)
    interrupted_at = in_all
    with pytest.raises(KeyboardInterrupt):
        results.fill(paper, tmp_path / "parts", results=parts, **options)
    assert list(results.read(parts)) == ["c-eps0.3-summed-0-seed0"]
    interrupted_at = None
    results.fill(paper, tmp_path / "parts", results=parts, **options)
    # What was left of 2 epochs of 5 batches.
    assert len(begun) == 2 * 2 * 5
    # The last one was begun twice.
    assert len(measured) == in_all + 1
    whole, parts = results.read(tmp_path / "whole.json"), results.read(parts)
    for run in (*whole.values(), *parts.values()):
        run.pop("seconds")
    assert parts == whole


def test_results_of_another_process_are_kept(tmp_path):
    path = tmp_path / "results.json"
    results.add(path, "first", {"n": 1})
    results.add(path, "second", {"n": float("nan")})
    assert results.read(path) == {"first": {"n": 1}, "second": {"n": None}}
    assert len(path.read_text(encoding="utf-8").splitlines()) == 4


def test_a_plot_needs_results(tmp_path):
    for name in ("l2nnn", "lc-lmt"):
        message = f"has no results; python -m training.tables {name} --train"
        with pytest.raises(ValueError, match=message):
            plot.draw(papers.load(name), tmp_path / "plot.svg", tmp_path / "none.json")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"quantity": "accuracy", "part": "all"}, 'part must be "train" or "test", got \'all\''),
        ({"quantity": "setting", "name": "gamma"}, "a LinfDistNet has no setting 'gamma'"),
        ({"quantity": "history", "key": "margin"}, "the history has no 'margin'"),
    ],
)
def test_what_cannot_be_measured_is_named(digits_model, digits, settings, message):
    subject = Subject(digits_model, digits, digits, [{"loss": 1.0}])
    with pytest.raises(ValueError, match=message):
        measure(subject, {"mine": settings})


def test_rescaling_changes_no_prediction(small_model, small_images):
    unit = Rescaled(small_model, 1e3)
    logits = small_model.logits(small_images)
    np.testing.assert_allclose(unit.logits(small_images), 1e3 * logits, rtol=1e-5)


@pytest.mark.parametrize(
    ("margin", "expected"),
    [([0, 2, 3], 2), ([2, 0, 3], 3), ([2, 3, 4], 1), ([0, 3, 0], None)],
)
def test_the_bound_is_met_once_it_stays_met(margin, expected):
    assert first_epoch(margin, [1, 1, 1]) == expected


def test_curves_count_what_no_perturbation_has_fooled():
    norms = [0.0, 0.4, 1.2, None]
    assert [above(norms, least) for least in (0.0, 0.4, 1.0, 9.0)] == [0.75, 0.5, 0.5, 0.25]
