"""Training runs: interrupted, resumed, measured, without TensorFlow."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

import zoo
from training import recipe as recipes
from training.__main__ import main
from training.measure import measure
from training.run import train
from zoo import catalog

ROOT = pathlib.Path(zoo.__file__).parent.parent

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


def weights(folder):
    return zoo.load(folder).get_weights()


def assert_same_end(folder, other):
    for a, b in zip(weights(folder), weights(other), strict=True):
        np.testing.assert_array_equal(a, b)
    histories = [json.loads((f / "history.json").read_text())["epochs"] for f in (folder, other)]
    for a, b in zip(*histories, strict=True):
        a.pop("seconds"), b.pop("seconds")
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


def test_interrupted_and_resumed_is_uninterrupted(recipe, tmp_path):
    train(recipe, tmp_path / "whole", verbose=0)
    for epochs in (1, 3, None):
        train(recipe, tmp_path / "parts", epochs=epochs, verbose=0)
    assert_same_end(tmp_path / "whole", tmp_path / "parts")


def test_killed_and_resumed_is_uninterrupted(recipe, recipe_file, tmp_path):
    """The process is killed outright, some time after an epoch was saved."""
    train(recipe, tmp_path / "whole", verbose=0)
    command = [
        sys.executable,
        "-m",
        "training",
        str(recipe_file),
        "--out",
        str(tmp_path / "killed"),
    ]
    child = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "killed").glob("epoch-*.h5")) and time.monotonic() < deadline:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    (state,) = (tmp_path / "killed").glob("epoch-*.h5")
    assert not (tmp_path / "killed" / "run.json").exists(), "it was killed too late to tell"
    assert state.stem < "epoch-0004"
    train(recipe, tmp_path / "killed", verbose=0)
    assert_same_end(tmp_path / "whole", tmp_path / "killed")


def test_a_half_written_state_is_ignored(recipe, tmp_path):
    train(recipe, tmp_path / "whole", verbose=0)
    train(recipe, tmp_path / "cut", epochs=2, verbose=0)
    (tmp_path / "cut" / "partial.weights.h5").write_bytes(b"half")
    train(recipe, tmp_path / "cut", verbose=0)
    assert_same_end(tmp_path / "whole", tmp_path / "cut")


def test_another_recipe_in_the_folder_is_refused(recipe, tmp_path):
    train(recipe, tmp_path / "run", epochs=1, verbose=0)
    with pytest.raises(ValueError, match="holds a run of another recipe"):
        train({**recipe, "seed": 2}, tmp_path / "run", verbose=0)
    other_measure = {**recipe["measure"], "eps": [0.3]}
    train({**recipe, "notes": "new", "measure": other_measure}, tmp_path / "run", verbose=0)


def test_measure_ships_and_records(recipe, tmp_path, monkeypatch):
    manifest = tmp_path / "manifest.json"
    manifest.write_text('{"models": []}')
    monkeypatch.setattr(catalog, "MANIFEST", manifest)
    monkeypatch.setattr(catalog, "WEIGHTS", tmp_path / "weights")
    with pytest.raises(FileNotFoundError, match="no finished run"):
        measure(recipe, tmp_path / "run", verbose=0)
    train(recipe, tmp_path / "run", epochs=1, verbose=0)
    with pytest.raises(ValueError, match="holds 1 of 4 epochs"):
        measure(recipe, tmp_path / "run", verbose=0)
    train(recipe, tmp_path / "run", verbose=0)
    measure(recipe, tmp_path / "run", verbose=0)
    record = zoo.info("tiny-digits")
    assert record.metrics["n"] == 500
    test = zoo.data.load("digits", "test")
    model = zoo.load("tiny-digits")
    certificate = model.certify(test.images)
    assert record.metrics["clean"] == np.mean(certificate.prediction == test.labels)
    measured = {(e["eps"], e["method"]): e["accuracy"] for e in record.metrics["certified"]}
    assert measured["8/255", "interval"] == certificate.accuracy(test.labels, "8/255")
    assert set(measured) == {(e, m) for e in ("0.05", "8/255") for m in ("interval", "lipschitz")}
    card = (tmp_path / "weights" / "tiny-digits" / "README.md").read_text()
    assert f"{measured['0.05', 'interval']:.2%}" in card

    from huggingface_hub import ModelCard

    results = ModelCard(card).data.eval_results
    assert results[0].metric_value == record.metrics["clean"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("depth = 2", "dept = 2", "dept"),
        ('class = "LinfDistNet"', 'class = "Dense"', "no model class 'Dense'"),
        ('class = "LinfDistNet"', "", "'class' is a required property"),
        ("cross_entropy_weight = 0.05", "", "positive first and last"),
        ("validation = 100", "validation = 1400", "holds out 1400 of only 1297"),
        ("image_shape = [8, 8, 1]", "image_shape = [9, 9, 1]", "has images"),
        ("num_classes = 10", "num_classes = 9", r"y must lie in 0\.\.8"),
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


def test_fractions_are_budgets_in_recipes_too(recipe, tmp_path):
    recipe["model"]["epsilon"] = "8/255"
    train(recipe, tmp_path / "run", epochs=1, verbose=0)
    with pytest.raises(ValueError, match="epochs must be a positive integer, got 0"):
        train(recipe, tmp_path / "run", epochs=0, verbose=0)


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
            sys.executable, "-c", program, str(recipe_file), "--quiet",
            "--data", str(tmp_path / "digits.npz"), "--out", str(tmp_path / "run"),
        ],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["backend"] == "jax"
    assert len(zoo.load(tmp_path / "run").certify(zoo.data.load("digits").images[:9])) == 9
