"""A checkpoint of somebody else's runs no code, reads no other file, and takes no memory it hides.

Versions of Keras refuse different parts of this by themselves; these tests hold with all of them.
"""

import json
import pathlib

import h5py
import keras
import numpy as np
import pytest

import zoo
from zoo.bounds.rules import rule as rule_module
from zoo.hub import checkpoint

HUGE = 2**40


@keras.saving.register_keras_serializable(package="safety")
class Unruled(keras.layers.Layer):
    """A registered layer that has no rule."""

    def call(self, inputs):
        raise AssertionError("it was called")


def _network(*middle):
    return keras.Sequential(
        [keras.Input((4, 4, 1)), keras.layers.Flatten(), *middle, keras.layers.Dense(3)]
    )


@pytest.fixture
def folder(tmp_path):
    zoo.save(zoo.models.DoubleBackpropNet(_network(keras.layers.ReLU())), tmp_path / "own")
    return tmp_path / "own"


@pytest.fixture
def change(folder):
    """A function that lets another one change the stored arguments of the checkpoint."""

    def change(edit):
        path = folder / checkpoint.CONFIG
        config = json.loads(path.read_text())
        edit(config["config"])
        path.write_text(json.dumps(config))

    return change


def _layers(config):
    return config["network"]["config"]["layers"]


def _layer(name, module="keras.layers", registered=None, **config):
    config = {"name": "it", **config}
    return {"module": module, "class_name": name, "config": config, "registered_name": registered}


LAMBDA = {"class_name": "__lambda__", "config": {"value": "4wEAAAAA", "defaults": None}}
FUNCTION = {"module": "builtins", "class_name": "function", "config": "eval"}
REFUSED = {
    "lambda layer": _layer("Lambda", function=LAMBDA),
    "lambda as an activation": _layer("Activation", activation=LAMBDA),
    "function": _layer("Activation", activation={**FUNCTION, "registered_name": "function"}),
    "function under an allowed name": _layer(
        "Activation", activation={**FUNCTION, "registered_name": "zoo>MaxMin"}
    ),
    "foreign module": _layer("Popen", "subprocess", args=["true"]),
    "module that is in Keras's namespace": _layer("get_file", "keras.utils", origin="http://x"),
    "part of Keras that is no layer": _layer("os.system", "keras.src.utils.file_utils"),
    "saved TensorFlow program": _layer("TFSMLayer", filepath="/nowhere"),
    "vocabulary file": _layer("StringLookup", vocabulary="/etc/passwd"),
    "text with a vocabulary file": _layer("TextVectorization", vocabulary="/etc/passwd"),
    "layer of an old version": {"class_name": "ReLU", "config": {"name": "it"}},
    "registered layer without a rule": _layer("Unruled", __name__, "safety>Unruled"),
    "array of texts": _layer(
        "Rescaling", scale={"class_name": "__numpy__", "config": {"value": "1", "dtype": "S999"}}
    ),
    "wrapper of any layer": _layer("TimeDistributed", layer=_layer("ReLU")),
}


@pytest.mark.parametrize("layer", REFUSED.values(), ids=REFUSED)
def test_objects_that_are_not_allowed_are_refused_before_keras_sees_them(
    layer, folder, change, monkeypatch
):
    change(lambda config: _layers(config).insert(2, layer))
    monkeypatch.setattr(
        keras.saving, "deserialize_keras_object", lambda *_, **__: pytest.fail("Keras got it")
    )
    for weights in (True, False):
        with pytest.raises(zoo.CheckpointError, match=r"names the class|are not numbers"):
            zoo.load(folder, weights=weights)


def test_an_optimizer_of_the_networks_own_is_refused(folder, change):
    optimizer = {"optimizer": _layer("Adam", "keras.optimizers")}
    change(lambda config: config["network"].update(compile_config=optimizer))
    with pytest.raises(zoo.CheckpointError, match=r"names the class keras\.optimizers\.Adam"):
        zoo.load(folder)


def test_what_a_checkpoint_may_not_use_is_not_saved(tmp_path):
    @keras.saving.register_keras_serializable(package="safety")
    class Halve(keras.layers.Layer):
        def call(self, inputs):
            return inputs / 2

    class Odd(zoo.models.DoubleBackpropNet):
        analyse = staticmethod(lambda network: None)

    keras.saving.register_keras_serializable(package="safety")(Odd)
    with pytest.raises(ValueError, match="could not be loaded from a checkpoint: .*Halve"):
        zoo.save(Odd(_network(Halve())), tmp_path / "odd")
    assert not (tmp_path / "odd").exists()


