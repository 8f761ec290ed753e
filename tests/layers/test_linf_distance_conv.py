"""The convolution of ℓ∞-distance neurons."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.layers.harness import assert_lipschitz, assert_survives_saving, run_layer_test
from zoo.layers import LinfDistance, LinfDistanceConv2D, NearIdentityConv2D

INF = float("inf")


@pytest.mark.integration
@pytest.mark.parametrize("implementation", ["numba", "portable"])
@pytest.mark.parametrize(
    ("config", "input_shape", "output_shape", "trainable"),
    [
        ({"filters": 4, "kernel_size": (3, 3)}, (8, 6, 5, 3), (8, 4, 3, 4), 1),
        (
            {
                "filters": 6,
                "kernel_size": (2, 3),
                "strides": (2, 1),
                "padding": "same",
                "groups": 2,
                "use_bias": True,
                "p": 20.0,
            },
            (4, 7, 5, 4),
            (4, 4, 5, 6),
            2,
        ),
    ],
)
def test_layer(config, input_shape, output_shape, trainable, implementation, tmp_path):
    model, x = run_layer_test(
        LinfDistanceConv2D,
        {**config, "implementation": implementation},
        input_shape,
        output_shape=output_shape,
        trainable=trainable,
        non_trainable=1,
    )
    assert_survives_saving(model, x, tmp_path)


def test_a_kernel_of_the_whole_image_is_fully_connected():
    x = np.random.default_rng(0).normal(size=(3, 4, 5, 2)).astype("float32")
    layer, dense = LinfDistanceConv2D(6, (4, 5), p=8.0), LinfDistance(6, p=8.0)
    layer.build(x.shape)
    dense.build((3, 40))
    dense.kernel.assign(keras.ops.transpose(keras.ops.reshape(layer.kernel, (40, 6))))
    for training in (False, True):
        found = keras.ops.convert_to_numpy(layer(x, training=training))
        expected = keras.ops.convert_to_numpy(dense(x.reshape(3, 40), training=training))
        np.testing.assert_array_equal(found[:, 0, 0], expected)


def test_inference_is_linf_whatever_p():
    layer = LinfDistanceConv2D(5, 3, p=8.0)
    x = np.random.default_rng(0).normal(size=(2, 3, 3, 4)).astype("float32")
    at_inference = keras.ops.convert_to_numpy(layer(x))
    kernel = keras.ops.convert_to_numpy(layer.kernel)
    expected = np.abs(x[..., None] - kernel).max(axis=(1, 2, 3))
    np.testing.assert_array_equal(at_inference[:, 0, 0], expected)
    assert (keras.ops.convert_to_numpy(layer(x, training=True)) > at_inference).all()
    layer.p = INF
    assert layer.p == INF
    np.testing.assert_array_equal(layer(x, training=True), at_inference)


@given(
    seed=st.integers(0, 10_000),
    size=st.tuples(st.integers(2, 6), st.integers(2, 6)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.integers(1, 3),
    groups=st.integers(1, 2),
    distance=st.floats(0.001, 10),
)
def test_is_1_lipschitz_in_linf(seed, size, kernel, stride, groups, distance):
    random = np.random.default_rng(seed)
    fits = all(k <= n for k, n in zip(kernel, size, strict=True))
    layer = LinfDistanceConv2D(
        4,
        kernel,
        strides=stride,
        padding=random.choice(["same", "valid"]).item() if fits else "same",
        groups=groups,
        use_bias=True,
        kernel_initializer="zeros",  # assigned below
        implementation="numba",
    )
    x = random.normal(size=(3, *size, 4)).astype("float32")
    layer.build(x.shape)
    layer.kernel.assign(random.normal(size=layer.kernel.shape) * random.choice([0.1, 1, 10]))
    other = (x + distance * random.choice([-1.0, 1.0], size=x.shape)).astype("float32")

    def flat(z):
        return keras.ops.convert_to_numpy(layer(z.reshape(x.shape))).reshape(3, -1)

    assert_lipschitz(flat, x.reshape(3, -1), other.reshape(3, -1), np.inf, np.inf)


@pytest.mark.parametrize("implementation", ["numba", "portable"])
def test_interval_contains_the_outputs(implementation):
    layer = LinfDistanceConv2D(4, 3, padding="same", use_bias=True, implementation=implementation)
    random = np.random.default_rng(0)
    x = random.normal(size=(2, 5, 5, 3)).astype("float32")
    layer.build(x.shape)
    layer.bias.assign([1.0, -2.0, 0.0, 3.0])
    low, high = (keras.ops.convert_to_numpy(end) for end in layer.interval(x - 0.5, x + 0.5))
    assert (high - low <= 1 + 1e-5).all()
    corners = x + random.choice([-0.5, 0.5], size=(10, *x.shape)).astype("float32")
    u = keras.ops.convert_to_numpy(layer(corners.reshape(-1, *x.shape[1:])))
    u = u.reshape(10, *low.shape)
    assert (low <= u).all()
    assert (u <= high).all()


@pytest.mark.parametrize("kernel_size", [2, 3])
def test_near_identity_passes_channels_on(kernel_size):
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype("float32")
    layer = LinfDistanceConv2D(7, kernel_size, padding="same")
    u = keras.ops.convert_to_numpy(layer(x))
    np.testing.assert_allclose(u, x[..., np.arange(7) % 3] + 10, rtol=1e-6)
    grouped = LinfDistanceConv2D(9, kernel_size, padding="same", groups=3)
    u = keras.ops.convert_to_numpy(grouped(x))
    np.testing.assert_allclose(u, x[..., np.arange(9) // 3] + 10, rtol=1e-6)


def test_near_identity_with_fewer_filters_than_channels_is_normal():
    for shape, groups in (((3, 3, 4, 3), 1), ((3, 3, 4, 6), 2)):
        kernel = keras.ops.convert_to_numpy(NearIdentityConv2D(groups, seed=1)(shape))
        assert (kernel != -10).all()
    initializer = NearIdentityConv2D(2, seed=1)
    assert NearIdentityConv2D.from_config(initializer.get_config()).groups == 2


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"filters": 0}, "filters must be a positive integer, got 0"),
        ({"kernel_size": 0}, "kernel_size must be a positive integer, got 0"),
        ({"kernel_size": (1, 2, 3)}, r"kernel_size must be .* pair of them, got \(1, 2, 3\)"),
        ({"strides": (1, 1.5)}, "strides must be a positive integer, got 1.5"),
        ({"padding": "causal"}, "padding must be one of 'valid', 'same', got 'causal'"),
        ({"groups": 0}, "groups must be a positive integer, got 0"),
        ({"groups": 3}, "groups = 3 must divide filters = 4"),
        ({"p": 1.0}, "p must be a number of at least 2"),
        ({"implementation": "gpu"}, "'gpu'"),
        ({"implementation": "pallas"}, "'pallas'"),
    ],
)
def test_bad_arguments_are_named(config, message):
    with pytest.raises(ValueError, match=message):
        LinfDistanceConv2D(**{"filters": 4, "kernel_size": 3, **config})


@pytest.mark.parametrize(
    ("config", "input_shape", "message"),
    [
        ({}, (None, 8, 8), r"got \(None, 8, 8\)"),
        ({}, (None, None, None, 3), "all but the batch known"),
        ({}, (None, 2, 8, 3), "does not fit into images of 2 × 8"),
        ({"groups": 2}, (None, 8, 8, 3), "groups = 2 must divide the 3 channels"),
    ],
)
def test_images_that_do_not_fit_are_named(config, input_shape, message):
    with pytest.raises(ValueError, match=message):
        LinfDistanceConv2D(4, 3, **config).build(input_shape)
