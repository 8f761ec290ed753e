"""From a folder to a model: checkpoints, overrides, new heads."""

import copy
import json

import keras
import numpy as np
import pytest

import zoo
from tests.backend import BACKEND, slow_to_compile
from zoo.hub import checkpoint, download


def _settings(model):
    """The configuration without the name, which Keras makes up."""
    return {key: value for key, value in model.get_config().items() if key != "name"}


@pytest.fixture
def folder(small_model, tmp_path):
    small_model.head.bias.assign([0.1, 0.2, 0.3])
    small_model.hidden[1].mean.assign(np.linspace(9, 11, 12))
    checkpoint.save(small_model, tmp_path / "net")
    return tmp_path / "net"


def test_save_and_load_keep_radii(small_model, folder, small_images):
    again = zoo.load(folder)
    assert _settings(again) == _settings(small_model)
    for method in ("interval", "lipschitz"):
        a, b = (m.certify(small_images, method=method) for m in (small_model, again))
        np.testing.assert_array_equal(a.radius, b.radius)
        np.testing.assert_array_equal(a.prediction, b.prediction)


def test_float16_halves_kernels_and_nothing_else(small_model, folder, tmp_path):
    checkpoint.save(small_model, tmp_path / "half", float16=True)
    half = zoo.load(tmp_path / "half")
    for stored, exact in zip(half.get_weights(), small_model.get_weights(), strict=True):
        expected = exact.astype("float16") if np.ndim(exact) == 2 else exact
        np.testing.assert_array_equal(stored, np.asarray(expected, "float32"))


def test_what_could_not_be_loaded_is_not_saved(small_model, tmp_path):
    class Mine(zoo.models.LinfDistNet):
        pass

    with pytest.raises(ValueError, match="Mine is not registered"):
        zoo.save(Mine.from_config(small_model.get_config()), tmp_path / "mine")
    small_model.hidden[0].kernel.assign(np.full((12, 16), 1e5))
    with pytest.raises(ValueError, match="too large for float16"):
        zoo.save(small_model, tmp_path / "large", float16=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.integration
def test_the_optimizer_is_left_out(small_model, small_images, tmp_path):
    checkpoint.save(small_model, tmp_path / "before")
    small_model.compile()
    small_model.fit(small_images, np.zeros(20, int), verbose=0)
    checkpoint.save(small_model, tmp_path / "after")
    size = [(tmp_path / name / checkpoint.WEIGHTS).stat().st_size for name in ("before", "after")]
    assert size[1] < 1.2 * size[0]


def test_saving_over_a_checkpoint_leaves_no_other_files(small_model, folder):
    checkpoint.save(small_model, folder)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.weights.h5"]


def test_without_weights(folder):
    fresh = zoo.load(folder, weights=False)
    (folder / checkpoint.WEIGHTS).unlink()
    assert _settings(zoo.load(folder, weights=False)) == _settings(fresh)
    with pytest.raises(zoo.CheckpointError, match=r"has no model\.weights\.h5"):
        zoo.load(folder)


def test_overrides(folder):
    assert zoo.load(folder, implementation="portable").implementation == "portable"
    with pytest.raises(TypeError, match="no argument .widht."):
        zoo.load(folder, widht=3)


def test_overridden_budgets_are_trained_for(folder):
    model = zoo.load(folder, epsilon=0.05, cross_entropy_weight=0.25)
    assert model.training_epsilon == pytest.approx(0.05)
    assert model.cross_entropy_weight == pytest.approx(0.25)


def test_a_folder_does_not_shadow_a_catalog_name(small_model, tmp_path, monkeypatch):
    zoo.save(small_model, tmp_path / "linf-dist-digits")
    monkeypatch.chdir(tmp_path)
    assert zoo.load("linf-dist-digits").image_shape == (8, 8, 1)
    assert zoo.load("./linf-dist-digits").image_shape == (4, 4, 1)


@pytest.mark.integration
def test_new_head_keeps_the_features(folder, small_model, small_images):
    model = zoo.load(folder, num_classes=7)
    assert model.num_classes == 7
    for new, old in zip(model.hidden, small_model.hidden, strict=True):
        for a, b in zip(new.get_weights(), old.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
    certificate = model.certify(small_images)
    assert certificate.num_classes == 7
    model.compile()
    model.fit(small_images, np.arange(20) % 7, verbose=0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<html>", "cannot be read"),
        ("[]", "lacks one of the entries"),
        ('{"format": 99, "class": "zoo>LinfDistNet", "config": {}}', "format 99"),
        ('{"format": 1, "class": "zoo>Other", "config": {}}', "'zoo>Other'"),
        ('{"format": 1, "class": "Dense", "config": {}}', "'Dense'"),
        ('{"format": 1, "class": ["x"], "config": {}}', "class must be a name"),
        ('{"format": 1, "class": "zoo>LinfDistNet", "config": {"width": 0}}', "LinfDistNet"),
    ],
)
def test_a_damaged_config_is_named(folder, content, message):
    (folder / checkpoint.CONFIG).write_text(content)
    with pytest.raises(zoo.CheckpointError, match=message):
        zoo.load(folder)


@pytest.mark.parametrize("damage", ["html", "truncated", "other network"])
def test_damaged_weights_are_named(folder, damage, tmp_path):
    path = folder / checkpoint.WEIGHTS
    if damage == "html":
        path.write_text("<html>not weights</html>")
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-500])
    else:
        checkpoint.save(zoo.models.LinfDistNet((4, 4, 1), 3, width=5, depth=3), tmp_path / "other")
        path.write_bytes((tmp_path / "other" / checkpoint.WEIGHTS).read_bytes())
    with pytest.raises(zoo.CheckpointError, match=r"model\.weights\.h5 does not hold"):
        zoo.load(folder)


