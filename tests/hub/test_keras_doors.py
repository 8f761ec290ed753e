"""Models of every approach are saved, copied and loaded again by Keras's own functions."""

import copy
import os
import pickle
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest

import zoo
from tests.backend import BACKEND

pytestmark = pytest.mark.integration

SHAPE = (4, 4, 1)


def chain(activation):
    dense = keras.layers.Dense
    return keras.Sequential(
        [keras.Input(SHAPE), keras.layers.Flatten(), dense(5, activation), dense(3)]
    )


APPROACHES = {
    "linf-dist": lambda: zoo.models.LinfDistNet(SHAPE, 3, width=5, depth=2),
    "linf-dist-mlp": lambda: zoo.models.LinfDistMLP(SHAPE, 3, width=5, depth=2),
    "l2nnn": lambda: zoo.models.L2NonexpansiveNet(SHAPE, 3, network="dense", width=0.005),
    "lmt": lambda: zoo.models.LipschitzMarginNet(chain("relu"), variant="lmt"),
    "lc-lmt": lambda: zoo.models.LipschitzMarginNet(chain("relu"), variant="lc-lmt"),
    "double-backprop": lambda: zoo.models.DoubleBackpropNet(chain("relu")),
    "crt": lambda: zoo.models.CurvatureNet(chain("softplus")),
}

# It knows of zoo by the first line alone.
FRESH = """
import zoo
import sys
import keras, numpy as np, pickle
failed = []
for name in sys.argv[1:]:
    expected = np.load(name + ".npz")
    with open(name + ".pickle", "rb") as file:
        models = {"a pickle": pickle.load(file)}
    for path in (name + ".keras", name + "-callback.keras"):
        models[path] = keras.models.load_model(path)
    with open(name + ".json") as file:
        bare = keras.models.model_from_json(file.read())
    bare.load_weights(name + ".weights.h5")
    models["the weights of a callback"] = bare
    models["zoo.load"] = zoo.load("./" + name + ".keras")
    for path, model in models.items():
        # Compiled once for each approach: that takes far longer than the rest.
        compute = model.predict_on_batch if path == "zoo.load" else model
        logits = keras.ops.convert_to_numpy(compute(expected["x"]))
        if not np.allclose(logits, expected["logits"], atol=1e-5):
            failed.append(f"{name}: {path}")
        if not np.allclose(model.certify(expected["x"]).radius, expected["radius"], atol=1e-5):
            failed.append(f"radius of {name}: {path}")
    # Training goes on, with the optimizer and the loss that were saved.
    again = models[name + "-callback.keras"]
    if int(again.optimizer.iterations) != 2:
        failed.append(f"optimizer of {name}")
    again.fit(expected["x"], expected["y"], verbose=0)
assert not failed, failed
"""


@pytest.fixture(scope="module")
def images():
    random = np.random.default_rng(0)
    return random.random((8, *SHAPE), dtype="float32"), random.integers(0, 3, 8)


@pytest.fixture(scope="module")
def trained(images, tmp_path_factory):
    """A model of each approach after two steps of training, and the folder of its files."""
    folder, models = tmp_path_factory.mktemp("doors"), {}
    for name, make in APPROACHES.items():
        models[name] = model = make()
        model.compile(run_eagerly=True)
        checkpoint = keras.callbacks.ModelCheckpoint
        callbacks = [
            checkpoint(str(folder / f"{name}.weights.h5"), save_weights_only=True),
            checkpoint(str(folder / f"{name}-callback.keras")),
        ]
        model.fit(*images, batch_size=4, verbose=0, callbacks=callbacks)
    return models, folder


def logits_of(model, x):
    """What ``model.predict`` returns, without the time to compile it."""
    return keras.ops.convert_to_numpy(model(x, training=False))


@pytest.mark.parametrize("name", APPROACHES)
def test_copies_compute_the_same(trained, images, name):
    model, x = trained[0][name], images[0]
    serialized = keras.saving.serialize_keras_object(model)
    copies = {
        "deepcopy": copy.deepcopy(model),
        "pickle": pickle.loads(pickle.dumps(model)),
        "from_config": type(model).from_config(model.get_config()),
        "clone_model": keras.models.clone_model(model),
        "deserialize": keras.saving.deserialize_keras_object(serialized),
    }
    expected, radius = logits_of(model, x), model.certify(x).radius
    for how, again in copies.items():
        assert type(again) is type(model), how
        if how not in ("deepcopy", "pickle"):  # the others are untrained
            assert not np.allclose(logits_of(again, x), expected, atol=1e-3), how
            again.set_weights(model.get_weights())
        np.testing.assert_allclose(logits_of(again, x), expected, atol=1e-5, err_msg=how)
        np.testing.assert_allclose(again.certify(x).radius, radius, atol=1e-5, err_msg=how)
        # No weight is shared.
        again.set_weights([weight + 1.0 for weight in again.get_weights()])
        np.testing.assert_array_equal(logits_of(model, x), expected, err_msg=how)


