"""Models for images of any size, on any backbone, and the features in between."""

import keras
import numpy as np
import pytest

import zoo
from tests.models.perturbations import assert_unbroken, perturbations

pytestmark = pytest.mark.integration

SIZE = {"image_shape": (32, 32, 3), "num_classes": 5}
MODELS = {
    "linf-dist": lambda: zoo.models.LinfDistNet(**SIZE, width=8, depth=2),
    "linf-dist-mlp": lambda: zoo.models.LinfDistMLP(**SIZE, width=8, depth=1, hidden_units=4),
    "l2nnn": lambda: zoo.models.L2NonexpansiveNet(**SIZE, width=0.0625),
    "lc-lmt": lambda: zoo.models.LipschitzMarginNet(
        {"name": "convnet", "filters": (4, 4), "hidden": (8,)}, **SIZE
    ),
    "crt": lambda: zoo.models.CurvatureNet({"name": "mlp", "hidden": (8,)}, **SIZE),
    "double-backprop": lambda: zoo.models.DoubleBackpropNet({"name": "c", "hidden": (8,)}, **SIZE),
}


@pytest.mark.parametrize("name", MODELS)
def test_images_of_another_size(name):
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    model, x = MODELS[name](), random.uniform(size=(3, 32, 32, 3)).astype("float32")
    assert model.input_shape == (None, 32, 32, 3)
    assert model.output_shape == (None, 5)
    model.compile()
    model.fit(x, np.arange(3), verbose=0)
    if name == "l2nnn":
        # Untrained margins are below the bound of float32's error, which grows with the image.
        model.head.bias.assign([4.0, 0.0, 0.0, 0.0, 0.0])
    certificate = model.certify(x)
    np.testing.assert_array_equal(
        certificate.prediction, model.predict(x, verbose=0).argmax(axis=1)
    )
    tested = 0
    for x_adv in perturbations(x, certificate.radius, certificate.norm, random):
        tested += assert_unbroken(model, certificate, x, x_adv)
    assert tested
    assert (certificate.radius > 0).any()
    # The layers of the model lie between the two tensors of a functional model.
    features = keras.Model(model.input, model.head_layer.input)
    whole = keras.Model(model.input, model.output)
    assert features.predict(x, verbose=0).shape[0] == 3
    np.testing.assert_allclose(whole.predict(x, verbose=0), model.predict(x, verbose=0), atol=1e-5)
    assert model.inputs[0] is model.input
    assert model.outputs[0] is model.output


def test_a_network_by_name_needs_its_size():
    with pytest.raises(ValueError, match="'mlp' needs image_shape and num_classes"):
        zoo.models.LipschitzMarginNet()
    with pytest.raises(ValueError, match=r"image_shape must be \(height, width, channels\)"):
        zoo.models.CurvatureNet(image_shape=(64, 64), num_classes=5)
    with pytest.raises(ValueError, match="network must be one of mlp, convnet"):
        zoo.models.LipschitzMarginNet("resnet", **SIZE)
    with pytest.raises(ValueError, match="'mlp' has no argument 'wide'; it has image_shape, num_"):
        zoo.models.LipschitzMarginNet({"name": "mlp", "wide": 3}, **SIZE)
    network = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(5)]
    )
    assert zoo.models.LipschitzMarginNet(network, image_shape=[8, 8, 1]).num_classes == 5
    with pytest.raises(ValueError, match=r"image_shape is \(32, 32, 3\), but the network's is"):
        zoo.models.LipschitzMarginNet(network, **SIZE)
    named = {"name": "mlp", "image_shape": (8, 8, 1), "num_classes": 5}
    with pytest.raises(ValueError, match="num_classes is 4, but the network's is 5"):
        zoo.models.LipschitzMarginNet(named, num_classes=4)


def backbone():
    """An ordinary network of convolutions and batch normalisation, as pretrained ones are."""
    inputs = keras.Input((16, 16, 3))
    z = keras.layers.Conv2D(6, 3, 2, padding="same", use_bias=False)(inputs)
    z = keras.layers.ReLU(6.0)(keras.layers.BatchNormalization()(z))
    z = keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False)(z)
    z = keras.layers.ReLU(6.0)(keras.layers.BatchNormalization()(z))
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(z), name="backbone")


def test_a_head_on_a_frozen_backbone_is_trained_and_certified():
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    x, y = random.uniform(size=(8, 16, 16, 3)).astype("float32"), np.arange(8) % 2
    x[y == 1] *= 0.5
    frozen = backbone()
    frozen.trainable = False
    network = keras.Sequential(
        [keras.Input((16, 16, 3)), zoo.layers.Augmentation(keras.layers.RandomFlip()), frozen,
         keras.layers.Dense(2)]
    )  # fmt: skip
    model = zoo.models.LipschitzMarginNet(network, epsilon=0.1)
    before = [weight.copy() for weight in frozen.get_weights()]
    model.compile(keras.optimizers.Adam(0.05))
    model.fit(x, y, epochs=2, verbose=0)
    for weight, kept in zip(frozen.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, kept)
    ordinary = zoo.certify(network, x, norm="linf", method="crown-interval")
    for certificate in (model.certify(x), ordinary):
        assert (certificate.radius > 0).any()
        for x_adv in perturbations(x, certificate.radius, certificate.norm, random):
            assert_unbroken(model, certificate, x, x_adv)
