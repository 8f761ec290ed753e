"""Layers that sum in blocks: Keras's function and weights, and larger radii."""

import keras
import numpy as np
import pytest

import zoo

LAYERS = {
    "dense": (zoo.layers.Dense, keras.layers.Dense, (300,), {"units": 5, "activation": "softplus"}),
    "conv": (
        zoo.layers.Conv2D,
        keras.layers.Conv2D,
        (8, 8, 40),
        {"filters": 6, "kernel_size": 3, "strides": 2, "padding": "same", "activation": "relu"},
    ),
}


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_dense_and_convolution_predict_in_few_bits(policy):
    model = keras.Sequential(
        [
            keras.Input((6, 6, 20)),
            zoo.layers.Conv2D(4, 3, dtype=policy),
            keras.layers.Flatten(),
            zoo.layers.Dense(3, dtype=policy),
        ]
    )
    x = np.random.default_rng(0).uniform(size=(2, 6, 6, 20)).astype("float32")
    parts = [keras.layers.Conv2D(4, 3), keras.layers.Flatten(), keras.layers.Dense(3)]
    ordinary = keras.Sequential([keras.Input((6, 6, 20)), *parts])
    ordinary.set_weights(model.get_weights())
    expected = ordinary.predict(x, verbose=0)
    found = model.predict(x, verbose=0).astype("float32")
    np.testing.assert_allclose(found, expected, atol=0.1 * np.abs(expected).max())


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("training", [True, False, None])
@pytest.mark.parametrize("name", LAYERS)
def test_the_function_is_that_of_keras(name, training, bias):
    ours, theirs, shape, options = LAYERS[name]
    options = {**options, "use_bias": bias, "bias_initializer": "random_normal"}
    layer = ours(**options, data_format="channels_last") if name == "conv" else ours(**options)
    other = theirs(**options, data_format="channels_last") if name == "conv" else theirs(**options)
    for built in (layer, other):
        built.build((None, *shape))
    other.set_weights(layer.get_weights())
    x = np.random.default_rng(0).normal(size=(3, *shape)).astype("float32")
    np.testing.assert_allclose(layer(x, training=training), other(x), rtol=1e-5, atol=1e-5)


def test_a_network_of_them_is_saved_and_loaded(tmp_path):
    model = keras.Sequential(
        [
            keras.Input((8, 8, 40)),
            zoo.layers.Conv2D(4, 3, data_format="channels_last"),
            keras.layers.Flatten(data_format="channels_last"),
            zoo.layers.Dense(3),
        ]
    )
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert [type(layer) for layer in loaded.layers] == [type(layer) for layer in model.layers]
    x = np.random.default_rng(0).uniform(size=(2, 8, 8, 40)).astype("float32")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))


@pytest.mark.parametrize(
    "options", [{"dilation_rate": 2}, {"groups": 2}, {"data_format": "channels_first"}]
)
def test_settings_without_blocks_are_refused(options):
    with pytest.raises(ValueError, match=r"use keras\.layers\.Conv2D"):
        zoo.layers.Conv2D(4, 3, **{"data_format": "channels_last", **options})


def test_wide_layers_lose_less_of_the_radius():
    """The same weights, once in Keras's layer and once in blocks."""
    radii = {}
    for kind in (zoo.layers.Dense, keras.layers.Dense):
        keras.utils.set_random_seed(0)
        network = keras.Sequential(
            [
                keras.Input((40, 40, 1)),
                keras.layers.Flatten(data_format="channels_last"),
                kind(16, kernel_initializer="orthogonal"),
                zoo.layers.MaxMin(),
                keras.layers.Dense(3, kernel_initializer="orthogonal"),
            ]
        )
        model = zoo.models.LipschitzMarginNet(network)
        x = np.random.default_rng(0).uniform(size=(8, 40, 40, 1)).astype("float32")
        radii[kind] = model.certify(x).radius
        gap = np.sort(model.logits(x), axis=1)
        kernel = keras.ops.convert_to_numpy(network.layers[-1].kernel)
        distances = np.linalg.norm(kernel[:, :, None] - kernel[:, None], axis=0)
        best = (gap[:, -1] - gap[:, -2]) / distances.max()
    ours, theirs = radii.values()
    assert (ours > theirs).all()
    # A lower bound of what no allowance at all would leave.
    assert (ours > 0.9 * best).all()
