"""Several devices train what one trains, on JAX."""

import os
import pathlib
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import zoo
from training.__main__ import main

pytestmark = pytest.mark.scale

ROOT = pathlib.Path(zoo.__file__).parent.parent

RECIPE = """
approach = "crt"
seed = 1
[data]
name = "digits"
images = 256
[model]
class = "CurvatureNet"
epsilon = 0.3
attack_steps = 3
[model.network]
name = "mlp"
hidden = [16]
activation = "softplus"
image_shape = [8, 8, 1]
num_classes = 10
[training]
epochs = 2
batch_size = 64
learning_rate = 0.01
[measure]
eps = [0.1]
attack_steps = 2
attack_restarts = 1
"""

PROGRAM = textwrap.dedent("""
    import pathlib, sys
    import keras, numpy as np, zoo
    from training.__main__ import main

    recipe, devices, folder = sys.argv[1], int(sys.argv[2]), pathlib.Path(sys.argv[3])
    assert len(keras.distribution.list_devices()) == devices
    options = ["--data-parallel"] if devices > 1 else []
    assert main([recipe, "--out", str(folder), "--quiet", *options]) == 0
    found = {f"run-{i}": w for i, w in enumerate(zoo.load(folder).get_weights())}

    if devices > 1:  # as a user has it
        keras.distribution.set_distribution(keras.distribution.DataParallel())
    images = zoo.data.load("digits", "train").take(256)
    test = zoo.data.load("digits", "test").images[:21]
    network = {"name": "mlp", "hidden": [16], "image_shape": [8, 8, 1], "num_classes": 10}
    for name, make in {
        "lmt": lambda: zoo.models.LipschitzMarginNet(network, epsilon=0.3),
        "linf": lambda: zoo.models.LinfDistNet((8, 8, 1), 10, width=16, depth=2),
    }.items():
        keras.utils.set_random_seed(0)
        model = make()
        model.compile(keras.optimizers.Adam(0.01))
        model.fit(images.images, images.labels, batch_size=64, epochs=2, shuffle=False, verbose=0)
        assert len(model.trainable_variables[0].value.sharding.device_set) == devices
        found |= {f"{name}-{i}": w for i, w in enumerate(model.get_weights())}
        found[f"{name}-radius"] = model.certify(test, batch_size=16).radius
        found[f"{name}-attacked"] = model.attack(test, None, "fgsm", eps=0.1, batch_size=16)
    np.savez(folder.with_suffix(".npz"), **found)
""")


def test_two_devices_train_what_one_trains(tmp_path):
    """By the command and by plain ``fit``; certificates and attacks work beside it."""
    pytest.importorskip("jax")
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(RECIPE)
    runs = {}
    for devices in (1, 2):
        flags = f"--xla_force_host_platform_device_count={devices}"
        runs[devices] = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, recipe, str(devices), tmp_path / str(devices)],
            env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    for run in runs.values():
        output, _ = run.communicate(timeout=250)
        assert run.returncode == 0, output
    one, two = (dict(np.load(tmp_path / f"{devices}.npz")) for devices in (1, 2))
    assert one.keys() == two.keys()
    for name, expected in one.items():
        np.testing.assert_allclose(two[name], expected, atol=2e-5, err_msg=name)
        assert not name.endswith("radius") or expected.max() > 0


def test_where_there_is_none(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("keras.backend.backend", lambda: "tensorflow")
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(RECIPE)
    assert main([str(recipe), "--out", str(tmp_path / "run"), "--data-parallel"]) == 1
    assert "several devices needs KERAS_BACKEND=jax" in capsys.readouterr().err