def test_unknown_names():
    with pytest.raises(zoo.UnknownModelError, match="did you mean .*linf-dist-digits"):
        zoo.load("linf-dist-digit")
    with pytest.raises(zoo.CheckpointError, match="no such folder"):
        zoo.load("./nowhere")


def test_config_is_a_table_of_the_class_and_its_arguments(folder):
    config = json.loads((folder / checkpoint.CONFIG).read_text())
    assert set(config) == {"format", "class", "config", "zoo_version"}
    assert config["class"] == "zoo>LinfDistNet"
    assert config["config"]["mean"] == 0.4


def test_a_name_of_ones_own_is_kept_and_an_automatic_one_is_not(tmp_path):
    for name, kept in (("mine", True), (None, False)):
        model = zoo.models.LinfDistNet((4, 4, 1), 3, width=5, depth=2, name=name)
        zoo.save(model, tmp_path)
        assert (zoo.load(tmp_path).name == model.name) is kept


OWN_LOSSES = {
    "linf-dist-digits": lambda model: model.default_loss(),
    "l2nnn-digits": lambda model: model.default_loss(),
    "crt-digits": lambda model: model.default_loss(),
    "double-backprop-digits": lambda model: model.default_loss(),
    "lc-lmt-digits": lambda model: zoo.losses.LipschitzMargin(model.estimate, 0.5),
}


@pytest.mark.integration
@pytest.mark.parametrize("name", OWN_LOSSES)
def test_a_model_compiled_with_its_own_loss_is_loaded_and_copied(name, digits, tmp_path):
    x, y = digits.images[:64], digits.labels[:64]
    model = zoo.load(name)
    eager = BACKEND == "tensorflow"  # which is quicker than to compile each copy's program
    model.compile(keras.optimizers.SGD(1e-3), OWN_LOSSES[name](model), run_eagerly=eager)
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "model.keras")
    expected = model.evaluate(x, y, verbose=0)
    for again in (keras.models.load_model(tmp_path / "model.keras"), copy.deepcopy(model)):
        # The estimate of a Lipschitz constant goes on with every call.
        np.testing.assert_allclose(again.evaluate(x, y, verbose=0), expected, rtol=0.02)
        before = again.get_weights()
        again.fit(x, y, verbose=0)
        assert any((a != b).any() for a, b in zip(before, again.get_weights(), strict=True))
        again.certify(x[:2])


@pytest.mark.integration
def test_a_lipschitz_margin_takes_the_estimate_of_the_model_it_compiles(digits):
    x, y = digits.images[:64], digits.labels[:64]
    loss = zoo.losses.LipschitzMargin(None, 0.5)
    with pytest.raises(ValueError, match="no estimate of a Lipschitz constant"):
        loss(np.array([0]), np.zeros((1, 10), "float32"))
    model = zoo.load("lc-lmt-digits")
    model.compile("adam", loss)
    model.fit(x, y, verbose=0)
    assert model.loss.lipschitz == model.estimate
    assert loss.lipschitz is None, "another model may be compiled with it"


