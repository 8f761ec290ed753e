"""What waits to be trained, in which order, and what an interruption or an error leaves behind."""

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

import zoo
from tests import datasets
from training.run import affects_training
from training.tables import __main__ as command
from training.tables import papers, queue, results
from training.tables.rows import tables

pytestmark = pytest.mark.integration

PAPER = """
citation = "Somebody, 2020"
seeds = [0, 1]
[measure.clean]
quantity = "accuracy"
[runs.slow]
recipe = "lc-lmt-digits"
overrides.model = { epsilon = 0.3 }
[runs.quick]
recipe = "lc-lmt-digits"
overrides.model = { epsilon = 0.2 }
seeds = [0]
[[tables]]
title = "Table 1"
caption = "What it shows."
columns = [
  { name = "network", row = "label" },
  { name = "our clean", measured = "clean", unit = "%" },
  { name = "trained", row = "status" },
]
rows = [{ label = "slow", run = "slow" }, { label = "quick", run = "quick" }]
"""
TINY = {"model": {"network": {"image_shape": [8, 8, 1], "hidden": [8]}}}


@pytest.fixture
def paper(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(PAPER, encoding="utf-8")
    return papers.load(path)


def result(run, seed, clean=0.5, **changes):
    """A result of a run, of 10 seconds for 1,000 images."""
    recipe = affects_training(queue.of_seed(run, seed))
    return {
        "epochs": recipe["training"]["epochs"],
        "seconds": 10.0,
        "hardware": "a computer",
        "images": 1000,
        "n": 500,
        "recipe": recipe,
        "measurements": run.measurements,
        "clean": clean,
        **changes,
    }


def shallow(run, seed, epochs=1, **changes):
    """A result of an older recipe with fewer epochs."""
    recipe = affects_training(queue.of_seed(run, seed, {"training": {"epochs": epochs}}))
    return result(run, seed, epochs=epochs, recipe=recipe, **changes)


def test_results_of_an_older_recipe_wait_for_a_training(paper):
    slow = paper.runs["slow"]
    assert [job.key for job in queue.waiting(paper, {})] == [
        "slow-seed0",
        "quick-seed0",
        "slow-seed1",
    ]
    found = {"slow-seed0": result(slow, 0), "slow-seed1": shallow(slow, 1)}
    assert [job.key for job in queue.waiting(paper, found)] == ["quick-seed0", "slow-seed1"]
    assert [job.key for job in queue.waiting(paper, found, only=["slow"])] == ["slow-seed1"]


def test_new_measurements_wait_too(paper):
    slow = paper.runs["slow"]
    old = result(slow, 0, measurements={"clean": {"quantity": "accuracy", "part": "train"}})
    (job,) = queue.waiting(paper, {"slow-seed0": old, "slow-seed1": result(slow, 1)}, only=["slow"])
    assert job.key == "slow-seed0"


def test_cheap_runs_come_first_and_first_seeds_before_second_ones(paper):
    slow, quick = paper.runs.values()
    found = {
        "slow-seed0": shallow(slow, 0, seconds=60.0),
        "slow-seed1": shallow(slow, 1, seconds=1.0),
        "quick-seed0": shallow(quick, 0, seconds=2.0),
    }
    jobs = queue.waiting(paper, found)
    assert [job.key for job in jobs] == ["quick-seed0", "slow-seed0", "slow-seed1"]
    epochs = queue.of_seed(quick, 0)["training"]["epochs"]
    # As many seconds for each epoch as the older result took.
    assert jobs[0].seconds == pytest.approx(2.0 * epochs)


def test_a_run_like_no_other_comes_last(paper):
    found = {"quick-seed0": shallow(paper.runs["quick"], 0)}
    slow = paper.runs["slow"]
    other = dataclasses.replace(slow, overrides={"model": {"network": {"hidden": [8, 8]}}})
    changed = dataclasses.replace(paper, runs={**paper.runs, "slow": other})
    jobs = queue.waiting(changed, found)
    assert [job.key for job in jobs][0] == "quick-seed0"
    assert "unknown time" in str(jobs[1])


def test_a_changed_recipe_has_a_folder_of_its_own(paper):
    first, *_ = queue.waiting(paper, {})
    second, *_ = queue.waiting(paper, {}, overrides={"training": {"epochs": 1}})
    measured, *_ = queue.waiting(paper, {}, overrides={"measure": {"attack_steps": 1}})
    assert first.key == second.key
    assert first.folder != second.folder
    assert first.folder == measured.folder


def test_a_row_says_that_a_recipe_with_as_many_epochs_is_an_older_one(paper, tmp_path):
    quick = paper.runs["quick"]
    recipe = affects_training(queue.of_seed(quick, 0, {"training": {"batch_size": 7}}))
    results.add(tmp_path / "results.json", quick.key(0), result(quick, 0, recipe=recipe))
    row = tables(paper, tmp_path / "results.json")[0]["rows"][1]
    wanted = recipe["training"]["epochs"]
    assert row["trained"].startswith(f"seed 0, {wanted} epochs of an older recipe, 1,000 images")


def test_a_row_never_mixes_recipes(paper, tmp_path):
    slow = paper.runs["slow"]
    path = tmp_path / "results.json"
    rest = {seed: shallow(slow, seed, clean=0.5 + 0.1 * seed) for seed in (0, 1)}
    wanted = queue.of_seed(slow, 0)["training"]["epochs"]
    for seed, older in rest.items():
        results.add(path, slow.key(seed), older)
    row = tables(paper, path)[0]["rows"][0]
    assert row["our clean"] == "55.00 ± 7.07"
    assert row["trained"] == f"2 seeds, 1 of {wanted} epochs, 1,000 images, 10 s each"
    results.add(path, slow.key(1), result(slow, 1, clean=0.9, stopped=True))
    row = tables(paper, path)[0]["rows"][0]
    assert row["our clean"] == 90.0
    assert row["trained"].startswith(f"1 seed, {wanted} epochs (stopped early), ")


def test_a_row_never_mixes_ways_to_measure(paper, tmp_path):
    slow = paper.runs["slow"]
    path = tmp_path / "results.json"
    earlier = {"measurements": {"clean": {"quantity": "accuracy", "part": "train"}}}
    for seed in (0, 1):
        results.add(path, slow.key(seed), result(slow, seed, clean=0.5 + 0.1 * seed, **earlier))
    row = tables(paper, path)[0]["rows"][0]
    assert row["our clean"] == "55.00 ± 7.07"
    assert ", measured in an earlier way, " in row["trained"]
    results.add(path, slow.key(1), result(slow, 1, clean=0.7, measurements={}))
    assert tables(paper, path)[0]["rows"][0]["our clean"] == 50.0
    results.add(path, slow.key(0), result(slow, 0, clean=0.9))
    row = tables(paper, path)[0]["rows"][0]
    assert row["our clean"] == 90.0
    assert "earlier" not in row["trained"]


def fill(paper, tmp_path, **options):
    data = datasets.made_up(tmp_path / "data.npz", (8, 8, 1), 40)
    path = tmp_path / "results.json"
    overrides = {**TINY, "training": {"epochs": 1, "batch_size": 20}}
    options = {"overrides": overrides, **options}
    results.fill(paper, tmp_path / "runs", results=path, data_file=data, verbose=0, **options)
    return results.read(path)


def test_other_measurements_need_no_new_training(paper, tmp_path, monkeypatch):
    first = fill(paper, tmp_path, only=["quick"])
    run = paper.runs["quick"]
    more = {**run.measurements, "radius": {"quantity": "mean_radius"}}
    changed = dataclasses.replace(run, measurements=more)
    paper = dataclasses.replace(paper, runs={"quick": changed})
    monkeypatch.setattr("keras.Model.fit", None)  # a training would fail
    second = fill(paper, tmp_path)
    assert second["quick-seed0"]["radius"] >= 0
    assert second["quick-seed0"]["clean"] == first["quick-seed0"]["clean"]
    assert second["quick-seed0"]["measurements"] == more


def test_a_run_that_fails_does_not_hold_up_the_others(paper, tmp_path, capsys):
    broken = dataclasses.replace(paper.runs["slow"], overrides={"model": {"epsilon": -1.0}})
    paper = dataclasses.replace(paper, runs={"slow": broken, "quick": paper.runs["quick"]})
    with pytest.raises(RuntimeError, match="slow-seed0 failed: epsilon.*slow-seed1 failed"):
        fill(paper, tmp_path)
    assert list(results.read(tmp_path / "results.json")) == ["quick-seed0"]
    assert "epsilon must be positive, got -1.0" in capsys.readouterr().err


SCRIPT = """
import functools, sys
from training.run import train
from training.tables import papers, results
results.train = functools.partial(train, save_every=0)
paper = papers.load(sys.argv[1])
overrides = {"model": {"network": {"image_shape": [8, 8, 1], "hidden": [8]}}}
overrides["training"] = {"epochs": 40, "batch_size": 20}
results.fill(paper, sys.argv[2], only=["quick"], results=sys.argv[3], data_file=sys.argv[4],
             overrides=overrides, verbose=0)
"""


def test_killed_it_goes_on_where_it_was(paper, tmp_path):
    """A signal that no program can handle, in the middle of a training of many short epochs."""
    datasets.made_up(tmp_path / "data.npz", (8, 8, 1), 40)
    folder, path = tmp_path / "runs", tmp_path / "results.json"
    arguments = [tmp_path / "mine.toml", folder, path, tmp_path / "data.npz"]
    root = pathlib.Path(zoo.__file__).parents[1]
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    try:
        deadline = time.monotonic() + 120
        while not any(path.name >= "epoch-0002" for path in folder.rglob("epoch-*.h5")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not path.exists()
    (own,) = (folder / "mine").iterdir()
    first, *_ = json.loads((own / "history.json").read_text("utf-8"))["epochs"]
    overrides = {**TINY, "training": {"epochs": 40, "batch_size": 20}}
    found = fill(paper, tmp_path, only=["quick"], overrides=overrides)
    assert found["quick-seed0"]["epochs"] == 40
    assert list((folder / "mine").iterdir()) == [own]
    # The record has the time of the epoch, which a repetition would not take to the microsecond.
    again, *_ = json.loads((own / "history.json").read_text("utf-8"))["epochs"]
    assert again == first


def test_the_queue_is_printed(capsys):
    assert command.main(["lc-lmt", "--queue"]) == 0
    shown = capsys.readouterr().out
    waiting = queue.waiting(papers.load("lc-lmt"), results.read(papers.load("lc-lmt").results))
    assert shown.startswith(f"lc-lmt: {len(waiting)} networks wait")
    assert [line.split(":")[0].strip() for line in shown.splitlines()[1:]] == [
        job.key for job in waiting
    ]


@pytest.mark.parametrize(
    ("seconds", "words"), [(5.0, "5 s"), (90.0, "2 min"), (5000.0, "83 min"), (7200.0, "2.0 h")]
)
def test_durations(seconds, words):
    assert queue.duration(seconds) == words