@pytest.mark.integration
def test_networks_of_the_users_own_are_loaded(tmp_path):
    inputs = keras.Input((4, 4, 1))
    z = keras.layers.Flatten()(inputs)
    z = keras.layers.Dense(
        16,
        "relu",
        kernel_initializer="he_normal",
        kernel_regularizer="l2",
        kernel_constraint="max_norm",
    )(z)
    z = keras.layers.Add()([z * 2.0, keras.layers.Rescaling(np.linspace(1, 2, 16))(z)])
    network = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Dropout(0.1)(z)))
    network.compile("adam", "mse")
    model = zoo.models.DoubleBackpropNet(network)
    zoo.save(model, tmp_path / "own")
    x = np.random.default_rng(0).uniform(size=(3, 4, 4, 1)).astype("float32")
    a, b = (m.certify(x, norm="linf") for m in (model, zoo.load(tmp_path / "own")))
    np.testing.assert_array_equal(a.radius, b.radius)


def test_layers_with_a_rule_of_the_users_own_are_loaded_in_a_scope_as_well(tmp_path, monkeypatch):
    # The rule is forgotten after the test.
    monkeypatch.setattr(rule_module, "_rules", dict(rule_module._rules))

    class Halve(keras.layers.Layer):
        def call(self, inputs):
            return inputs / 2.0

    @zoo.bounds.register_rule(Halve)
    class HalveRule(zoo.bounds.AffineRule):
        roundings = 1

        def linear(self, tensor):
            return tensor / 2.0

    with keras.saving.custom_object_scope({"safety>Halve": Halve, "Halve": Halve}):
        zoo.save(zoo.models.DoubleBackpropNet(_network(Halve())), tmp_path / "own")
        assert any(type(layer) is Halve for layer in zoo.load(tmp_path / "own").network.layers)


# The weight file


@pytest.fixture
def weights(folder):
    with h5py.File(folder / checkpoint.WEIGHTS, "r+") as file:
        names = []
        file.visit(
            lambda name: names.append(name) if isinstance(file[name], h5py.Dataset) else None
        )
        yield file, next(name for name in names if file[name].shape == (16, 3))


def _refuse(file, folder, message):
    file.close()
    with pytest.raises(zoo.CheckpointError, match=rf"model\.weights\.h5 does not hold.*{message}"):
        zoo.load(folder)


@pytest.mark.parametrize("link", ["external", "soft", "the same array", "a loop"])
def test_links_are_refused(link, weights, folder, tmp_path):
    file, name = weights
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["secret"] = np.ones((16, 3), "float32")
    if link == "a loop":
        file["again"] = file["/"]
    elif link == "the same array":
        file["again"] = file[name]
    else:
        del file[name]
        external = h5py.ExternalLink(str(tmp_path / "other.h5"), "secret")
        file[name] = external if link == "external" else h5py.SoftLink("/elsewhere")
    _refuse(file, folder, "is a link|under another name")


@pytest.mark.parametrize("kind", ["external", "virtual"])
def test_arrays_in_other_files_are_refused(kind, weights, folder, tmp_path):
    file, name = weights
    del file[name]
    if kind == "external":
        (tmp_path / "bytes").write_bytes(bytes(16 * 3 * 4))
        where = [(str(tmp_path / "bytes"), 0, 16 * 3 * 4)]
        file.create_dataset(name, (16, 3), "float32", external=where)
    else:
        layout = h5py.VirtualLayout((16, 3), "float32")
        layout[...] = h5py.VirtualSource(tmp_path / "other.h5", "secret", (16, 3))
        file.create_virtual_dataset(name, layout)
    _refuse(file, folder, "is stored in another file")


def test_texts_are_refused(weights, folder):
    file, name = weights
    del file[name]
    file[name] = "text"
    _refuse(file, folder, "is no array of numbers")


def test_a_decompression_bomb_is_refused(weights, folder, change):
    """Its arrays are as large as the configuration says, and take no space in the file."""
    file, name = weights
    del file[name]
    file.create_dataset(name, (16, 2**26), "float32", chunks=(16, 2**10), compression="gzip")
    change(lambda config: _layers(config)[-1]["config"].update(units=2**26))
    _refuse(file, folder, "its arrays would unpack to")


# The sizes

