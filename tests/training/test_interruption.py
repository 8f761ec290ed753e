"""Ctrl-C and a request to terminate: real signals, and what remains of the run."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

import zoo
from tests.training.test_run import RECIPE, assert_same_end, place_of
from training import recipe as recipes
from training.__main__ import main
from training.clock import Clock
from training.folder_lock import locked
from training.run import train

pytestmark = pytest.mark.integration

ROOT = pathlib.Path(zoo.__file__).parent.parent


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "tiny-digits.toml").write_text(RECIPE)
    return recipes.load(tmp_path / "tiny-digits.toml")


@pytest.fixture(autouse=True)
def _handlers():
    """Those of a program in the foreground, wherever the tests run."""
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of two epochs, of 11 batches each, that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "tiny-digits.toml").write_text(RECIPE)
    train(recipes.load(folder / "tiny-digits.toml"), folder / "run", epochs=2, verbose=0)
    return folder / "run"


def signals(*places):
    """A clock that sends this process signals when batches begin, counted from 0."""

    class Signalled(Clock):
        begun = 0

        def on_train_batch_begin(self, batch, logs=None):
            super().on_train_batch_begin(batch, logs)
            for place, number in places:
                if place == self.begun:
                    signal.raise_signal(number)
            self.begun += 1

    return Signalled


@pytest.mark.parametrize(
    ("number", "place", "words"),
    [
        (signal.SIGINT, 3, "epoch 1, after batch 4 of 11"),
        (signal.SIGTERM, 15, "epoch 2, after batch 5 of 11"),
        (signal.SIGINT, 10, "the end of epoch 1"),
        (signal.SIGINT, 21, "the end of epoch 2"),
    ],
)
def test_an_interrupted_run_goes_on_as_if_nothing_had_been(
    recipe, whole, tmp_path, monkeypatch, capsys, number, place, words
):
    before = signal.getsignal(number)
    with monkeypatch.context() as inner:
        inner.setattr("training.run.Clock", signals((place, number)))
        with pytest.raises(KeyboardInterrupt, match=f"the same command goes on from {words}"):
            train(recipe, tmp_path / "run", epochs=2, verbose=0)
    assert signal.getsignal(number) is before
    assert "the state will be saved after this batch" in capsys.readouterr().err
    (state,) = (tmp_path / "run").glob("epoch-*.h5")
    assert place_of(state.name) == words
    train(recipe, tmp_path / "run", epochs=2, verbose=1)
    expected = "nothing is left to train after" if place == 21 else "goes on from"
    assert f"{expected} {words}" in capsys.readouterr().err
    assert_same_end(whole, tmp_path / "run")


def test_a_second_signal_ends_at_once(recipe, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("training.run.Clock", signals((3, signal.SIGINT), (3, signal.SIGINT)))
    path = str(tmp_path / "tiny-digits.toml")
    assert main([path, "--out", str(tmp_path / "run"), "--quiet"]) == 130
    assert "no saved state; the same command starts from the beginning" in capsys.readouterr().err
    assert not list((tmp_path / "run").glob("*.h5"))


def test_a_job_that_ignores_ctrl_c_goes_on_ignoring_it(recipe, tmp_path, monkeypatch):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    monkeypatch.setattr("training.run.Clock", signals((3, signal.SIGINT)))
    train(recipe, tmp_path / "run", epochs=1, verbose=0)
    assert (tmp_path / "run" / "run.json").exists()


def test_the_first_epoch_leaves_a_state(recipe, tmp_path, monkeypatch, capsys):
    """However far the next periodic one is; and what was trained after it is not said to exist."""
    stop = signals((30, signal.SIGINT), (30, signal.SIGINT))
    with monkeypatch.context() as inner:
        inner.setattr("training.run.Clock", stop)
        with pytest.raises(KeyboardInterrupt, match="goes on from the end of epoch 1"):
            train(recipe, tmp_path / "run", verbose=1)
    assert "no saved state: starts from the beginning" in capsys.readouterr().err
    train(recipe, tmp_path / "run", epochs=2, verbose=1)
    told = capsys.readouterr().err
    assert "goes on from the end of epoch 1; what was trained after it, up to the end of" in told
    assert "of epoch 2, was lost" in told


def test_ctrl_c_to_the_command(tmp_path):
    """Another process, as a user starts and interrupts it."""
    (tmp_path / "long.toml").write_text(RECIPE.replace("epochs = 4", "epochs = 100000"))
    command = [sys.executable, "-m", "training", str(tmp_path / "long.toml"), "--quiet"]
    child = subprocess.Popen(
        [*command, "--out", str(tmp_path / "run")], cwd=ROOT, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not list((tmp_path / "run").glob("epoch-*.h5")) and time.monotonic() < deadline:
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    _, told = child.communicate(timeout=60)
    assert child.returncode == 130, told
    (state,) = (tmp_path / "run").glob("epoch-*.h5")
    assert f"interrupted; the same command goes on from {place_of(state.name)}" in told


def test_one_process_trains_in_a_folder(recipe, tmp_path):
    """A second one would delete the first one's states."""
    (tmp_path / "run").mkdir()
    with locked(tmp_path / "run"), pytest.raises(ValueError, match="another process trains in"):
        train(recipe, tmp_path / "run", epochs=1, verbose=0)
    train(recipe, tmp_path / "run", epochs=1, verbose=0)


@pytest.mark.parametrize("verbose", [0, 1])
def test_a_training_in_a_notebook(recipe, tmp_path, monkeypatch, capsys, verbose):
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    recipe["data"].pop("validation")  # whose certificate needs the display of a real notebook
    train(recipe, tmp_path / "run", epochs=1, verbose=verbose)
    assert ("epoch 1/1" in capsys.readouterr().err) == bool(verbose)
    assert (tmp_path / "run" / "run.json").exists()