@pytest.mark.parametrize("loss", ["hinge", "mixture"])
def test_another_loss_leaves_the_scalars_of_the_losses_in_their_places(tmp_path, loss):
    """Keras stores weights by their places, and the scale is trained by one of the losses alone."""
    other = "mixture" if loss == "hinge" else "hinge"
    options = {"width": 8, "depth": 2, "epsilon": 0.4, "std": 0.5}
    zoo.save(zoo.models.LinfDistNet((4, 4, 1), 3, loss=other, **options), tmp_path / "model")
    model = zoo.load(tmp_path / "model", loss=loss)
    made = zoo.models.LinfDistNet((4, 4, 1), 3, loss=loss, **options)
    assert model.training_epsilon == pytest.approx(0.4)
    assert model.cross_entropy_weight == pytest.approx(made.cross_entropy_weight)
    assert float(model._scale) == 10.0


def test_a_loss_that_is_given_leaves_the_scalars_of_a_new_head(tmp_path):
    settings = {"width": 8, "depth": 2, "loss": "mixture"}
    trained = zoo.models.LinfDistNet((4, 4, 1), 3, **settings)
    trained.cross_entropy_weight = 0.0002  # as at the end of a training
    zoo.save(trained, tmp_path / "model")
    plain, given = (
        zoo.load(tmp_path / "model", num_classes=5, **options)
        for options in ({}, {"loss": "mixture"})
    )
    assert plain.cross_entropy_weight == given.cross_entropy_weight > 0.01


def test_a_loss_without_the_stored_scalars_is_blamed_not_the_file(tmp_path):
    zoo.save(zoo.models.L2NonexpansiveNet((4, 4, 1), 3, width=0.05), tmp_path / "model")
    with pytest.raises(ValueError, match="loss='cross_entropy' does not fit the weights"):
        zoo.load(tmp_path / "model", loss="cross_entropy")


def test_numbers_of_numpy_are_stored(tmp_path):
    network = {"name": "mlp", "image_shape": (4, 4, 1), "num_classes": 3, "hidden": [8]}
    options = {"penalty": np.float32(0.5)}
    model = zoo.models.LipschitzMarginNet(network, variant="calibrated", loss_options=options)
    zoo.save(model, tmp_path / "model")
    assert zoo.load(tmp_path / "model").loss_options == {"penalty": 0.5}


def test_an_overridden_scale_is_the_one_that_the_loss_uses(digits):
    model, other = zoo.load("l2nnn-digits"), zoo.load("l2nnn-digits", scale=20.0)
    logits, labels = model.logits(digits.images[:8]), digits.labels[:8]
    assert model.scale != other.scale == float(other._scale) == 20.0
    assert float(model.default_loss()(labels, logits)) != float(
        other.default_loss()(labels, logits)
    )


def test_a_normalization_that_was_adapted_is_kept(tmp_path):
    """Keras computes with constants, which it does not make anew of weights that are set."""
    x = np.random.default_rng(0).uniform(0.4, 0.6, size=(8, 4, 4, 1)).astype("float32")
    normalization = keras.layers.Normalization()
    normalization.adapt(x)
    network = keras.Sequential(
        [keras.Input((4, 4, 1)), normalization, keras.layers.Flatten(), keras.layers.Dense(3)]
    )
    model = zoo.models.LipschitzMarginNet(network)
    zoo.save(model, tmp_path / "folder")
    model.save(tmp_path / "model.keras")
    for name in ("folder", "model.keras"):
        again = zoo.load(f"{tmp_path}/{name}", epsilon=0.3)
        np.testing.assert_allclose(again.logits(x), model.logits(x), rtol=1e-5)
    new = model.with_new_head(3)
    new.head_layer.set_weights(model.head_layer.get_weights())
    np.testing.assert_allclose(new.logits(x), model.logits(x), rtol=1e-5)