SHAPE = {"image_shape": [8, 8, 1], "num_classes": 10}
TINY = {
    "LinfDistNet": {**SHAPE, "width": 4, "depth": 2},
    "LinfDistMLP": {**SHAPE, "width": 4, "depth": 1, "hidden_units": 4},
    "L2NonexpansiveNet": {**SHAPE, "width": 0.0625},
    "CurvatureNet": {"network": {"name": "mlp", **SHAPE, "hidden": [4]}},
    "DoubleBackpropNet": {"network": {"name": "c", **SHAPE, "hidden": [4]}},
    "LipschitzMarginNet": {"network": {"name": "convnet", **SHAPE, "filters": [2], "hidden": [4]}},
}
TOO_LARGE = [
    ("LinfDistNet", {"width": HUGE}),
    ("LinfDistNet", {"depth": HUGE}),
    ("LinfDistNet", {"image_shape": [8, 8, HUGE]}),
    ("LinfDistMLP", {"hidden_units": HUGE}),
    ("L2NonexpansiveNet", {"width": float(HUGE)}),
    ("L2NonexpansiveNet", {"num_classes": HUGE}),
    ("CurvatureNet", {"network": {"hidden": [HUGE]}}),
    ("CurvatureNet", {"network": {"hidden": [1] * 1000}}),
    ("DoubleBackpropNet", {"network": {"hidden": [HUGE]}}),
    ("DoubleBackpropNet", {"network": {"image_shape": [HUGE, 8, 1]}}),
    ("LipschitzMarginNet", {"network": {"filters": [HUGE]}}),
    ("LipschitzMarginNet", {"network": {"kernel_size": 2**20}}),
]


@pytest.mark.parametrize(("name", "changes"), TOO_LARGE)
@pytest.mark.parametrize("weights", [True, False])
def test_sizes_that_the_weight_file_does_not_have_are_refused(name, changes, weights, tmp_path):
    model = getattr(zoo.models, name)(**TINY[name])
    zoo.save(model, tmp_path)
    path = tmp_path / checkpoint.CONFIG
    config = json.loads(path.read_text())
    arguments = config["config"]
    for key, value in changes.items():
        arguments[key] = {**arguments[key], **value} if isinstance(value, dict) else value
    path.write_text(json.dumps(config))
    with pytest.raises(zoo.CheckpointError, match=r"has no array of the shape|asks for \d+ layers"):
        zoo.load(tmp_path, weights=weights)


def test_too_many_units_of_a_users_network_are_refused(folder, change):
    change(lambda config: _layers(config)[-1]["config"].update(units=HUGE))
    with pytest.raises(zoo.CheckpointError, match=rf"no array of the shape \(16, {HUGE}\)"):
        zoo.load(folder)


def test_tensors_that_no_weight_shows_are_refused(tmp_path):
    network = keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            keras.layers.ZeroPadding2D(1),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3),
        ]
    )
    zoo.save(zoo.models.DoubleBackpropNet(network), tmp_path)
    path = tmp_path / checkpoint.CONFIG
    config = json.loads(path.read_text())
    _layers(config["config"])[1]["config"]["padding"] = [[2**20, 2**20], [2**20, 2**20]]
    path.write_text(json.dumps(config))
    with pytest.raises(zoo.CheckpointError, match="takes tensors of the shape"):
        zoo.load(tmp_path)


def test_a_check_of_sizes_leaves_nothing_behind(folder):
    """Keras would give values to variables of the check as soon as it traces another function."""
    with pytest.raises(ValueError, match="does not fit the weights"):
        zoo.load(folder, network={"name": "c", **SHAPE, "hidden": [HUGE]})
    network = _network(keras.layers.Dense(5))
    keras.layers.Dense(2).compute_output_spec(keras.KerasTensor((None, 3)))
    assert network.count_params() == 16 * 5 + 5 + 5 * 3 + 3


def test_deeply_nested_json_is_refused(folder):
    (folder / checkpoint.CONFIG).write_text("[" * 10**6)
    with pytest.raises(zoo.CheckpointError, match="cannot be read"):
        zoo.load(folder)


# Networks by name


def test_a_network_of_the_zoo_is_stored_by_its_name(tmp_path):
    network = {"name": "mlp", "image_shape": (8, 8, 1), "num_classes": np.int64(10), "hidden": (4,)}
    zoo.save(zoo.models.CurvatureNet(network), tmp_path)
    config = json.loads((tmp_path / checkpoint.CONFIG).read_text())["config"]
    assert config["network"] == {"name": "mlp", **SHAPE, "hidden": [4]}
    assert "name" not in config
    again = zoo.load(tmp_path)
    assert [layer.name for layer in again.network.layers] == ["flatten", "dense", "head"]
    assert again.with_new_head(3).get_config()["network"] == {**config["network"], "num_classes": 3}


def test_a_network_that_was_changed_is_stored_as_it_is(tmp_path):
    model = zoo.models.CurvatureNet({"name": "mlp", **SHAPE, "hidden": [4]})
    model.network.layers[1].activation = keras.activations.tanh
    model.network.layers[1].trainable = False
    zoo.save(model, tmp_path)
    layer = zoo.load(tmp_path).network.layers[1]
    assert layer.activation is keras.activations.tanh
    assert not layer.trainable


def test_the_shipped_configurations_have_no_detail_of_keras():
    paths = list((pathlib.Path(zoo.__file__).parents[1] / "weights").glob("*/config.json"))
    assert len(paths) == len(zoo.list_models())
    for path in paths:
        text = path.read_text()
        assert "class_name" not in text, path
        assert "keras" not in text, path
