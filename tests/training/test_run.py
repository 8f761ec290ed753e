"""Training runs: interrupted, resumed, measured, without TensorFlow."""

import dataclasses
import json
import math
import os
import pathlib
import re
import signal
import subprocess
import sys
import textwrap
import time

import h5py
import keras
import numpy as np
import pytest

import zoo
from training import recipe as recipes
from training import run
from training.__main__ import main
from training.clock import Clock
from training.images import splits
from training.measure import measure, measure_attacks, measure_certificates, measure_cost
from training.run import build, train
from training.schedules import PSchedule
from training.seeds import train_seeds
from zoo.hub import catalog

pytestmark = pytest.mark.integration

ROOT = pathlib.Path(zoo.__file__).parent.parent

SPLITS = ("train", "test")
RECIPE = """
approach = "linf-dist"
seed = 1
float16 = true
[data]
name = "digits"
validation = 100
[augment]
shift = 1
[model]
class = "LinfDistNet"
image_shape = [8, 8, 1]
num_classes = 10
width = 16
depth = 2
epsilon = 0.2
cross_entropy_weight = 0.05
[training]
epochs = 4
batch_size = 100
learning_rate = 0.03
[p_schedule]
first = 8
last = 100
start_epoch = 0
end_epoch = 3
cross_entropy_weight_last = 0.001
[epsilon_schedule]
epochs = 2
[measure]
eps = [0.05, "8/255"]
attacks = ["pgd"]
attack_steps = 2
attack_restarts = 1
"""


@pytest.fixture
def recipe_file(tmp_path):
    path = tmp_path / "tiny-digits.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def recipe(recipe_file):
    return recipes.load(recipe_file)


@pytest.fixture
def empty_catalog(tmp_path, monkeypatch):
    """An empty catalog in a temporary folder."""
    manifest = tmp_path / "manifest.json"
    manifest.write_text('{"models": []}')
    monkeypatch.setattr(catalog, "MANIFEST", manifest)
    monkeypatch.setattr(catalog, "WEIGHTS", tmp_path / "weights")
    # No test here is about the nearest flips that a search finds or about timings, which take
    # most of the time.
    monkeypatch.setattr("training.measure.NEAREST", 8)
    monkeypatch.setitem(zoo.attacks.nearest.__kwdefaults__, "steps", 5)
    monkeypatch.setattr("training.cost._MOST", 8)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run that nothing interrupted. Do not change it."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "tiny-digits.toml").write_text(RECIPE)
    train(recipes.load(folder / "tiny-digits.toml"), folder / "run", verbose=0)
    return folder / "run"


def weights(folder):
    return zoo.load(folder).get_weights()


def place_of(state):
    """Where a state is from, in the words of the messages, by the name of its file."""
    epoch, batch = re.fullmatch(r"epoch-(\d+)(?:-batch-(\d+))?\.weights\.h5", state).groups()
    if batch is None:
        return f"the end of epoch {int(epoch)}"
    return f"epoch {int(epoch) + 1}, after batch {int(batch)} of 11"


def assert_same_end(folder, other):
    for a, b in zip(weights(folder), weights(other), strict=True):
        np.testing.assert_array_equal(a, b)
    histories = [json.loads((f / "history.json").read_text())["epochs"] for f in (folder, other)]
    for a, b in zip(*histories, strict=True):
        a.pop("seconds"), b.pop("seconds")
        for key in ("loss", "accuracy"):  # put together where an epoch was interrupted
            assert a.pop(key) == pytest.approx(b.pop(key), rel=1e-5)
        assert a == b


def test_a_run_records_itself(recipe, tmp_path):
    train(recipe, tmp_path / "run", verbose=0)
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["seed"] == 1
    assert run["epochs"] == 4
    assert run["images"] == 1197
    assert run["validation"]["n"] == 100
    assert "core" in run["hardware"]
    history = json.loads((tmp_path / "run" / "history.json").read_text())["epochs"]
    assert [epoch["epoch"] for epoch in history] == [1, 2, 3, 4]
    assert {"loss", "accuracy", "seconds"} <= set(history[0])
    assert run["seconds"] == round(sum(epoch["seconds"] for epoch in history))
    before = (tmp_path / "run" / "run.json").read_text()
    train(recipe, tmp_path / "run", verbose=0)  # nothing left to do, nothing to rewrite
    assert (tmp_path / "run" / "run.json").read_text() == before


def test_a_recipe_may_take_the_first_images_alone(recipe):
    training, validation = splits({**recipe, "data": {**recipe["data"], "images": 300}})
    assert (len(training), len(validation)) == (200, 100)
    whole, _ = splits(recipe)
    np.testing.assert_array_equal(training.images, whole.images[:200])


