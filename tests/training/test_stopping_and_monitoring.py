"""What a recipe may say beside its schedules: when to stop, what to record, and another loss."""

import json
import types

import keras
import numpy as np
import pytest

import zoo
from training import recipe as recipes
from training.early_stopping import EarlyStopping
from training.measure import measure
from training.run import train
from zoo.hub import catalog

pytestmark = pytest.mark.integration

RECIPE = """
approach = "lc-lmt"
seed = 1
[data]
name = "digits"
validation = 100
images = 600
[model]
class = "LipschitzMarginNet"
epsilon = 0.5
[model.network]
name = "mlp"
hidden = [8]
image_shape = [8, 8, 1]
num_classes = 10
[training]
epochs = 4
batch_size = 100
learning_rate = 0.003
drops = []
[monitor]
quantity = "margin"
images = 50
[measure]
eps = [0.5]
attack_steps = 2
attack_restarts = 1
"""
# No epoch counts as a rise, so that the second of those that count ends the training.
STOPS = "[stop]\npatience = 1\nmin_delta = 2.0\nstart_epoch = 1\n"


def load(tmp_path, extra="", **overrides):
    path = tmp_path / "tiny-digits.toml"
    path.write_text(RECIPE + extra, encoding="utf-8")
    return recipes.load(path, overrides)


def history(folder):
    return json.loads((folder / "history.json").read_text(encoding="utf-8"))["epochs"]