def test_layers_with_lora_are_refused_before_a_folder_is_made(tmp_path):
    network = keras.Sequential(
        [keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(8, "relu")]
    )
    network.add(keras.layers.Dense(3))
    model = zoo.models.LipschitzMarginNet(network)
    network.layers[1].enable_lora(2)
    with pytest.raises(ValueError, match=r"layers with LoRA; model\.save\('mine\.keras'\) keeps"):
        zoo.save(model, tmp_path / "folder")
    assert not (tmp_path / "folder").exists()
    model.save(tmp_path / "mine.keras")
    x = np.full((2, 4, 4, 1), 0.5, "float32")
    again = keras.models.load_model(tmp_path / "mine.keras")
    np.testing.assert_allclose(again.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-5)


@pytest.mark.parametrize("file", ["model.h5", "model.hdf5"])
def test_hdf5_files_are_refused_with_what_to_do(file, small_model, tmp_path):
    with pytest.raises(ValueError, match=r"save it as a \.keras file"):
        small_model.save(tmp_path / file)
    assert not (tmp_path / file).exists()


@pytest.mark.parametrize("name", ["mine.keras", "mine.weights.h5"])
def test_a_checkpoint_does_not_take_the_name_of_a_file(small_model, tmp_path, name):
    with pytest.raises(ValueError, match=rf"writes a folder, and {name} is the name of a file"):
        zoo.save(small_model, tmp_path / name)
    assert not (tmp_path / name).exists()


def test_ordinary_models_are_not_saved_as_checkpoints(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    with pytest.raises(TypeError, match="takes a model of the zoo.*got Sequential"):
        zoo.save(model, tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


@pytest.mark.integration
@slow_to_compile
def test_the_zoos_networks_have_their_channels_last_whatever_the_setting_is():
    shape, ten = (8, 8, 3), {"image_shape": (8, 8, 3), "num_classes": 10}
    makers = [
        lambda: zoo.models.L2NonexpansiveNet(shape, 10, width=0.125),
        lambda: zoo.models.L2NonexpansiveNet(
            shape, 10, width=0.125, parametrization="almost_orthogonal"
        ),
        lambda: zoo.models.L2NonexpansiveNet((16, 16, 3), 10, network="resnet20", width=0.25),
        lambda: zoo.models.LipschitzMarginNet({"name": "convnet", **ten}),
        lambda: zoo.models.LipschitzMarginNet(
            {"name": "wide_resnet", "depth": 10, "width": 1, **ten}
        ),
        lambda: zoo.models.LipschitzMarginNet({"name": "mlp", **ten}),
        lambda: zoo.models.CurvatureNet({"name": "convnet", **ten}),
        lambda: zoo.models.CurvatureNet({"name": "mlp", **ten}),
        lambda: zoo.models.DoubleBackpropNet({"name": "b", **ten}),
        lambda: zoo.models.LinfDistNet(shape, 10, width=8, depth=2),
    ]
    logits = {}
    for setting in ("channels_last", "channels_first"):
        keras.config.set_image_data_format(setting)
        try:
            for index, make in enumerate(makers):
                keras.utils.set_random_seed(0)
                model = make()
                x = np.random.default_rng(0).uniform(size=(2, *model.image_shape)).astype("float32")
                logits[setting, index] = model.logits(x)
        finally:
            keras.config.set_image_data_format("channels_last")
    for index in range(len(makers)):
        np.testing.assert_allclose(
            logits["channels_first", index], logits["channels_last", index], atol=1e-6
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"checkpoint": 3}, "name must be text or a path.* got 3"),
        ({"checkpoint": None}, "name must be text or a path.* got None"),
        ({"checkpoint": b"linf-dist-digits"}, "name must be text or a path"),
        ({"checkpoint": ["linf-dist-digits"]}, "name must be text or a path"),
        ({"checkpoint": ""}, "a checkpoint's name must not be empty"),
        ({"revision": 3}, "revision must be text or None, got 3"),
        ({"cache_dir": 3}, "cache_dir must be text or None, got 3"),
        ({"num_classes": "3"}, "num_classes must be a positive integer"),
        ({"weights": "my.weights.h5"}, "weights must be True or False, got 'my.weights.h5'"),
        ({"verify": "no"}, "verify must be True or False"),
        (
            {"checkpoint": zoo.hub.catalog.WEIGHTS, "revision": "v2"},
            "revision is for models on the",
        ),
    ],
)
def test_arguments_of_another_kind_are_named(arguments, message):
    with pytest.raises((TypeError, ValueError, zoo.UnknownModelError), match=message):
        zoo.load(arguments.pop("checkpoint", "linf-dist-digits"), **arguments)


