"""Several workers train what one process trains."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

import zoo
from tests.backend import BACKEND
from training import recipe as recipes
from training.run import train
from training.workers import Workers

pytestmark = pytest.mark.scale

ROOT = pathlib.Path(zoo.__file__).parent.parent

OUTSIDE = "this process must be one of them"
RECIPE = """
approach = "{name}"
seed = 1
[data]
name = "digits"
images = 512
validation = 128
[augment]
shift = 1
[model]
{model}
[training]
epochs = 3
batch_size = 64
learning_rate = 0.01
weight_decay = 0.001
[measure]
eps = [0.1]
attack_steps = 2
attack_restarts = 1
"""
NETWORK = """
[model.network]
name = "{}"
hidden = [16]
image_shape = [8, 8, 1]
num_classes = 10
"""
MODELS = {
    "lipschitz-margin": 'class = "LipschitzMarginNet"\nepsilon = 0.3' + NETWORK.format("mlp"),
    "curvature": 'class = "CurvatureNet"\nepsilon = 0.3'
    + NETWORK.format("mlp")
    + 'activation = "softplus"',
    "double-backprop": 'class = "DoubleBackpropNet"\nepsilon = 0.1\npenalty_weight = 0.01'
    + NETWORK.format("c"),
    "linf-dist": 'class = "LinfDistNet"\nimage_shape = [8, 8, 1]\nnum_classes = 10\n'
    "width = 16\ndepth = 2\nepsilon = 0.1",
}
# Each of its batches is centred on its own mean.
BY_SHARES = ("linf-dist",)

WORKER = textwrap.dedent("""
    import pathlib, sys
    import numpy as np
    from training import recipe as recipes
    from training.run import train
    from training.workers import Workers

    workers = Workers.from_environment()
    for path in sys.argv[1:]:
        path = pathlib.Path(path)
        recipe, folder = recipes.load(path), path.with_suffix("")
        train(recipe, folder, epochs=1, workers=workers, verbose=0)
        model = train(recipe, folder, workers=workers, verbose=0)
        np.savez(path.with_suffix(f".{workers.index}.npz"), *model.get_weights())
""")


def start(folder, command, count=2):
    """Processes with a ``TF_CONFIG`` each, on the loopback; temporary files are in the folder."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    cluster = {"worker": [f"127.0.0.1:{found.getsockname()[1]}" for found in sockets]}
    for found in sockets:
        found.close()
    return [
        subprocess.Popen(
            [sys.executable, *map(str, command)],
            cwd=ROOT,
            env={
                **os.environ,
                "TMPDIR": str(folder),
                "TF_CONFIG": json.dumps(
                    {"cluster": cluster, "task": {"type": "worker", "index": index}}
                ),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for index in range(count)
    ]


def finish(processes, timeout=200):
    """Exit codes and outputs; none is left behind."""
    try:
        outputs = [process.communicate(timeout=timeout)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return [process.returncode for process in processes], outputs


@pytest.mark.skipif(BACKEND != "tensorflow", reason="workers are TensorFlow's")
def test_two_workers_train_what_one_process_trains(tmp_path):
    """Interrupted after an epoch, too: the second worker takes over the chief's state."""
    paths = {name: tmp_path / f"{name}.toml" for name in MODELS}
    for name, model in MODELS.items():
        paths[name].write_text(RECIPE.format(name=name, model=model))
    codes, outputs = finish(start(tmp_path, ["-c", WORKER, *paths.values()]))
    assert codes == [0, 0], outputs
    for name, path in paths.items():
        weights = [list(np.load(path.with_suffix(f".{i}.npz")).values()) for i in (0, 1)]
        for ours, theirs in zip(*weights, strict=True):
            np.testing.assert_array_equal(ours, theirs)
        one = train(recipes.load(path), tmp_path / "one" / name, verbose=0)
        records = [
            json.loads((folder / "history.json").read_text())["epochs"]
            for folder in (path.with_suffix(""), tmp_path / "one" / name)
        ]
        assert len(records[0]) == len(records[1]) == 3
        if name not in BY_SHARES:
            for ours, expected in zip(weights[0], one.get_weights(), strict=True):
                np.testing.assert_allclose(ours, expected, atol=2e-5)
            for ours, expected in zip(*records, strict=True):
                assert ours["loss"] == pytest.approx(expected["loss"], abs=1e-4)
                assert ours["accuracy"] == pytest.approx(expected["accuracy"], abs=1e-6)
        run = json.loads((path.with_suffix("") / "run.json").read_text())
        assert run["workers"] == 2


@pytest.mark.skipif(BACKEND != "tensorflow", reason="workers are TensorFlow's")
def test_a_worker_that_is_lost_is_an_error_of_the_others(tmp_path):
    """They do not wait for it."""
    path = tmp_path / "tiny.toml"
    model = MODELS["lipschitz-margin"]
    path.write_text(RECIPE.format(name="tiny", model=model).replace("= 3\n", "= 100000\n"))
    command = ["-m", "training", path, "--out", tmp_path / "run", "--quiet"]
    processes = start(tmp_path, command)
    deadline = time.monotonic() + 120
    history = tmp_path / "run" / "history.json"
    while time.monotonic() < deadline and not history.exists() and processes[0].poll() is None:
        time.sleep(0.1)
    processes[1].send_signal(signal.SIGKILL)
    codes, outputs = finish(processes)
    assert codes == [1, -signal.SIGKILL], outputs
    assert "error: another worker was lost; start all workers again" in outputs[0]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "TF_CONFIG must be like"),
        ('{"cluster": {"worker": ["a:1", "b:1"]}}', "'task'"),
        ('{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "ps", "index": 0}}', OUTSIDE),
        ('{"cluster": {"worker": ["a:1", "b:1"], "ps": ["c:1"]}, "task": {}}', "'type'"),
        ('{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index":2}}', OUTSIDE),
    ],
)
def test_a_configuration_that_is_none(config, message, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(ValueError, match=message):
        Workers.from_environment()


@pytest.mark.parametrize("config", ["", "{}", '{"cluster": {"worker": ["127.0.0.1:1"]}}'])
def test_one_worker_is_none(config, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config)
    workers = Workers.from_environment()
    assert (workers.count, workers.is_chief) == (1, True)
    assert workers.share(7) == slice(0, 7)
    assert workers.callbacks() == []


def test_shares():
    assert [Workers(4, index).share(64) for index in (0, 3)] == [slice(0, 16), slice(48, 64)]
    with pytest.raises(ValueError, match="batch_size 63 is no multiple of 2 workers"):
        Workers(2, 0).share(63)
    with pytest.raises(ValueError, match="not for minutes"):
        train({}, "never", minutes=1, workers=Workers(2, 0))