def interrupt(monkeypatch, batches, *arguments, **options):
    """Train this many batches; the call is interrupted when the next one begins."""
    from training.clock import Clock

    class Interrupted(Clock):
        begun = 0

        def on_train_batch_begin(self, batch, logs=None):
            if self.begun == batches:
                raise KeyboardInterrupt
            self.begun += 1
            super().on_train_batch_begin(batch, logs)

    with monkeypatch.context() as inner:
        inner.setattr("training.run.Clock", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(*arguments, verbose=0, **options)


def stopped_after(accuracies, **settings):
    state = types.SimpleNamespace(history=[])
    rule = EarlyStopping(state, **settings)
    for epoch, accuracy in enumerate(accuracies, 1):
        state.history.append({"val_accuracy": accuracy})
        if rule.is_due:
            return epoch
    return None


def test_the_rule_waits_and_then_stops_where_nothing_rises():
    settings = {"patience": 1, "min_delta": 1e-4, "start_epoch": 10}
    accuracies = [0.5] * 10 + [0.90, 0.91, 0.91005]
    assert stopped_after(accuracies, **settings) == 13
    assert stopped_after(accuracies[:-1], **settings) is None
    assert stopped_after(accuracies, **{**settings, "patience": 2}) is None
    assert stopped_after(accuracies, **{**settings, "min_delta": 0.0}) is None
    assert stopped_after(accuracies, patience=1) == 2


def test_a_run_stops_early_and_is_finished(tmp_path, monkeypatch):
    recipe = load(tmp_path, STOPS)
    train(recipe, tmp_path / "run", verbose=0)
    record = (tmp_path / "run" / "run.json").read_text(encoding="utf-8")
    assert (json.loads(record)["epochs"], json.loads(record)["stopped"]) == (3, True)
    assert all(0 <= epoch["val_accuracy"] <= 1 for epoch in history(tmp_path / "run"))
    train(recipe, tmp_path / "run", verbose=0)
    assert (tmp_path / "run" / "run.json").read_text(encoding="utf-8") == record
    manifest = tmp_path / "manifest.json"
    manifest.write_text('{"models": []}', encoding="utf-8")
    monkeypatch.setattr(catalog, "MANIFEST", manifest)
    monkeypatch.setattr(catalog, "WEIGHTS", tmp_path / "weights")
    # The attacks and the timings are not what this is about, and take most of the time.
    monkeypatch.setattr("training.measure.NEAREST", 8)
    monkeypatch.setattr("training.cost._MOST", 8)
    monkeypatch.setitem(zoo.attacks.nearest.__kwdefaults__, "steps", 5)
    quick = [zoo.attacks.APGDCE(steps=2)]
    monkeypatch.setattr(zoo.attacks.AutoAttack, "members", lambda self, model: quick)
    assert measure(recipe, tmp_path / "run", verbose=0).training.epochs == 3


def test_interrupted_and_resumed_it_stops_where_the_uninterrupted_run_does(tmp_path, monkeypatch):
    """The run is interrupted in the middle of its second and of its third epoch of 5 batches."""
    recipe = load(tmp_path, STOPS)
    whole = train(recipe, tmp_path / "whole", verbose=0)
    for batches in (8, 4):
        interrupt(monkeypatch, batches, recipe, tmp_path / "parts", save_every=0)
    parts = train(recipe, tmp_path / "parts", verbose=0)
    for a, b in zip(whole.get_weights(), parts.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    ends = [history(tmp_path / name) for name in ("whole", "parts")]
    assert [len(end) for end in ends] == [3, 3]
    for a, b in zip(*ends, strict=True):
        for key in ("loss", "val_accuracy", "val_loss", "margin", "required"):
            assert a[key] == pytest.approx(b[key], rel=1e-5)


def test_the_history_records_margins_of_test_images(tmp_path):
    from zoo import data
    from zoo.attacks.victim import victim

    model = train(load(tmp_path), tmp_path / "run", verbose=0)
    last = history(tmp_path / "run")[-1]
    test = data.load("digits", "test").take(50)
    images = test.images.astype("float32") / 255 if test.images.dtype == np.uint8 else test.images
    gap = victim(model).gap(images, test.labels)
    assert last["margin"] == pytest.approx(gap.mean(), rel=1e-4)
    assert last["required"] == pytest.approx(np.sqrt(2) * 0.5 * model.network_lipschitz(), rel=1e-4)


def test_a_recipe_may_replace_the_loss_and_keep_the_learning_rate(tmp_path, monkeypatch):
    compiled = []
    original = keras.Model.compile

    def compile(self, optimizer=None, loss=None, **options):
        compiled.append((optimizer, loss))
        return original(self, optimizer=optimizer, loss=loss, **options)

    monkeypatch.setattr(keras.Model, "compile", compile)
    recipe = load(tmp_path, training={"loss": "cross_entropy", "epochs": 1})
    train(recipe, tmp_path / "run", verbose=0)
    optimizer, loss = compiled[0]
    assert isinstance(loss, keras.losses.SparseCategoricalCrossentropy)
    assert float(optimizer.learning_rate) == pytest.approx(0.003)
    compiled.clear()
    train(load(tmp_path, training={"epochs": 1}), tmp_path / "own", verbose=0)
    assert not isinstance(compiled[0][1], keras.losses.SparseCategoricalCrossentropy)


def test_a_recipe_that_measures_few_images_validates_few(tmp_path):
    """A certificate of all 5,000 validation images may take an hour."""
    recipe = load(tmp_path, measure={"images": 7}, training={"epochs": 1})
    train(recipe, tmp_path / "run", verbose=0)
    record = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    assert record["validation"]["n"] == 7


def test_overrides_are_checked_like_the_file(tmp_path):
    recipe = load(tmp_path, model={"network": {"hidden": [3]}}, seed=7)
    assert recipe["model"]["network"]["hidden"] == [3]
    assert recipe["model"]["network"]["image_shape"] == [8, 8, 1]
    assert recipe["seed"] == 7
    with pytest.raises(ValueError, match=r"digits\.toml, with overrides: training\.epochs: 0 is"):
        load(tmp_path, training={"epochs": 0})


def test_what_cannot_stop_or_be_monitored_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"stop needs validation images; set data\.validation"):
        load(tmp_path, STOPS, data={"validation": 0})
    with pytest.raises(ValueError, match=r"monitor\.quantity: 'loss' is not one of"):
        load(tmp_path, monitor={"quantity": "loss"})
    other = recipes.load("double-backprop-digits", {"monitor": {"quantity": "margin", "images": 9}})
    with pytest.raises(ValueError, match="monitor: a DoubleBackpropNet has no Lipschitz constant"):
        train(other, tmp_path / "run", verbose=0)
    with pytest.raises(ValueError, match="several workers .* take stop out of the recipe"):
        train(load(tmp_path, STOPS), tmp_path / "run", workers=types.SimpleNamespace(count=2))
