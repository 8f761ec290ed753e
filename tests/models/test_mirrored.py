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
        metric = zoo.metrics.CertifiedAccuracy(0.3)
        logits_certify = name.startswith(("linf-dist", "l2nnn", "lc-lmt"))
        model.compile(keras.optimizers.SGD(1e-3), metrics=[metric] if logits_certify else [])
    before = [w.copy() for w in model.get_weights()]
    model.fit(x, y, verbose=0)
    evaluated = model.evaluate(x, y, verbose=0, return_dict=True)
    logits = model.predict(x, verbose=0)
    model.save(folder + "/model.keras")
    zoo.save(model, folder + "/folder")
    again = [keras.models.load_model(folder + "/model.keras"), zoo.load(folder + "/folder")]
    found[name] = {
        "trained": any((a != b).any() for a, b in zip(before, model.get_weights())),
        "certified": float(model.certify(x[:8]).radius.max()) > 0,
        "metric": evaluated.get("certified_0.3"),
        "by radii": float(((logits.argmax(1) == y) & (
            model.logit_certificate().radius(logits, x) > 0.3)).mean()) if logits_certify else None,
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
        if result["by radii"] is not None:
            assert result["by radii"] - 0.02 <= result["metric"] <= result["by radii"], name
    assert 0.1 < found["lc-lmt-digits"]["metric"] < 0.9
