"""The dense layer with weights of unit scale."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.layers.harness import assert_survives_saving, run_layer_test
from zoo.layers import EqualizedDense


@pytest.mark.parametrize("use_bias", [True, False])
def test_layer(tmp_path, use_bias):
    model, x = run_layer_test(
        EqualizedDense,
        {"units": 3, "gain": 0.5, "use_bias": use_bias},
        (4, 7),
        output_shape=(4, 3),
        trainable=1 + use_bias,
        non_trainable=0,
    )
    assert_survives_saving(model, x, tmp_path)


def test_the_factor_is_outside_the_kernel():
    layer = EqualizedDense(400, gain=2.0)
    x = np.random.default_rng(0).normal(size=(3, 900)).astype("float32")
    y = keras.ops.convert_to_numpy(layer(x))
    kernel = keras.ops.convert_to_numpy(layer.kernel)
    assert np.std(kernel) == pytest.approx(1.0, rel=0.02)
    np.testing.assert_allclose(y, x @ kernel * 2 / 30, rtol=1e-3, atol=1e-3)


@given(st.integers(0, 10_000))
def test_interval_contains_and_is_attained(seed):
    random = np.random.default_rng(seed)
    layer = EqualizedDense(3)
    layer.build((None, 4))
    layer.kernel.assign(random.normal(size=(4, 3)) * 5)
    layer.bias.assign(random.normal(size=3))
    ends = np.sort(random.normal(size=(2, 1, 4)), axis=0).astype("float32")
    low, high = (keras.ops.convert_to_numpy(b) for b in layer.interval(*ends))
    corners = np.stack(np.meshgrid(*[[0, 1]] * 4), axis=-1).reshape(-1, 4)
    points = np.where(corners == 0, ends[0], ends[1])
    values = keras.ops.convert_to_numpy(layer(points))
    np.testing.assert_allclose(values.min(axis=0), low[0], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(values.max(axis=0), high[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("change", [{"units": 0}, {"gain": 0}, {"gain": "a"}])
def test_bad_arguments_are_named(change):
    with pytest.raises(ValueError, match=f"{next(iter(change))} must be a positive"):
        EqualizedDense(**{"units": 3, **change})


def test_the_gain_is_fixed_once_it_is_built():
    """The factor, which is computed from it, would not change."""
    layer = EqualizedDense(3)
    layer.gain = 2.0
    layer(np.zeros((1, 4), "float32"))
    with pytest.raises(AttributeError, match="gain of a EqualizedDense is fixed"):
        layer.gain = 3.0