@pytest.mark.parametrize("name", ["./mine", "models/mine", ".\\mine", "C:/models/mine"])
def test_folders_on_windows(monkeypatch, name):
    """There both separators are in use."""
    monkeypatch.setattr(download.os, "sep", "\\")
    assert download.is_outside_catalog(name)
    with pytest.raises(zoo.CheckpointError, match="no such folder"):
        zoo.load(name)


def test_the_models_name_is_the_users(folder):
    assert zoo.load(folder, name="mine").name == "mine"
    assert zoo.load(folder, name="mine", num_classes=4).name == "mine"


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        ({"width": 7}, ValueError, "width=7 does not fit the weights.*those of width=12"),
        ({"width": 0}, ValueError, "width=0 does not fit: width must be a positive integer"),
        ({"colour": 1}, TypeError, "has no argument 'colour'; it has .*width"),
    ],
)
def test_an_argument_that_does_not_fit_is_blamed_not_the_file(folder, overrides, error, message):
    with pytest.raises(error, match=message):
        zoo.load(folder, **overrides)
    assert zoo.load(folder, width=7, weights=False).width == 7


def test_a_damaged_file_is_blamed_whatever_the_arguments_are(folder):
    (folder / "model.weights.h5").write_bytes(b"no weights")
    with pytest.raises(zoo.CheckpointError, match="does not hold this model's weights"):
        zoo.load(folder, epsilon=0.2)


def test_a_tilde_is_the_home_folder(small_model, small_images, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    zoo.save(small_model, "~/net")
    assert (tmp_path / "net" / "config.json").is_file()
    found = zoo.load("~/net").certify(small_images).radius
    np.testing.assert_array_equal(found, small_model.certify(small_images).radius)
    with pytest.raises(zoo.CheckpointError, match="no such folder or .keras file: ~other$"):
        zoo.load("~other")


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("org/net-1.5", "; a model on the Hub is hf://org/net-1.5"),
        ("./net", ""),
        ("a/b/c", ""),
        ("org/net.keras", ""),
    ],
)
def test_a_name_on_the_hub_without_its_scheme(name, advice):
    with pytest.raises(
        zoo.CheckpointError, match=f"no such folder or .keras file: {name}{advice}$"
    ):
        zoo.load(name)


@pytest.mark.parametrize(
    ("name", "revision"),
    [
        ("hf://org/repo", None),
        ("hf://org/repo@v1", "v1"),
        ("https://huggingface.co/org/repo", None),
        ("https://huggingface.co/org/repo/", None),
        ("huggingface.co/org/repo", None),
        ("http://hf.co/org/repo", None),
        ("hf.co/org/repo@v1", "v1"),
        ("https://hf.co/org/repo?library=keras", None),
        ("https://huggingface.co/org/repo/tree/v1", "v1"),
        ("https://huggingface.co/org/repo/tree/refs%2Fpr%2F1", "refs/pr/1"),
        ("https://huggingface.co/org/repo/blob/v1/config.json", "v1"),
    ],
)
def test_addresses_of_the_hub(monkeypatch, name, revision):
    asked = []
    monkeypatch.setattr(download, "from_hub", lambda *arguments: asked.append(arguments[:2]))
    download.fetch(name)
    assert asked == [("org/repo", revision)]


@pytest.mark.parametrize(
    "name", ["hf://org", "https://huggingface.co/org", "hf.co/a/b/c", "https://hf.co/datasets/a/b"]
)
def test_addresses_that_are_no_model_are_named(name):
    with pytest.raises(ValueError, match="a Hub name reads hf://org/repo, .*got"):
        download.fetch(name)


def test_a_model_that_its_config_does_not_describe_is_not_saved(tmp_path):
    model = zoo.models.L2NonexpansiveNet((4, 4, 1), 3, network="dense", width=0.01)
    model.hidden[1].kernel.assign(5.0 * model.hidden[1].kernel)
    model.hidden[1].parametrization = "free"
    with pytest.raises(ValueError, match="L2NonexpansiveNet.get_config.* does not describe it"):
        zoo.save(model, tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


def test_a_file_is_no_folder_to_save_in(small_model, tmp_path):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(FileExistsError, match="cannot write .*file: it is a file, not a folder"):
        zoo.save(small_model, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "kept"
