"""Augmentation acts in training, and is the identity in predict and in the certificate."""

import keras
import numpy as np
import pytest

import zoo
from zoo.bounds.rules.rule import rule_for
from zoo.bounds.rules.shape import UnchangedRule

ARGUMENTS = {
    "RandomBrightness": {"factor": 1.0, "value_range": (0, 1)},
    "RandomContrast": {"factor": 0.9, "value_range": (0, 1)},
    "RandomHue": {"factor": 1.0, "value_range": (0, 1)},
    "RandomRotation": {"factor": 0.5},
    "RandomSaturation": {"factor": 1.0},
    "RandomSharpness": {"factor": 1.0, "value_range": (0, 1)},
    "RandomColorDegeneration": {"factor": 1.0},
    "RandomPosterization": {"factor": 4},
    "RandomTranslation": {"height_factor": 0.5, "width_factor": 0.5},
    "RandomZoom": {"height_factor": 0.5},
}
# Every layer of Keras whose name says that it augments, and that a rule takes for the identity.
LAYERS = sorted(
    name
    for name in dir(keras.layers)
    if name.startswith(("Random", "RandAug", "AugMix", "MixUp", "CutMix", "Solarization"))
    and name != "RandomCrop"
)


def layer(name):
    return getattr(keras.layers, name)(**ARGUMENTS.get(name, {}))


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).uniform(size=(3, 8, 8, 3)).astype("float32")


def test_the_layers_of_keras_are_the_identity_in_predict(x):
    """One model for all, because a model for each would take a minute to compile."""
    assert all(rule_for(layer(name)) is UnchangedRule for name in LAYERS)
    inputs = outputs = keras.Input((8, 8, 3))
    for name in LAYERS:
        outputs = layer(name)(outputs)
    model = keras.Model(inputs, outputs)
    # Values that a clipping to [0, 1] or to [0, 255] would change, too.
    for values in (x, 600.0 * x - 300.0):
        np.testing.assert_array_equal(model.predict(values, verbose=0), values)
        np.testing.assert_array_equal(np.asarray(model(values, training=False)), values)


@pytest.mark.parametrize("style", ["functional", "sequential", "nested"])
def test_a_network_with_keras_layers_is_certified_as_predict_computes_it(x, style):
    keras.utils.set_random_seed(1)
    flip = keras.layers.RandomTranslation(0.5, 0.5, fill_mode="constant")
    body = [keras.layers.Flatten(), keras.layers.Dense(3)]
    inputs = keras.Input((8, 8, 3))
    if style == "functional":
        network = keras.Model(inputs, body[1](body[0](flip(inputs))))
    elif style == "sequential":
        network = keras.Sequential([inputs, flip, *body])
    else:
        network = keras.Sequential([inputs, keras.Sequential([flip]), *body])
    plain = keras.Sequential([inputs, *body])
    found, expected = (zoo.certify(model, x, norm="linf") for model in (network, plain))
    np.testing.assert_array_equal(found.radius, expected.radius)
    assert (found.radius > 0).all()
    np.testing.assert_array_equal(found.prediction, network.predict(x, verbose=0).argmax(axis=1))


@pytest.mark.integration
def test_inside_the_layer_anything_is_the_identity_but_in_training(x):
    class Own(keras.layers.Layer):
        def call(self, inputs, training=True):
            return 1.0 - inputs if training else inputs

    network = keras.Sequential(
        [keras.Input((8, 8, 3)), zoo.layers.Augmentation(Own()), keras.layers.Flatten(),
         keras.layers.Dense(3)]
    )  # fmt: skip
    plain = keras.Sequential([keras.Input((8, 8, 3)), *network.layers[1:]])
    np.testing.assert_allclose(network(x), plain(x), atol=1e-6)
    np.testing.assert_allclose(network(x, training=True), plain(1.0 - x), atol=1e-5)
    found, expected = (zoo.certify(model, x, norm="l2") for model in (network, plain))
    np.testing.assert_array_equal(found.radius, expected.radius)


def test_augmentation_that_changes_the_shape_is_refused(x):
    with pytest.raises(ValueError, match=r"keep the shape of images, \(8, 8, 3\), but makes"):
        zoo.layers.Augmentation(keras.layers.RandomCrop(4, 4))(x, training=True)
    with pytest.raises(TypeError, match="augmentation must be a Keras layer, got str"):
        zoo.layers.Augmentation("flip")


MODELS = {
    "linf": lambda **options: zoo.models.LinfDistNet((8, 8, 3), 3, width=8, depth=2, **options),
    "l2": lambda **options: zoo.models.L2NonexpansiveNet(
        (8, 8, 3), 3, network="dense", width=0.01, **options
    ),
    "lmt": lambda **options: zoo.models.LipschitzMarginNet(
        {"name": "mlp", "hidden": (8,)}, image_shape=(8, 8, 3), num_classes=3, **options
    ),
}


@pytest.mark.integration
@pytest.mark.parametrize("name", MODELS)
def test_augmentation_of_a_model_acts_in_training_alone(x, name, tmp_path):
    black = keras.layers.RandomBrightness((-1.0, -1.0), value_range=(0, 1))
    model = MODELS[name](augmentation=black)
    plain = MODELS[name]()
    plain.set_weights(model.get_weights())
    np.testing.assert_array_equal(np.asarray(model(x)), np.asarray(plain(x)))
    np.testing.assert_array_equal(model.predict(x, verbose=0), plain.predict(x, verbose=0))
    np.testing.assert_array_equal(model.certify(x).radius, plain.certify(x).radius)
    in_training = np.asarray(model(x, training=True))
    assert np.abs(in_training - in_training[:1]).max() < 1e-6  # all images are black
    assert np.abs(np.asarray(plain(x)) - np.asarray(plain(x))[:1]).max() > 1e-3
    zoo.save(model, tmp_path / "augmented")
    again = zoo.load(tmp_path / "augmented")
    np.testing.assert_array_equal(again.certify(x).radius, model.certify(x).radius)
    assert isinstance(again.augmentation.layer, keras.layers.RandomBrightness)
    assert again.with_new_head(4).augmentation is not None


@pytest.mark.parametrize("name", MODELS)
def test_augmentation_of_a_class_that_keras_does_not_know(name):
    """A model with another head, and an exported one, need not be made from a configuration."""
    noise = Noise()
    model = MODELS[name](augmentation=noise)
    assert model.with_new_head(4).augmentation.layer is noise
    assert model.export_model().output_shape == model.output_shape


class Noise(keras.layers.Layer):
    def call(self, inputs):
        return inputs + 0.1


@pytest.mark.parametrize("name", ["linf-dist-digits", "lc-lmt-digits"])
def test_a_checkpoint_is_fine_tuned_with_augmentation(digits, name):
    pretrained = zoo.load(name)
    x = digits.images[:4]
    model = zoo.load(name, augmentation=keras.Sequential([keras.layers.RandomFlip()]))
    np.testing.assert_array_equal(model.certify(x).radius, pretrained.certify(x).radius)