@pytest.mark.parametrize("compiled", [True, False])
def test_a_recipe_says_whether_xla_compiles_the_training_step(
    recipe, tmp_path, monkeypatch, compiled
):
    built = []

    def kept(recipe):
        built.append(build(recipe))
        return built[-1]

    monkeypatch.setattr(run, "build", kept)
    # XLA cannot compile the kernels of the ℓ∞-distance layers that the fixture's model has.
    network = {"name": "mlp", "hidden": [8], "activation": "tanh"}
    network |= {"image_shape": [8, 8, 1], "num_classes": 10}
    model = {"class": "CurvatureNet", "network": network, "epsilon": 0.5}
    settings = recipe["training"] | {"epochs": 1, "jit_compile": compiled}
    rest = {key: recipe[key] for key in recipe if not key.endswith("_schedule")}
    train(rest | {"model": model, "training": settings}, tmp_path / "run", verbose=0)
    assert built[0].jit_compile is compiled


def test_interrupted_and_resumed_is_uninterrupted(recipe, whole, tmp_path):
    for epochs in (1, 3, None):
        train(recipe, tmp_path / "parts", epochs=epochs, verbose=0)
    assert_same_end(whole, tmp_path / "parts")


def train_interrupted(patch, batches, *arguments, clock=Clock, **options):
    """Train this many batches; the call is interrupted when the next one begins."""

    class Interrupted(clock):
        begun = 0

        def on_train_batch_begin(self, batch, logs=None):
            if self.begun == batches:
                raise KeyboardInterrupt
            self.begun += 1
            super().on_train_batch_begin(batch, logs)

    with patch.context() as inner:
        inner.setattr("training.run.Clock", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(*arguments, verbose=0, **options)


def test_interrupted_within_an_epoch_and_resumed_is_uninterrupted(
    recipe, whole, tmp_path, monkeypatch
):
    """In the middle of two epochs of 11 batches, and twice in one of them."""
    for batches in (15, 3, 12):
        train_interrupted(monkeypatch, batches, recipe, tmp_path / "parts", save_every=0)
    assert [path.name for path in (tmp_path / "parts").glob("*.h5")] == [
        "epoch-0002-batch-00008.weights.h5"
    ]
    train(recipe, tmp_path / "parts", verbose=0)
    assert_same_end(whole, tmp_path / "parts")


def test_a_resumed_run_draws_the_random_numbers_of_an_uninterrupted_one(
    recipe, tmp_path, monkeypatch
):
    """Those of a Keras layer, whose states ``save_weights`` leaves out."""
    moves = keras.layers.RandomTranslation(0.2, 0.2, fill_mode="nearest")
    model = {**recipe["model"], "augmentation": keras.saving.serialize_keras_object(moves)}
    recipe = {**recipe, "model": model}
    train(recipe, tmp_path / "whole", epochs=2, verbose=0)
    train_interrupted(monkeypatch, 5, recipe, tmp_path / "parts", save_every=0)
    train(recipe, tmp_path / "parts", epochs=2, verbose=0)
    assert_same_end(tmp_path / "whole", tmp_path / "parts")


def test_a_state_of_a_version_without_random_states_resumes(recipe, tmp_path):
    moves = keras.layers.RandomTranslation(0.2, 0.2, fill_mode="nearest")
    model = {**recipe["model"], "augmentation": keras.saving.serialize_keras_object(moves)}
    recipe = {**recipe, "model": model}
    train(recipe, tmp_path / "run", epochs=1, verbose=0)
    (state,) = (tmp_path / "run").glob("epoch-*.h5")
    with h5py.File(state, "a") as file:
        del file["random"]
    written = json.loads((tmp_path / "run" / "recipe.json").read_text())
    del written["data_file"]
    (tmp_path / "run" / "recipe.json").write_text(json.dumps(written))
    train(recipe, tmp_path / "run", epochs=2, verbose=0)
    assert len(json.loads((tmp_path / "run" / "history.json").read_text())["epochs"]) == 2


def test_a_state_within_an_epoch_outlives_the_epoch(recipe, whole, tmp_path, monkeypatch):
    """It is the newest on disk while the history goes on."""
    for batches, save_every in ((5, 0), (8, 1000)):
        train_interrupted(monkeypatch, batches, recipe, tmp_path / "parts", save_every=save_every)
    assert len(json.loads((tmp_path / "parts" / "history.json").read_text())["epochs"]) == 1
    train(recipe, tmp_path / "parts", verbose=0)
    assert_same_end(whole, tmp_path / "parts")


def test_fewer_epochs_than_there_are_train_nothing(recipe, tmp_path, monkeypatch):
    train(recipe, tmp_path / "run", epochs=2, verbose=0)
    (state,) = (tmp_path / "run").glob("epoch-*.h5")
    train(recipe, tmp_path / "run", epochs=1, verbose=0)
    assert list((tmp_path / "run").glob("epoch-*.h5")) == [state]
    assert json.loads((tmp_path / "run" / "run.json").read_text())["epochs"] == 2
    train_interrupted(monkeypatch, 1, recipe, tmp_path / "run")
    assert not (tmp_path / "run" / "run.json").exists()  # it is no longer true of the run


def test_a_part_of_an_epoch_is_not_stored_as_the_epoch_before(recipe, tmp_path, monkeypatch):
    train_interrupted(monkeypatch, 15, recipe, tmp_path / "run", save_every=0)
    with pytest.raises(ValueError, match="interrupted in epoch 2,.*after 1; give --epochs 2"):
        train(recipe, tmp_path / "run", epochs=1, verbose=0)
    assert not (tmp_path / "run" / "run.json").exists()
    train(recipe, tmp_path / "run", epochs=2, verbose=0)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["epochs"] == 2


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ("p_schedule", "p_schedule is for ℓ∞-distance networks, not a L2NonexpansiveNet"),
        ("epsilon_schedule", "L2NonexpansiveNet has no budget for epsilon_schedule"),
    ],
)
def test_a_schedule_that_the_model_does_not_know_is_named(recipe, tmp_path, schedule, message):
    model = {"class": "L2NonexpansiveNet", "network": "dense"}
    shape = {key: recipe["model"][key] for key in ("image_shape", "num_classes")}
    others = {key: recipe[key] for key in recipe if not key.endswith("_schedule")}
    changed = {**others, "model": model | shape, schedule: recipe[schedule]}
    with pytest.raises(ValueError, match=message):
        train(changed, tmp_path / "run", verbose=0)
    assert not (tmp_path / "run").exists()


