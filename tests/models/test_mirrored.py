"""Every approach trains, certifies and is saved under a strategy that mirrors its variables."""

import json
import os
import subprocess
import sys

import pytest

from tests.backend import BACKEND

pytestmark = [
    pytest.mark.scale,
    pytest.mark.skipif(BACKEND != "tensorflow", reason="a strategy of TensorFlow"),
]

PROGRAM = """
import json, sys
import keras, tensorflow as tf, zoo

device = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
train = zoo.data.load("digits", "train").take(128)
x, y, folder = train.images, train.labels, sys.argv[1]
makers = {name: lambda name=name: zoo.load(name) for name in (
    "linf-dist-digits", "l2nnn-digits", "lc-lmt-digits", "crt-digits", "double-backprop-digits")}
makers["mlp"] = lambda: zoo.models.LinfDistMLP((8, 8, 1), 10, width=16, depth=2)
found = {}
for name, make in makers.items():
    with strategy.scope():
        model = make()
        model.compile(keras.optimizers.SGD(1e-3))
    before = [w.copy() for w in model.get_weights()]
    model.fit(x, y, verbose=0)
    model.evaluate(x, y, verbose=0)
    logits = model.predict(x, verbose=0)
    model.save(folder + "/model.keras")
    zoo.save(model, folder + "/folder")
    again = [keras.models.load_model(folder + "/model.keras"), zoo.load(folder + "/folder")]
    found[name] = {
        "trained": any((a != b).any() for a, b in zip(before, model.get_weights())),
        "certified": float(model.certify(x[:8]).radius.max()) > 0,
        "loaded": [float(abs(other.predict(x, verbose=0) - logits).max()) for other in again],
    }
print(json.dumps(found))
"""


def test_models_under_a_mirrored_strategy(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": BACKEND},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found) == 6
    for name, result in found.items():
        assert result["trained"], name
        assert result["certified"], name
        assert max(result["loaded"]) < 1e-4, name
