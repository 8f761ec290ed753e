"""The mean shift."""

import keras
import numpy as np
import pytest

import zoo
from tests.layers.harness import assert_survives_saving, run_layer_test
from zoo.layers import MeanShift


@pytest.mark.parametrize("input_shape", [(8, 6), (4, 2, 3, 6)])
def test_layer(input_shape, tmp_path):
    model, x = run_layer_test(
        MeanShift,
        {"momentum": 0.8},
        input_shape,
        output_shape=input_shape,
        trainable=0,
        non_trainable=1,
    )
    assert_survives_saving(model, x, tmp_path)


def test_training_subtracts_the_batch_mean_and_remembers_it():
    x = np.array([[1.0, 10.0], [3.0, 30.0]], "float32")
    layer = MeanShift(momentum=0.75)
    shifted = keras.ops.convert_to_numpy(layer(x, training=True))
    np.testing.assert_allclose(shifted, [[-1, -10], [1, 10]])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer.mean), [0.5, 5.0])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(x)), x - [0.5, 5.0])


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_the_mean_is_remembered_exactly_in_few_bits(policy):
    layer = zoo.layers.MeanShift(dtype=policy)
    for _ in range(200):
        assert layer(np.full((4, 2), 10.0), training=True).dtype == layer.compute_dtype
    np.testing.assert_allclose(layer.mean, 10.0, rtol=1e-5)
    assert layer(np.full((4, 2), 10.0)).dtype == layer.compute_dtype


def test_frozen_it_keeps_its_mean():
    layer = MeanShift()
    layer.trainable = False
    layer.build((None, 2))
    layer.mean.assign([0.25, -1.0])
    x = np.array([[1.0, 10.0], [3.0, 30.0]], "float32")
    shifted = keras.ops.convert_to_numpy(layer(x, training=True))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer.mean), [0.25, -1.0])
    np.testing.assert_array_equal(shifted, x - [0.25, -1.0])


def test_frozen_features_are_the_same_in_training_and_at_inference(digits):
    model = zoo.load("linf-dist-digits")
    for layer in model.feature_layers:
        layer.trainable = False
    x = digits.images[np.argsort(digits.labels, kind="stable")][:32]
    training, inference = (
        keras.ops.convert_to_numpy(model.features(x, training=flag)) for flag in (True, False)
    )
    np.testing.assert_allclose(training, inference, atol=1e-5)


def test_bad_momentum_is_named():
    with pytest.raises(ValueError, match="momentum must be in"):
        MeanShift(momentum=1.0)


def test_an_empty_batch_leaves_the_mean():
    layer = MeanShift()
    layer.build((None, 2))
    layer.mean.assign([0.25, -1.0])
    assert tuple(layer(np.zeros((0, 2), "float32"), training=True).shape) == (0, 2)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer.mean), [0.25, -1.0])