def test_states_are_some_time_apart(recipe, tmp_path, monkeypatch):
    written = []

    def replace(source, target):
        written.append(target.name)
        os.rename(source, target)

    monkeypatch.setattr("training.run.Clock", ticking())
    monkeypatch.setattr("training.state.replace", replace)
    train(recipe, tmp_path / "run", save_every=8, epochs=2, verbose=0)
    names = ("epoch-0000-batch-00008", "epoch-0001-batch-00005", "epoch-0002")
    states = [name for name in written if name.startswith("epoch-")]
    assert states == [f"{name}.weights.h5" for name in names]


def ticking(seen=None):
    """A clock by which a batch takes a second, and all else none."""

    class Ticking(Clock):
        def resume(self, epoch, batch, seconds):
            self.now = seconds
            super().resume(epoch, batch, seconds)

        @property
        def seconds(self):
            return self.now

        def on_train_batch_end(self, batch, logs=None):
            if seen is not None:
                rate = float(self.model.optimizer.learning_rate)
                seen.append((self.position, self.model.p, rate, self.model.training_epsilon))
            self.now += 1
            super().on_train_batch_end(batch, logs)

    return Ticking


@pytest.mark.parametrize("minutes", [0.5, 1.6])
def test_a_limited_run_is_a_whole_run(recipe, tmp_path, monkeypatch, minutes):
    """In 30 batches, fewer than the 44 of the recipe, and in 96."""
    seen, batches = [], round(60 * minutes)
    monkeypatch.setattr("training.run.Clock", ticking(seen))
    model = train(recipe, tmp_path / "run", minutes=minutes, verbose=0)
    assert len(seen) == batches
    position, p, rate, epsilon = seen[batches // 2]
    assert position == 2
    assert p == PSchedule(8, 100, 0, 3, None).p(2)
    assert rate == pytest.approx(0.03 / 2)
    assert epsilon == pytest.approx(0.2)
    assert [p for _, p, _, _ in seen].index(np.inf) == np.ceil(0.75 * batches)
    assert 0 < seen[-1][2] < 0.03 / 100
    for a, b in zip(weights(tmp_path / "run"), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (run["epochs"], run["minutes"], run["seconds"]) == (batches // 11, minutes, batches)
    before = (tmp_path / "run" / "run.json").read_text()
    train(recipe, tmp_path / "run", minutes=minutes, verbose=0)  # its time is up
    assert len(seen) == batches
    assert (tmp_path / "run" / "run.json").read_text() == before


def test_a_resumed_limited_run_counts_the_time_before(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr("training.run.Clock", ticking())
    train(recipe, tmp_path / "whole", minutes=0.5, verbose=0)
    for batches in (13, 2):
        limited = {"clock": ticking(), "minutes": 0.5, "save_every": 0}
        train_interrupted(monkeypatch, batches, recipe, tmp_path / "parts", **limited)
        with pytest.raises(FileNotFoundError, match="no finished run"):
            measure(recipe, tmp_path / "parts", verbose=0)
    train(recipe, tmp_path / "parts", minutes=0.5, verbose=0)
    assert_same_end(tmp_path / "whole", tmp_path / "parts")


def test_a_limited_run_can_be_measured(recipe, tmp_path, monkeypatch, empty_catalog):
    monkeypatch.setattr("training.run.Clock", ticking())
    train(recipe, tmp_path / "short", minutes=0.1, verbose=0)
    with pytest.raises(ValueError, match="less than one epoch"):
        measure(recipe, tmp_path / "short", verbose=0)
    train(recipe, tmp_path / "run", minutes=0.5, verbose=0)
    measure(recipe, tmp_path / "run", verbose=0)
    training = zoo.info("tiny-digits").training
    assert (training.epochs, training.minutes) == (2, 0.5)


def test_a_limited_run_by_the_real_clock(recipe_file, tmp_path, capsys):
    """The time ends a training of many hours, at the latest after its first step."""
    recipe_file.write_text(RECIPE.replace("epochs = 4\n", "epochs = 100_000\n"))
    folder = tmp_path / "run"
    assert main([str(recipe_file), "--out", str(folder), "--minutes", "0.05"]) == 0
    run = json.loads((folder / "run.json").read_text())
    assert run["seconds"] >= 3
    assert run["epochs"] < 100_000
    assert len(zoo.load(folder).certify(np.zeros((2, 8, 8, 1)))) == 2
    assert "3/3" in capsys.readouterr().err  # the bar counts seconds


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--minutes", "0"], "minutes must be a positive number, got 0"),
        (["--minutes", "nan"], "minutes must be a positive number, got nan"),
        (["--minutes", "1", "--epochs", "2"], "epochs or minutes, not both"),
        (["--minutes", "2"], "a run with --minutes 1; go on like that"),
        ([], "a run with --minutes 1; go on like that"),
    ],
)
def test_refused_limits(recipe_file, recipe, tmp_path, capsys, options, message):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "recipe.json").write_text(json.dumps({**recipe, "minutes": 1.0}))
    assert main([str(recipe_file), "--out", str(folder), "--quiet", *options]) == 1
    assert message in capsys.readouterr().err


def test_a_run_is_not_continued_with_other_data(recipe, tmp_path, digits):
    for name, first in (("a.npz", 0), ("b.npz", 100)):
        part = {"images": digits.images[first:400], "labels": digits.labels[first:400]}
        pieces = {f"{x}_{s}": part[k] for x, k in zip("xy", part, strict=True) for s in SPLITS}
        np.savez(tmp_path / name, **pieces)
    train(recipe, tmp_path / "run", data_file=tmp_path / "a.npz", epochs=1, verbose=0)
    for other in (None, tmp_path / "b.npz"):
        with pytest.raises(ValueError, match="a run of other data; give the same --data"):
            train(recipe, tmp_path / "run", data_file=other, verbose=0)
    (tmp_path / "a.npz").rename(tmp_path / "moved.npz")
    train(recipe, tmp_path / "run", data_file=tmp_path / "moved.npz", epochs=2, verbose=0)


def test_a_run_without_limit_gets_none_later(recipe, tmp_path):
    train(recipe, tmp_path / "run", epochs=1, verbose=0)
    with pytest.raises(ValueError, match="a run with no --minutes; go on like that"):
        train(recipe, tmp_path / "run", minutes=1, verbose=0)


def test_killed_and_resumed_is_uninterrupted(recipe, whole, recipe_file, tmp_path, capsys):
    """The process is killed outright, some time after a state within an epoch was saved."""
    program = textwrap.dedent("""
        import sys
        from training import recipe, run
        run.train(recipe.load(sys.argv[1]), sys.argv[2], save_every=0, verbose=0)
    """)
    command = [sys.executable, "-c", program, str(recipe_file), str(tmp_path / "killed")]
    child = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "killed").glob("*-batch-*.h5")) and time.monotonic() < deadline:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert list((tmp_path / "killed").glob("epoch-*.h5"))
    assert not (tmp_path / "killed" / "run.json").exists(), "it was killed too late to tell"
    newest = max(path.name for path in (tmp_path / "killed").glob("epoch-*.h5"))
    capsys.readouterr()
    train(recipe, tmp_path / "killed", verbose=1)
    assert f"goes on from {place_of(newest)}" in capsys.readouterr().err
    assert_same_end(whole, tmp_path / "killed")


