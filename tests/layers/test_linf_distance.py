"""The ℓ∞-distance layer."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.layers.harness import assert_lipschitz, assert_survives_saving, run_layer_test
from zoo.layers import LinfDistance, NearIdentity

INF = float("inf")


@pytest.mark.integration
@pytest.mark.parametrize("implementation", ["numba", "portable"])
@pytest.mark.parametrize(
    ("config", "input_shape", "output_shape", "trainable"),
    [
        ({"units": 4}, (8, 6), (8, 4), 1),
        ({"units": 9, "use_bias": True, "p": 20.0}, (8, 6), (8, 9), 2),
        ({"units": 3}, (4, 2, 5, 6), (4, 2, 5, 3), 1),
    ],
)
def test_layer(config, input_shape, output_shape, trainable, implementation, tmp_path):
    model, x = run_layer_test(
        LinfDistance,
        {**config, "implementation": implementation},
        input_shape,
        output_shape=output_shape,
        trainable=trainable,
        non_trainable=1,
    )
    assert_survives_saving(model, x, tmp_path)


def test_inference_is_linf_whatever_p():
    layer = LinfDistance(5, p=8.0)
    x = np.random.default_rng(0).normal(size=(3, 7)).astype("float32")
    at_inference = keras.ops.convert_to_numpy(layer(x))
    kernel = keras.ops.convert_to_numpy(layer.kernel)
    np.testing.assert_array_equal(at_inference, np.abs(x[:, None] - kernel).max(axis=-1))
    in_training = keras.ops.convert_to_numpy(layer(x, training=True))
    assert (in_training > at_inference).all()


def test_p_is_assignable_during_fit():
    seen = []

    class Raise(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.layers[-1].p = [2.0, INF][epoch]

        def on_train_batch_end(self, batch, logs=None):
            seen.append(logs["loss"])

    x = np.full((1, 4), 3.0, "float32")
    layer = LinfDistance(1, kernel_initializer="zeros", p=8.0)
    model = keras.Sequential([keras.Input((4,)), layer])
    model.compile(keras.optimizers.SGD(0.0), "mae")
    model.fit(x, np.zeros((1, 1)), epochs=2, verbose=0, callbacks=[Raise()])
    # ‖(3, 3, 3, 3)‖ is 6 at p = 2 and 3 at p = ∞, from the same compiled step.
    np.testing.assert_allclose(seen, [6.0, 3.0], rtol=1e-4)
    assert layer.p == INF


@given(
    seed=st.integers(0, 10_000),
    inputs=st.integers(1, 40),
    units=st.integers(1, 20),
    size=st.floats(0.001, 10),
)
def test_is_1_lipschitz_in_linf(seed, inputs, units, size):
    random = np.random.default_rng(seed)
    layer = LinfDistance(units, use_bias=True)
    layer.build((None, inputs))
    layer.kernel.assign(random.normal(size=(units, inputs)) * random.choice([0.1, 1, 30]))
    x = random.normal(size=(8, inputs)).astype("float32")
    corner = random.choice([-1.0, 1.0], size=x.shape)
    other = (x + size * corner).astype("float32")
    assert_lipschitz(lambda z: keras.ops.convert_to_numpy(layer(z)), x, other, np.inf, np.inf)


def test_near_identity_passes_inputs_on():
    kernel = keras.ops.convert_to_numpy(NearIdentity(seed=1)((7, 3)))
    for unit in range(7):
        assert kernel[unit, unit % 3] == -10
    assert (kernel == -10).sum() == 7
    assert (keras.ops.convert_to_numpy(NearIdentity(seed=1)((3, 7))) != -10).all()
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    layer = LinfDistance(3)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(x)), x + 10, rtol=1e-6)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"units": 0}, "units must be a positive integer, got 0"),
        ({"units": 2.5}, "units must be a positive integer, got 2.5"),
        ({"units": 2, "p": 1.0}, "p must be a number of at least 2"),
        ({"units": 2, "p": "8"}, "p must be a number"),
        ({"units": 2, "implementation": "gpu"}, "'gpu'"),
    ],
)
def test_bad_arguments_are_named(config, message):
    with pytest.raises(ValueError, match=message):
        LinfDistance(**config)


def test_assigning_a_bad_p_changes_nothing():
    layer = LinfDistance(2, p=8.0)
    layer.build((None, 3))
    with pytest.raises(ValueError, match="p must be"):
        layer.p = 0.5
    assert layer.p == 8.0
