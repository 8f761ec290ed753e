"""Keras finds the classes of this package in its files, whoever was imported first."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import zoo

pytestmark = pytest.mark.integration

LOAD = """
import sys, keras
for path in sys.argv[1:]:
    if path.endswith("json"):
        keras.models.model_from_json(open(path).read())
    else:
        keras.models.load_model(path)
"""
ORDERS = {
    "keras first": "import keras, zoo" + LOAD,
    "a part of zoo first": "import zoo; zoo.certificates" + LOAD,
    "a question between": "import zoo, importlib.util as i; i.find_spec('keras')" + LOAD,
    "a part of zoo alone": "import zoo.bounds.graph; import zoo; zoo.load" + LOAD,
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    model = zoo.load("linf-dist-digits")
    model.save(folder / "model.keras")
    inputs = keras.Input((8, 8, 1))
    keras.Model(inputs, keras.layers.Softmax()(model(inputs))).save(folder / "wrapped.keras")
    own = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(10, kernel_regularizer=zoo.losses.RowSumRegularizer(0.1)),
            zoo.layers.MaxMin(),
        ]
    )
    own.compile("adam", zoo.losses.WorstCaseHinge(0.1))
    own.fit(np.zeros((4, 8, 8, 1)), np.arange(4), verbose=0)
    own.save(folder / "own.keras")
    (folder / "model.json").write_text(model.to_json())
    return [str(path) for path in sorted(folder.iterdir())]


@pytest.mark.parametrize("order", ORDERS)
def test_load_model_in_a_new_process(files, order):
    done = subprocess.run(
        [sys.executable, "-c", ORDERS[order], *files],
        capture_output=True,
        text=True,
        # JAX is imported faster.
        env={**os.environ, "KERAS_BACKEND": "tensorflow" if order == "keras first" else "jax"},
    )
    assert done.returncode == 0, done.stderr[-1000:]


def test_two_models_of_the_zoo_are_parts_of_one(digits, tmp_path):
    inputs = keras.Input((8, 8, 1))
    parts = [zoo.load(name) for name in ("linf-dist-digits", "linf-dist-digits", "lc-lmt-digits")]
    whole = keras.Model(inputs, keras.layers.Average()([part(inputs) for part in parts]))
    whole.save(tmp_path / "whole.keras")
    loaded = keras.models.load_model(tmp_path / "whole.keras")
    x = digits.images[:5]
    expected = np.mean([part.logits(x) for part in parts], axis=0)
    np.testing.assert_allclose(loaded.predict(x, verbose=0), expected, atol=1e-5)
    with pytest.raises(zoo.UnsupportedLayerError, match="LinfDistNet"):
        zoo.certify(whole, x, norm="linf")
