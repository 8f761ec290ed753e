"""Augmentation changes everything that training computes from the images."""

import keras
import numpy as np
import pytest

import zoo


class Black(keras.layers.Layer):
    def call(self, inputs, training=None):
        return keras.ops.zeros_like(inputs)


def smooth(activation):
    return keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(8, activation, name="first"),
            keras.layers.Dense(3),
        ]
    )


MODELS = {
    "crt": lambda **o: zoo.models.CurvatureNet(smooth("tanh"), 0.001, penalty_weight=0, **o),
    "double-backprop": lambda **o: zoo.models.DoubleBackpropNet(
        smooth("relu"), penalty_weight=0.0, epsilon=0.001, **o
    ),
}


@pytest.mark.integration
@pytest.mark.parametrize("name", MODELS)
def test_of_black_images_no_first_kernel_learns(name, small_images):
    """Only changes of the attacks' own size are left."""
    moved = []
    for options in ({"augmentation": Black()}, {}):
        keras.utils.set_random_seed(0)
        model = MODELS[name](**options)
        model.compile(keras.optimizers.SGD(0.1))
        before = model.network.get_layer("first").get_weights()[0]
        model.fit(small_images, np.arange(20) % 3, epochs=1, verbose=0, shuffle=False)
        moved.append(np.abs(model.network.get_layer("first").get_weights()[0] - before).max())
    assert moved[0] < 0.1 * moved[1]


def test_the_usual_augmentation_of_photographs_can_be_saved(tmp_path, small_images):
    layers = keras.layers
    usual = [layers.ZeroPadding2D(1), layers.RandomCrop(4, 4), layers.RandomFlip("horizontal")]
    for augmentation in (keras.Sequential(usual), layers.Pipeline(usual)):
        keras.utils.set_random_seed(0)
        model = zoo.models.LipschitzMarginNet(
            "mlp", image_shape=(4, 4, 1), num_classes=3, augmentation=augmentation
        )
        model.compile()
        model.fit(small_images, np.arange(20) % 3, verbose=0)
        zoo.save(model, tmp_path / "mine")
        loaded = zoo.load(tmp_path / "mine")
        found, expected = (m.certify(small_images).radius for m in (loaded, model))
        np.testing.assert_array_equal(found, expected)
        loaded.compile()
        loaded.fit(small_images, np.arange(20) % 3, verbose=0)