def test_a_half_written_state_is_ignored(recipe, whole, tmp_path):
    train(recipe, tmp_path / "cut", epochs=2, verbose=0)
    (tmp_path / "cut" / "partial.weights.h5").write_bytes(b"half")
    train(recipe, tmp_path / "cut", verbose=0)
    assert_same_end(whole, tmp_path / "cut")


def test_another_recipe_in_the_folder_is_refused(recipe, tmp_path):
    train(recipe, tmp_path / "run", epochs=1, verbose=0)
    with pytest.raises(ValueError, match="holds a run of another recipe"):
        train({**recipe, "seed": 2}, tmp_path / "run", verbose=0)
    other_measure = {**recipe["measure"], "eps": [0.3]}
    train({**recipe, "notes": "new", "measure": other_measure}, tmp_path / "run", verbose=0)


def test_a_run_in_the_users_folder_and_a_damaged_state(recipe_file, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    # A shell leaves this ~ as it is.
    command = [str(recipe_file), "--out=~/run", "--epochs", "1", "--quiet"]
    assert main(command) == 0
    folder = tmp_path / "home" / "run"
    assert (folder / "run.json").is_file()
    assert not (tmp_path / "~").exists()
    for name in ("history.json", "epoch-0001.weights.h5", "recipe.json"):
        (folder / name).write_bytes(b"")
        capsys.readouterr()
        assert main(command) == 1
        assert str(folder / name) in capsys.readouterr().err


def test_validation_images_are_checked_before_the_training(recipe, tmp_path, digits):
    images = digits.images.copy()
    images[-1] = np.nan
    np.savez(tmp_path / "data.npz", x_train=images, y_train=digits.labels)
    with pytest.raises(ValueError, match="x must be finite"):
        train(recipe, tmp_path / "run", data_file=tmp_path / "data.npz", verbose=0)
    assert not (tmp_path / "run").exists()


def test_measure_ships_and_records(recipe, tmp_path, monkeypatch, empty_catalog):
    with pytest.raises(FileNotFoundError, match="no finished run"):
        measure(recipe, tmp_path / "run", verbose=0)
    train(recipe, tmp_path / "run", epochs=1, verbose=0)
    with pytest.raises(ValueError, match="holds 1 of 4 epochs"):
        measure(recipe, tmp_path / "run", verbose=0)
    train(recipe, tmp_path / "run", verbose=0)
    measure(recipe, tmp_path / "run", verbose=0)
    record = zoo.info("tiny-digits")
    assert record.metrics.n == 500
    test = zoo.data.load("digits", "test")
    model = zoo.load("tiny-digits")
    certificate = model.certify(test.images)
    assert record.metrics.clean == np.mean(certificate.prediction == test.labels)
    measured = {(e.eps, e.method): e.accuracy for e in record.metrics.certified}
    assert measured["8/255", "interval"] == certificate.accuracy(test.labels, "8/255")
    assert set(measured) == {(e, m) for e in ("0.05", "8/255") for m in ("interval", "lipschitz")}
    card = (tmp_path / "weights" / "tiny-digits" / "README.md").read_text()
    assert f"{measured['0.05', 'interval']:.2%}" in card

    from huggingface_hub import ModelCard

    results = ModelCard(card).data.eval_results
    assert results[0].metric_value == record.metrics.clean

    shipped = tmp_path / "weights" / "tiny-digits"
    # An error while the new files are made leaves those that are there.
    files = {path.name: path.read_bytes() for path in shipped.iterdir()}
    train({**recipe, "seed": 2}, tmp_path / "other", verbose=0)
    with monkeypatch.context() as inner:
        inner.setattr("training.measure.write_card", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            measure(recipe, tmp_path / "other", verbose=0)
    assert {path.name: path.read_bytes() for path in shipped.iterdir()} == files
    assert [path.name for path in shipped.parent.iterdir()] == ["tiny-digits"]
    assert record.curve.accuracy("8/255") == measured["8/255", "interval"]
    for eps in (0.001, 0.02, 0.0333, 0.11):
        assert record.curve.accuracy(eps) <= certificate.accuracy(test.labels, eps)
    before = {path.name: path.read_bytes() for path in shipped.iterdir()}
    assert {"curve.json", "curve.png"} < set(before)
    (shipped / "curve.json").unlink()
    (shipped / "curve.png").unlink()
    # Certified anew, the record gets what was measured, whatever it says.
    certified = [dataclasses.replace(r, accuracy=0.0) for r in record.metrics.certified]
    metrics = dataclasses.replace(record.metrics, n=7, clean=0.0, certified=certified)
    catalog.write(dataclasses.replace(record, metrics=metrics))
    monkeypatch.setattr(recipes, "RECIPES", tmp_path)
    assert measure_certificates("tiny-digits", verbose=0) == record
    assert {path.name: path.read_bytes() for path in shipped.iterdir()} == before
    # An entry that the manifest cannot have is refused before the files are replaced.
    with pytest.raises(ValueError, match="tiny-digits.*would not fit its schema"):
        measure(recipe | {"approach": 3}, tmp_path / "other", verbose=0)
    assert {path.name: path.read_bytes() for path in shipped.iterdir()} == before


def test_a_shipped_checkpoint_is_attacked_anew(recipe_file, tmp_path, monkeypatch, empty_catalog):
    """By what its recipe says now: only the results of attacks change, and the card."""
    monkeypatch.setattr(recipes, "RECIPES", tmp_path)
    short = recipes.load("tiny-digits", {"measure": {"images": 40}})
    train(short, tmp_path / "run", verbose=0)
    before = measure(short, tmp_path / "run", verbose=0)
    quick = [zoo.attacks.APGDCE(steps=2)]
    monkeypatch.setattr(zoo.attacks.AutoAttack, "members", lambda self, model: quick)
    text = RECIPE.replace('attacks = ["pgd"]', 'attacks = ["fgsm", "auto"]')
    recipe_file.write_text(text + "images = 40\nattacked_images = 30\n")
    record = measure_attacks("tiny-digits", verbose=0)
    assert record == zoo.info("tiny-digits")
    metrics = dataclasses.replace(record.metrics, attacked=before.metrics.attacked)
    assert dataclasses.replace(record, metrics=metrics) == before
    found = {(e.attack, e.spares_certified) for e in record.metrics.attacked}
    assert found == {("fgsm", False), ("auto", True)}
    assert {e.n for e in record.metrics.attacked} == {30}
    card = (tmp_path / "weights" / "tiny-digits" / "README.md").read_text()
    assert "only the first 30 images were attacked" in card
    assert "queries 5000; it left out the images that are certified" in card


def test_a_measurement_of_weights_that_were_replaced_meanwhile_is_not_written(
    tmp_path, monkeypatch
):
    manifest = tmp_path / "manifest.json"
    manifest.write_bytes(catalog.MANIFEST.read_bytes())
    monkeypatch.setattr(catalog, "MANIFEST", manifest)
    record = zoo.info("linf-dist-digits")
    files = [dataclasses.replace(file, sha256="0" * 64) for file in record.files]
    replaced = dataclasses.replace(record, files=files)

    def cost(model, images):
        catalog.write(replaced)
        return dataclasses.replace(record.metrics.cost, milliseconds=123.0)

    monkeypatch.setattr("training.measure.cost", cost)
    with pytest.raises(RuntimeError, match="weights of linf-dist-digits were replaced"):
        measure_cost("linf-dist-digits")
    assert zoo.info("linf-dist-digits") == replaced


def test_the_spread_over_seeds_is_recorded(recipe, tmp_path, empty_catalog, monkeypatch):
    recipe["training"]["epochs"] = recipe["p_schedule"]["end_epoch"] = 1
    recipe["epsilon_schedule"]["epochs"] = 1
    with pytest.raises(zoo.UnknownModelError):
        train_seeds(recipe, 3, tmp_path / "run", verbose=0)
    train(recipe, tmp_path / "run", verbose=0)
    before = measure(recipe, tmp_path / "run", verbose=0)
    # The other seeds are certified by the methods of the manifest, here not the default one.
    other = [result for result in before.metrics.certified if result.method == "lipschitz"]
    metrics = dataclasses.replace(before.metrics, certified=other)
    catalog.write(dataclasses.replace(before, metrics=metrics))
    before = catalog.info("tiny-digits")
    with pytest.raises(ValueError, match="trained with seed 1, and its recipe has seed 5 now"):
        train_seeds(recipe | {"seed": 5}, 3, tmp_path / "run", verbose=0)
    with pytest.raises(ValueError, match="seeds must be at least 2, got 1"):
        train_seeds(recipe, 1, tmp_path / "run", verbose=0)

    def certified_meanwhile(*args, **kwargs):
        metrics = dataclasses.replace(before.metrics, n=499)
        catalog.write(dataclasses.replace(before, metrics=metrics))
        return zoo.load(tmp_path / "run")

    with monkeypatch.context() as inner:
        inner.setattr("training.seeds.train", certified_meanwhile)
        with pytest.raises(RuntimeError, match="tiny-digits was certified anew"):
            train_seeds(recipe, 2, tmp_path / "run", verbose=0)
    catalog.write(before)
    record = train_seeds(recipe, 3, tmp_path / "run", verbose=0)
    assert record == zoo.info("tiny-digits")
    assert dataclasses.replace(record.metrics, seeds=None) == before.metrics
    assert record.files == before.files
    assert record.metrics.seeds.seeds == [1, 0, 2]  # the recipe's own is first
    test = zoo.data.load("digits", "test")
    clean, certified = [], []
    for folder in ("run", "run-seed-0", "run-seed-2"):
        certificate = zoo.load(tmp_path / folder).certify(test.images, method="lipschitz")
        certified.append(certificate.accuracy(test.labels, 0.05))
        clean.append(np.mean(certificate.prediction == test.labels))
    first, *budgets = record.metrics.seeds.accuracies
    assert (first.eps, first.mean) == ("0", pytest.approx(np.mean(clean)))
    assert first.sd == pytest.approx(np.std(clean, ddof=1))
    assert [spread.eps for spread in budgets] == ["0.05", "8/255"]
    assert budgets[0].mean == pytest.approx(np.mean(certified))
    assert "| clean |" in (tmp_path / "weights" / "tiny-digits" / "README.md").read_text()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("depth = 2", "dept = 2", "dept"),
        ('class = "LinfDistNet"', 'class = "Dense"', "no model class 'Dense'"),
        ('class = "LinfDistNet"', 'class = "LinfDistance"', "no model class 'LinfDistance'"),
        ('class = "LinfDistNet"', 'class = "A>B"\nmodule = "no_module"', "No module named"),
        ('class = "LinfDistNet"', "", "'class' is a required property"),
        ("cross_entropy_weight = 0.05", "", "positive first and last"),
        ("validation = 100", "validation = 1400", "holds out 1400 of only 1297"),
        ("image_shape = [8, 8, 1]", "image_shape = [9, 9, 1]", "digits/train: x must"),
        ("num_classes = 10", "num_classes = 9", r"y must lie in 0\.\.8"),
        ('eps = [0.05, "8/255"]', "eps = []", r"measure\.eps.*non-empty"),
    ],
)
def test_a_recipe_that_cannot_run_is_one_error(tmp_path, capsys, old, new, message):
    path = tmp_path / "bad.toml"
    assert old in RECIPE
    path.write_text(RECIPE.replace(old, new, 1))
    assert main([str(path), "--out", str(tmp_path / "run"), "--quiet"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert re.search(message, error)


def test_a_model_class_of_ones_own_is_trained_and_measured(tmp_path, monkeypatch, empty_catalog):
    """It is in no module of this package: the recipe names the module and the registered name."""
    (tmp_path / "my_models.py").write_text(
        textwrap.dedent(
            """
            import keras, zoo

            @keras.saving.register_keras_serializable(package="mine")
            class Narrow(zoo.models.LinfDistNet):
                paper = "Somebody: Something, 2026"
            """
        )
    )
    monkeypatch.syspath_prepend(tmp_path)
    text = RECIPE.replace('class = "LinfDistNet"', 'class = "mine>Narrow"\nmodule = "my_models"')
    text = text.replace('approach = "linf-dist"', 'approach = "narrow"')
    text = text.replace('attacks = ["pgd"]', 'attacks = ["fgsm", "momentum"]')
    (tmp_path / "narrow-digits.toml").write_text(text.replace("epochs = 4", "epochs = 1"))
    recipe = recipes.load(tmp_path / "narrow-digits.toml")
    recipe["p_schedule"] |= {"end_epoch": 1}
    train(recipe, tmp_path / "run", verbose=0)
    record = measure(recipe, tmp_path / "run", weights=tmp_path / "weights", verbose=0)
    assert (record.approach, record.paper) == ("narrow", "Somebody: Something, 2026")
    assert {(e.attack, e.parameters.get("steps")) for e in record.metrics.attacked} == {
        ("fgsm", None),
        ("momentum", 2),
    }
    assert type(zoo.load(tmp_path / "weights" / "narrow-digits")).__name__ == "Narrow"
    monkeypatch.setattr("training.measure.measure_certificates", lambda name, *_, **__: name)
    sys.modules.pop("my_models")
    assert main([str(tmp_path / "narrow-digits.toml"), "--certify"]) == 0
    assert "my_models" in sys.modules, "the command loads a checkpoint of the class"


def test_fractions_are_budgets_in_recipes_too(recipe, tmp_path):
    recipe["model"]["epsilon"] = "8/255"
    train(recipe, tmp_path / "run", epochs=1, verbose=0)
    with pytest.raises(ValueError, match="epochs must be a positive integer, got 0"):
        train(recipe, tmp_path / "run", epochs=0, verbose=0)


@pytest.mark.parametrize(
    ("old", "new", "options", "message"),
    [
        ('attacks = ["pgd"]', 'attacks = ["magic"]', [], "attack must be one of .*'magic'"),
        ("eps = [0.05", 'methods = ["magic"]\neps = [0.05', [], "method='magic'"),
        ("", "", ["--epochs", "2"], "--measure needs all 4 epochs"),
        ("", "", ["--data", "train.npz"], "train.npz lacks x_test"),
        ("", "", ["--data", "one.npz"], "one/test has the same images as one/train"),
        ('name = "digits"', 'name = "one.npz"', [], "one/test has the same images as one/train"),
        ("", "", ["--data", "nan.npz"], "nan/test: x must be finite"),
        ("", "", ["--data", "labels.npz"], r"labels/test: y must lie in 0\.\.9"),
        ("", "", [], "a-file is a file, not a folder"),
        ("", "", [], "'my_own' cannot be the name of a checkpoint"),
    ],
)
def test_what_prevents_the_measurement_is_noticed_before_the_training(
    tmp_path, capsys, monkeypatch, empty_catalog, digits, old, new, options, message
):
    def trained(*args, **kwargs):
        raise AssertionError("trained first")

    monkeypatch.setattr("training.run.train", trained)
    monkeypatch.chdir(tmp_path)
    np.savez("train.npz", x_train=digits.images, y_train=digits.labels)
    np.savez("one.npz", x=digits.images, y=digits.labels)
    good = {"x_train": digits.images, "y_train": digits.labels}
    np.savez("nan.npz", x_test=digits.images * np.nan, y_test=digits.labels, **good)
    np.savez("labels.npz", x_test=digits.images / 2, y_test=digits.labels + 1, **good)
    file = "my_own.toml" if "my_own" in message else "my-own-0.1.toml"
    pathlib.Path(file).write_text(RECIPE.replace(old, new, 1), encoding="utf-8")
    if message.startswith("a-file"):
        pathlib.Path("a-file").touch()
        monkeypatch.setattr(catalog, "WEIGHTS", tmp_path / "a-file" / "weights")
    assert main([file, "--measure", "--quiet", *options]) == 1
    assert re.search(message, capsys.readouterr().err)


def test_a_loss_of_nan_is_written_as_json_and_read_again(recipe, tmp_path, monkeypatch):
    recipe["training"]["learning_rate"] = math.inf
    recipe["float16"] = False
    train_interrupted(monkeypatch, 5, recipe, tmp_path / "run", save_every=0)
    history = (tmp_path / "run" / "history.json").read_text(encoding="utf-8")
    assert json.loads(history, parse_constant=pytest.fail)["parts"][0]["loss"] is None
    train(recipe, tmp_path / "run", epochs=1, verbose=0)
    history = (tmp_path / "run" / "history.json").read_text(encoding="utf-8")
    assert json.loads(history, parse_constant=pytest.fail)["epochs"][0]["loss"] is None


def test_command_line_errors(recipe_file, capsys):
    assert main(["nothing"]) == 1
    assert "no recipe 'nothing'" in capsys.readouterr().err
    assert main([str(recipe_file), "--data", "no.npz", "--out", str(recipe_file.parent / "r")]) == 1
    assert "no such data file" in capsys.readouterr().err


def test_trains_on_jax_without_tensorflow(recipe_file, tmp_path):
    """Keras and JAX alone: TensorFlow, tensorflow-datasets and cleverhans are not to be found."""
    zoo.data.save(tmp_path / "digits.npz", "digits")
    program = textwrap.dedent("""
        import sys

        class Absent:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in ("tensorflow", "tensorflow_datasets", "cleverhans"):
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)

        sys.meta_path.insert(0, Absent())
        from training.__main__ import main
        code = main(sys.argv[1:])
        import zoo
        model = zoo.load(sys.argv[sys.argv.index("--out") + 1])
        images = zoo.data.load(sys.argv[sys.argv.index("--data") + 1], "test")
        print(model.certify(images.images[:50]).radius.sum())
        assert "tensorflow" not in sys.modules
        sys.exit(code)
    """)
    run = subprocess.run(
        [
            sys.executable, "-c", program, str(recipe_file), "--quiet", "--epochs", "1",
            "--data", str(tmp_path / "digits.npz"), "--out", str(tmp_path / "run"),
        ],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["backend"] == "jax"
    assert len(zoo.load(tmp_path / "run").certify(zoo.data.load("digits").images[:9])) == 9
