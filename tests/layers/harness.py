"""What every layer must pass."""

import keras
import numpy as np


def run_layer_test(layer_class, config, input_shape, *, output_shape, trainable, non_trainable):
    """Config round trip, weights, shapes, eager = compiled, fit, save and reload.

    Args:
        layer_class, config: of the layer.
        input_shape: with the batch.
        output_shape: expected.
        trainable, non_trainable: expected numbers of weights.
    """
    layer = layer_class(**config)
    restored = layer_class.from_config(layer.get_config())
    assert restored.get_config() == layer.get_config()
    for key, value in config.items():
        assert layer.get_config()[key] == value

    x = np.random.default_rng(0).normal(size=input_shape).astype("float32")
    y = keras.ops.convert_to_numpy(layer(x))
    assert y.shape == output_shape
    assert layer.compute_output_shape(input_shape) == output_shape
    assert len(layer.trainable_weights) == trainable
    assert len(layer.non_trainable_weights) == non_trainable

    inputs = keras.Input(input_shape[1:])
    model = keras.Model(inputs, layer(inputs))
    model.compile("sgd", "mse")
    np.testing.assert_allclose(model.predict(x, verbose=0), y, rtol=1e-6, atol=1e-6)
    before = [np.array(w) for w in layer.get_weights()]
    model.fit(x, np.zeros_like(y), verbose=0)
    after = layer.get_weights()
    if trainable:
        assert any((a != b).any() for a, b in zip(before, after, strict=True))

    return model, x


def assert_survives_saving(model, x, folder):
    """The whole model saved and reloaded computes the same."""
    path = folder / "model.keras"
    model.save(path)
    again = keras.models.load_model(path)
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))


def assert_lipschitz(function, x, other, norm_in, norm_out):
    """No pair of inputs is moved apart."""
    change = np.linalg.norm((function(x) - function(other)).astype("float64"), norm_out, axis=-1)
    assert (change <= np.linalg.norm((x - other).astype("float64"), norm_in, axis=-1) + 1e-5).all()