def test_a_fresh_process_that_imports_zoo_loads_all_of_them(trained, images):
    (models, folder), (x, y) = trained, images
    for name, model in models.items():
        model.save(folder / f"{name}.keras")
        (folder / f"{name}.json").write_text(model.to_json())
        (folder / f"{name}.pickle").write_bytes(pickle.dumps(model))
        logits, radius = logits_of(model, x), model.certify(x).radius
        np.savez(folder / f"{name}.npz", x=x, y=y, logits=logits, radius=radius)
    done = subprocess.run(
        [sys.executable, "-c", FRESH, *models],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": BACKEND, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr[-1500:]


def test_a_keras_file_takes_what_a_folder_takes(trained, images):
    models, folder = trained
    model, x = models["linf-dist"], images[0]
    path = folder / "taken.keras"
    model.save(path)
    expected = model.predict(x, verbose=0)
    assert zoo.load(path).compiled
    other = zoo.load(path, epsilon=0.3)
    assert float(other.epsilon) == 0.3
    np.testing.assert_allclose(other.predict(x, verbose=0), expected, atol=1e-5)
    assert zoo.load(path, num_classes=7).output_shape == (None, 7)
    fresh = zoo.load(path, weights=False, image_shape=(6, 6, 3))
    assert fresh.input_shape == (None, 6, 6, 3)


def test_bad_keras_files_are_named(tmp_path):
    ordinary = tmp_path / "ordinary.keras"
    chain("relu").save(ordinary)
    with pytest.raises(zoo.CheckpointError, match="holds a Sequential, not a model of the zoo"):
        zoo.load(ordinary)
    damaged = tmp_path / "damaged.keras"
    damaged.write_bytes(b"nothing")
    with pytest.raises(zoo.CheckpointError, match=r"damaged\.keras is damaged: it is no zip"):
        zoo.load(damaged)
    with zipfile.ZipFile(damaged, "w") as archive:
        archive.writestr("config.json", "nothing")
    with pytest.raises(zoo.CheckpointError, match=r"damaged\.keras cannot be loaded: [^\n]+$"):
        zoo.load(damaged)
    with pytest.raises(zoo.CheckpointError, match="is a file, not a checkpoint folder"):
        zoo.hub.describe(ordinary)
    with pytest.raises(zoo.CheckpointError, match=r"no such folder or \.keras file"):
        zoo.load(tmp_path / "missing.keras")


def test_a_folder_or_file_without_separator_is_suggested(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    zoo.save(trained[0]["linf-dist"], "mine")
    trained[0]["linf-dist"].save("mine.keras")
    with pytest.raises(zoo.UnknownModelError, match=r"a folder of that name.*'\./mine'$"):
        zoo.load("mine")
    with pytest.raises(zoo.UnknownModelError, match=r"a file of that name.*'\./mine\.keras'$"):
        zoo.load("mine.keras")
    assert zoo.load("./mine").output_shape == zoo.load("./mine.keras").output_shape == (None, 3)


@pytest.mark.parametrize("name", APPROACHES)
@pytest.mark.parametrize("saved", ["folder", "file"])
def test_weights_for_other_images_are_refused_in_one_line(trained, tmp_path, name, saved):
    """Such as a new head for colour images of 64 × 64 pixels."""
    model, path = trained[0][name], tmp_path / "mine.keras"
    if saved == "file":
        model.save(path)
    else:
        zoo.save(model, path := tmp_path)
    with pytest.raises((ValueError, TypeError)) as error:
        zoo.load(path, num_classes=5, image_shape=(64, 64, 3))
    message = str(error.value)
    assert "\n" not in message
    assert len(message) < 300 + len(str(path))
    assert "image_shape" in message
    if "network" not in model.get_config() or name == "l2nnn":
        assert "those of image_shape=" in message


def test_an_unknown_argument_is_named():
    with pytest.raises(TypeError, match="LinfDistNet has no argument 'wdith'; it has .*width"):
        zoo.load("linf-dist-digits", wdith=8)
    with pytest.raises(ValueError, match=r"does not fit: image_shape must be [^\n]+$"):
        zoo.load("linf-dist-digits", image_shape=(8, 8), weights=False)
