"""The linear layers with a bound on their norm, and what stands between them."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.backend import BACKEND, value_and_gradients
from tests.layers.harness import assert_survives_saving, run_layer_test
from tests.layers.lipschitz import matrix_of, steepest, stretch
from zoo.layers import (
    ConvexResidual,
    MaxMin,
    NonexpansiveConv2D,
    NonexpansiveDense,
    NormPooling2D,
    PixelShuffle,
    PixelUnshuffle,
    Roll,
    TwoSidedReLU,
)
from zoo.losses import RowSumRegularizer
from zoo.ops.float32 import ACTIVATION_ROUNDINGS, UNIT_ROUNDOFF
from zoo.ops.parametrizations import PARAMETRIZATIONS
from zoo.utils.once import computing_once

# Nonexpansive for any weights; and after each step of an optimizer.
CONSTRUCTIONS = ["row_sum", "almost_orthogonal"]
TRAINED = [*CONSTRUCTIONS, "orthogonal"]


@pytest.mark.parametrize("parametrization", PARAMETRIZATIONS)
@pytest.mark.parametrize("use_bias", [True, False])
def test_dense(tmp_path, parametrization, use_bias):
    model, x = run_layer_test(
        NonexpansiveDense,
        {"units": 3, "parametrization": parametrization, "use_bias": use_bias},
        (4, 7),
        output_shape=(4, 3),
        trainable=1 + use_bias,
        non_trainable=0,
    )
    assert_survives_saving(model, x, tmp_path)


@pytest.mark.parametrize("parametrization", PARAMETRIZATIONS)
def test_dense_at_every_pixel(tmp_path, parametrization):
    config = {"units": 3, "parametrization": parametrization}
    model, x = run_layer_test(
        NonexpansiveDense, config, (4, 5, 6, 7), output_shape=(4, 5, 6, 3), trainable=2,
        non_trainable=0,
    )  # fmt: skip
    assert_survives_saving(model, x, tmp_path)
    layer = model.layers[-1]
    layer.bias.assign([1.0, -2.0, 3.0])
    computed = keras.ops.convert_to_numpy(layer(x))
    expected = x.astype("float64") @ keras.ops.convert_to_numpy(layer.effective_kernel())
    expected += [1.0, -2.0, 3.0]
    np.testing.assert_allclose(computed, expected, atol=1e-5)
    # The bias is added at each of the 30 pixels.
    norms = np.linalg.norm(x.reshape(4, -1).astype("float64"), axis=1)
    size, error = layer.rounding(norms, 0.0)
    assert (np.linalg.norm(expected.reshape(4, -1), axis=1) <= size).all()
    assert (np.linalg.norm((computed - expected).reshape(4, -1), axis=1) <= error).all()
    bias_alone, _ = layer.rounding(0.0, 0.0)
    assert bias_alone == pytest.approx(np.sqrt(30 * 14))


def test_dense_on_images_of_unknown_size_has_no_error_bound():
    layer = NonexpansiveDense(3)
    outputs = layer(keras.Input((None, None, 7)))
    assert outputs.shape == (None, None, None, 3)
    assert layer(np.zeros((2, 4, 5, 7))).shape == (2, 4, 5, 3)
    with pytest.raises(ValueError, match="unknown size"):
        layer.rounding(1.0, 0.0)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda: NormPooling2D(2), (None, None, 3)),
        (lambda: ConvexResidual([NonexpansiveDense(8)]), (None, 8)),
    ],
)
def test_layers_of_inputs_of_unknown_size_have_no_error_bound(layer, shape):
    built = layer()
    known = [6 if side is None else side for side in shape]
    assert built(keras.Input(shape)).shape[-1] == shape[-1]
    assert built(np.ones((2, *known), "float32")).shape[-1] == shape[-1]
    with pytest.raises(ValueError, match="unknown size"):
        built.rounding(1.0, 0.0)
    with pytest.raises(ValueError, match="the size of the images must be known"):
        NormPooling2D(2, padding="same")(keras.Input((None, None, 3)))


def test_a_convolution_takes_images_of_the_size_that_its_bound_is_of():
    """This kernel stretches larger images by more than those that it was built for."""
    layer = NonexpansiveConv2D(1, (1, 3), use_bias=False)
    layer(np.zeros((1, 4, 4, 1)))
    layer.kernel.assign(np.array([1.0, 0.0, -1.0]).reshape(1, 3, 1, 1))
    with pytest.raises(ValueError, match="expected shape"):
        layer(np.zeros((1, 64, 64, 1)))
    larger = NonexpansiveConv2D(1, (1, 3), use_bias=False)
    larger(np.zeros((1, 64, 64, 1)))
    larger.set_weights(layer.get_weights())
    assert larger.lipschitz() > layer.lipschitz()


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (NonexpansiveDense(1, parametrization="free"), (32,)),
        (NonexpansiveDense(1, parametrization="free"), (64,)),
        (NonexpansiveConv2D(1, 3, padding="valid", parametrization="free"), (3, 3, 8)),
    ],
    ids=lambda value: str(value) if isinstance(value, tuple) else "",
)
def test_the_error_bound_holds_if_a_compiler_starts_the_sum_with_the_bias(layer, shape):
    """Every product is then too small to change it."""
    layer.build((None, *shape))
    layer.kernel.assign(np.ones(layer.kernel.shape))
    ones = np.ones((1, *shape), "float32")
    whole = float(keras.ops.convert_to_numpy(layer(ones)).sum())
    count, term = int(np.prod(shape)), np.float32(0.99 * 2.0**-24)
    layer.kernel.assign(np.full(layer.kernel.shape, count * term / whole))
    layer.bias.assign([1.0])
    # A condensed layer adds the bias to one of its blocks.
    block = layer._roundings if isinstance(layer, NonexpansiveConv2D) else min(count, 32)
    total = np.float32(1.0)
    for _ in range(block):
        total = total + term
    lost = 1.0 + block * float(term) - float(total)
    assert lost > 0.9 * block * float(term)
    assert lost <= layer.rounding(np.sqrt(count), 0.0)[1]


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_pooling_has_gradients_in_few_bits(policy):
    layer = NormPooling2D(2, dtype=policy)
    x = np.full((1, 4, 4, 1), 1e-3, "float32")
    x[0, :2, :2] = 0.0
    found, gradients = value_and_gradients(lambda x: keras.ops.cast(layer(x), "float32"), x)
    assert layer(x).dtype == layer.compute_dtype
    assert np.isfinite(gradients[0]).all()
    np.testing.assert_allclose(found[0, 1, 1, 0], 2e-3, rtol=0.01)
    if BACKEND == "tensorflow":  # float64 is switched off on JAX
        assert NormPooling2D(2, dtype="float64")(x.astype("float64")).dtype == "float64"


@pytest.mark.parametrize("parametrization", PARAMETRIZATIONS)
@pytest.mark.parametrize(
    ("padding", "strides", "side"), [("same", (1, 1), 6), ("same", (2, 2), 3), ("valid", (2, 2), 2)]
)
def test_convolution(tmp_path, parametrization, padding, strides, side):
    config = {
        "filters": 4,
        "kernel_size": [3, 3],
        "strides": list(strides),
        "padding": padding,
        "parametrization": parametrization,
        "divide_before_convolution": False,
    }
    model, x = run_layer_test(
        NonexpansiveConv2D,
        config,
        (5, 6, 6, 2),
        output_shape=(5, side, side, 4),
        trainable=2,
        non_trainable=0,
    )
    assert_survives_saving(model, x, tmp_path)


@pytest.mark.parametrize(
    ("layer_class", "config", "output_shape"),
    [
        (TwoSidedReLU, {}, (3, 6, 6, 8)),
        (MaxMin, {}, (3, 6, 6, 4)),
        (NormPooling2D, {"pool_size": [2, 2]}, (3, 3, 3, 4)),
        (NormPooling2D, {"pool_size": [3, 3], "strides": [2, 2], "padding": "same"}, (3, 3, 3, 4)),
        (NormPooling2D, {"pool_size": [6, 6]}, (3, 1, 1, 4)),
        (PixelUnshuffle, {"block_size": 2}, (3, 3, 3, 16)),
        (PixelUnshuffle, {"block_size": 4}, (3, 2, 2, 64)),
        (PixelShuffle, {"block_size": 2}, (3, 12, 12, 1)),
        (Roll, {"shift": 1}, (3, 6, 6, 4)),
        (Roll, {"shift": -8}, (3, 6, 6, 4)),
    ],
)
def test_layers_without_weights(tmp_path, layer_class, config, output_shape):
    model, x = run_layer_test(
        layer_class,
        config,
        (3, 6, 6, 4),
        output_shape=output_shape,
        trainable=0,
        non_trainable=0,
    )
    assert_survives_saving(model, x, tmp_path)
    layer = layer_class(**config)
    found = steepest(layer, (4, 4, 4) if "pool_size" not in config else (6, 6, 4), random())
    assert 0.5 < found <= layer.lipschitz() * (1 + 1e-5)


def random():
    return np.random.default_rng(0)


@given(
    seed=st.integers(0, 10_000),
    parametrization=st.sampled_from(CONSTRUCTIONS),
    inputs=st.integers(1, 9),
    units=st.integers(1, 9),
)
def test_any_dense_kernel_is_nonexpansive(seed, parametrization, inputs, units):
    random = np.random.default_rng(seed)
    layer = NonexpansiveDense(units, parametrization=parametrization)
    layer.build((None, inputs))
    layer.kernel.assign(wild(random, layer.kernel.shape))
    exact = np.linalg.norm(matrix_of(layer, (inputs,)), 2)
    assert exact <= layer.lipschitz() * (1 + 1e-5)
    assert layer.lipschitz() <= 1 + 1e-4


@given(
    seed=st.integers(0, 10_000),
    parametrization=st.sampled_from(CONSTRUCTIONS),
    size=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    strides=st.sampled_from([1, 2, 3]),
    padding=st.sampled_from(["same", "valid"]),
    channels=st.integers(1, 3),
    filters=st.integers(1, 4),
)
def test_any_convolution_kernel_is_nonexpansive(
    seed, parametrization, size, strides, padding, channels, filters
):
    random = np.random.default_rng(seed)
    layer = NonexpansiveConv2D(
        filters, size, strides=strides, padding=padding, parametrization=parametrization
    )
    layer.build((None, 5, 6, channels))
    layer.kernel.assign(wild(random, layer.kernel.shape))
    exact = np.linalg.norm(matrix_of(layer, (5, 6, channels)), 2)
    assert exact <= layer.lipschitz() * (1 + 1e-5)
    assert layer.lipschitz() <= 1 + 1e-4


def wild(random, shape):
    """Kernels of all sizes; some with equal entries, where everything adds up."""
    kernel = random.normal(size=shape) * 10.0 ** random.integers(-3, 4)
    return np.full(shape, 3.0) if random.random() < 0.2 else kernel


@pytest.mark.integration
@pytest.mark.parametrize("parametrization", TRAINED)
def test_training_cannot_stretch_them(parametrization):
    x = np.random.default_rng(0).normal(size=(64, 6, 6, 2)).astype("float32")
    convolution = NonexpansiveConv2D(4, 3, parametrization=parametrization)
    stretch(convolution, x)
    assert np.linalg.norm(matrix_of(convolution, (6, 6, 2)), 2) <= convolution.lipschitz() + 1e-5
    dense = NonexpansiveDense(5, parametrization=parametrization)
    stretch(dense, x.reshape(64, -1))
    exact = np.linalg.norm(matrix_of(dense, (72,)), 2)
    assert exact <= dense.lipschitz() + 1e-5
    assert max(dense.lipschitz(), convolution.lipschitz()) <= 1 + 1e-4
    # They can be as steep as is allowed: the bound is no empty promise.
    assert exact > 0.7


@pytest.mark.skipif(BACKEND == "jax", reason="float64 is switched off on JAX")
@given(
    seed=st.integers(0, 10_000),
    parametrization=st.sampled_from(CONSTRUCTIONS),
    dense=st.booleans(),
)
def test_the_distance_between_two_effective_kernels_is_bounded(seed, parametrization, dense):
    """float32's, against the same formula in float64: half of what any two may be apart."""
    random = np.random.default_rng(seed)
    if dense:
        layer = NonexpansiveDense(20, parametrization=parametrization)
        layer.build((None, 200))
    else:
        layer = NonexpansiveConv2D(
            5, 3, strides=2, divide_before_convolution=False, parametrization=parametrization
        )
        layer.build((None, 6, 6, 4))
    layer.kernel.assign(wild(random, layer.kernel.shape))
    single = keras.ops.convert_to_numpy(layer.effective_kernel()).astype("float64")
    kernel = keras.ops.cast(layer.kernel, "float64")
    double = keras.ops.convert_to_numpy(kernel / keras.ops.sqrt(layer._sums(kernel)))
    difference = np.linalg.norm((single - double).reshape(-1, single.shape[-1]), 2)
    norm = np.linalg.norm(double.reshape(-1, single.shape[-1]), 2)
    assert difference <= layer._kernel_rounding() * norm


@pytest.mark.integration
def test_free_kernels_tell_how_much_they_stretch():
    x = np.random.default_rng(0).normal(size=(64, 6, 6, 2)).astype("float32")
    for divided in (True, False):
        layer = NonexpansiveConv2D(4, 3, parametrization="free", divide_before_convolution=divided)
        stretch(layer, x)
        exact = np.linalg.norm(matrix_of(layer, (6, 6, 2)), 2)
        assert 1 < exact <= layer.lipschitz() * (1 + 1e-5)


def test_bounds_of_a_kernel_are_computed_once_within_a_computation_alone(monkeypatch):
    layer = NonexpansiveConv2D(4, 3, parametrization="free", divide_before_convolution=False)
    layer.build((None, 6, 6, 2))
    computed, compute = [], layer._norm
    monkeypatch.setattr(
        NonexpansiveConv2D, "_norm", lambda _, kernel: computed.append(1) or compute(kernel)
    )
    with computing_once():
        norm, error = layer.lipschitz(), layer.rounding(1.0, 0.0)[1]
        assert (layer.lipschitz(), layer.rounding(1.0, 0.0)[1]) == (norm, error)
    assert len(computed) == 2  # of the kernel, and of its absolute values
    assert layer.lipschitz() == norm
    layer.kernel.assign(2.0 * layer.kernel)
    assert layer.lipschitz() == pytest.approx(2.0 * norm)
    with computing_once():
        assert layer.rounding(1.0, 0.0)[1] > 1.5 * error
    layer.divide_before_convolution = True
    assert layer.lipschitz() == pytest.approx(2.0 / 3.0 * norm)  # 3 × 3 windows overlap 9 times


def test_dividing_before_the_convolution():
    """√K = 3 for windows of 3 × 3: the same kernel, a third of the output."""
    x = np.random.default_rng(0).normal(size=(2, 6, 6, 2)).astype("float32")
    layers = [
        NonexpansiveConv2D(4, 3, parametrization="free", divide_before_convolution=divided)
        for divided in (True, False)
    ]
    outputs = [keras.ops.convert_to_numpy(layer(x)) for layer in layers]
    layers[1].set_weights(layers[0].get_weights())
    outputs[1] = keras.ops.convert_to_numpy(layers[1](x))
    np.testing.assert_allclose(3 * outputs[0], outputs[1], rtol=1e-4, atol=1e-5)


def test_orthogonal_patches_keep_every_length():
    """Where windows do not overlap and there are enough filters, nothing is lost."""
    layer = NonexpansiveConv2D(8, 2, strides=2, parametrization="orthogonal")
    singular_values = np.linalg.svd(matrix_of(layer, (6, 6, 2)), compute_uv=False)
    np.testing.assert_allclose(singular_values, 1, atol=1e-4)


@pytest.mark.integration
def test_the_regularizer_brings_the_norm_down():
    layer = NonexpansiveDense(
        6,
        parametrization="free",
        kernel_initializer=keras.initializers.RandomNormal(stddev=1.0),
        kernel_regularizer=RowSumRegularizer(1.0),
    )
    model = keras.Sequential([keras.Input((6,)), layer])
    before = layer.lipschitz()
    model.compile(keras.optimizers.Adam(0.05), "mse")
    x = np.zeros((64, 6), "float32")
    model.fit(x, x, epochs=60, batch_size=16, verbose=0)
    assert before > 2
    assert layer.lipschitz() < 1.1


def test_norm_pooling_is_the_norm():
    x = np.random.default_rng(0).normal(size=(2, 5, 5, 3)).astype("float32")
    pooled = keras.ops.convert_to_numpy(NormPooling2D(3, strides=2)(x))
    window = np.linalg.norm(x[1, 2:5, 0:3, 2])
    np.testing.assert_allclose(pooled[1, 1, 0, 2], window / 2, rtol=1e-5)  # K = 2 · 2
    padded = keras.ops.convert_to_numpy(NormPooling2D(3, strides=2, padding="same")(x))
    np.testing.assert_allclose(padded[0, 0, 2, 1], np.linalg.norm(x[0, :2, 3:, 1]) / 2, rtol=1e-5)


def test_pooling_a_constant_image_has_a_gradient():
    """The root of zero has none: weights before it would become NaN."""
    model = keras.Sequential([keras.Input((4, 4, 1)), NonexpansiveConv2D(2, 3), NormPooling2D(2)])
    model.compile("sgd", "mse")
    model.fit(np.zeros((4, 4, 4, 1)), np.ones((4, 2, 2, 2)), verbose=0)
    assert all(np.isfinite(w).all() for w in model.get_weights())


@given(
    seed=st.integers(0, 10_000),
    side=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    channels=st.integers(1, 3),
    size=st.integers(1, 3),
)
def test_a_pixel_of_the_unshuffled_image_is_a_block(seed, side, channels, size):
    x = np.random.default_rng(seed).normal(size=(2, *side, channels)).astype("float32")
    rows, columns = (-(-n // size) for n in side)
    padded = np.zeros((2, rows * size, columns * size, channels), "float32")
    padded[:, : side[0], : side[1]] = x
    blocks = keras.ops.convert_to_numpy(PixelUnshuffle(size)(x))
    assert blocks.shape == (2, rows, columns, size * size * channels)
    for row, column in np.ndindex(rows, columns):
        block = padded[:, row * size :, column * size :][:, :size, :size]
        np.testing.assert_array_equal(blocks[:, row, column], block.reshape(2, -1))
    back = keras.ops.convert_to_numpy(PixelShuffle(size)(blocks))
    np.testing.assert_array_equal(back, padded)


@given(shift=st.integers(-9, 9), side=st.tuples(st.integers(1, 6), st.integers(1, 6)))
def test_rolling_moves_pixels_down_and_to_the_right(shift, side):
    x = np.random.default_rng(0).normal(size=(2, *side, 3)).astype("float32")
    rolled = keras.ops.convert_to_numpy(Roll(shift)(x))
    rows, columns = ((np.arange(n) - shift) % n for n in side)
    np.testing.assert_array_equal(rolled, x[:, rows][:, :, columns])


def residual_block():
    return ConvexResidual(
        [
            TwoSidedReLU(),
            NonexpansiveConv2D(3, 3, strides=2),
            NonexpansiveConv2D(3, 3, parametrization="almost_orthogonal"),
        ],
        [NonexpansiveConv2D(3, 1, strides=2)],
    )


@pytest.mark.integration
def test_residual(tmp_path):
    block = residual_block()
    x = np.random.default_rng(0).normal(size=(64, 6, 6, 2)).astype("float32")
    stretch(block, x)
    found = steepest(block, (6, 6, 2), random())
    assert 0.1 < found <= block.lipschitz() * (1 + 1e-5)
    assert block.lipschitz() <= 1 + 1e-4
    inputs = keras.Input((6, 6, 2))
    model = keras.Model(inputs, block(inputs))
    assert len(model.trainable_weights) == 7
    assert_survives_saving(model, x, tmp_path)
    block.mixing_logit.assign(100.0)
    assert block.lipschitz() <= 1 + 1e-4


@pytest.mark.parametrize("logit", [0.0, -2.2])
def test_the_share_of_a_residual_block_may_be_as_wrong_as_a_sigmoid(monkeypatch, logit):
    """Shortcut and branch are opposites, so the error of the share counts twice."""
    block = ConvexResidual([NonexpansiveDense(4, parametrization="free")])
    x = np.random.default_rng(0).normal(size=(1, 4)).astype("float32")
    block(x)
    block.branch[0].kernel.assign(-np.eye(4))
    block.mixing_logit.assign(logit)
    exact = (1.0 - 2.0 * block.share()) * x.astype(np.float64)
    allowed = ACTIVATION_ROUNDINGS * UNIT_ROUNDOFF * (1.0 + abs(logit))
    monkeypatch.setattr(keras.ops, "sigmoid", lambda _: np.float32(block.share() + allowed))
    error = np.linalg.norm(keras.ops.convert_to_numpy(block(x)) - exact)
    assert error > 1.9 * allowed * np.linalg.norm(x)
    assert error <= block.rounding(np.linalg.norm(x), 0.0)[1]


def test_a_residual_block_starts_where_it_is_told():
    """With the identity as shortcut: ``t F(x) + (1 - t) x``, also after it is built from config."""
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    block = ConvexResidual([NonexpansiveDense(4)], start=0.125)
    block = ConvexResidual.from_config(block.get_config())
    found = keras.ops.convert_to_numpy(block(x))
    branch = keras.ops.convert_to_numpy(block.branch[0](x))
    np.testing.assert_allclose(found, 0.125 * branch + 0.875 * x, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: NonexpansiveDense(0), ValueError, "units must be a positive integer"),
        (lambda: NonexpansiveDense(3, parametrization="svd"), ValueError, "'svd'"),
        (lambda: NonexpansiveConv2D(3, (1, 2, 3)), ValueError, "kernel_size must be"),
        (lambda: NonexpansiveConv2D(3, 2, padding="full"), ValueError, "'full'"),
        (
            lambda: NonexpansiveConv2D(3, 7, padding="valid").build((None, 6, 6, 1)),
            ValueError,
            "does not fit",
        ),
        (lambda: NonexpansiveConv2D(3, 3).build((None, None, 6, 1)), ValueError, "batch known"),
        (lambda: MaxMin().build((None, 5)), ValueError, "even number"),
        (lambda: NormPooling2D(2, padding="full"), ValueError, "'full'"),
        (lambda: PixelUnshuffle(0), ValueError, "block_size must be a positive integer"),
        (lambda: PixelUnshuffle(2).build((None, 4, None, 3)), ValueError, "batch known"),
        (lambda: PixelShuffle(2).build((None, 4, 4, 6)), ValueError, "a multiple of 4"),
        (lambda: Roll(0.5), ValueError, "shift must be an integer"),
        (lambda: Roll().build((None, 6)), ValueError, "height, width, channels"),
        (lambda: ConvexResidual([]), ValueError, "at least one layer"),
        (lambda: ConvexResidual([keras.layers.ReLU()]), TypeError, "ReLU has none"),
        (
            lambda: ConvexResidual([NonexpansiveDense(3)]).build((None, 4)),
            ValueError,
            "branch returns",
        ),
        (
            lambda: ConvexResidual([NonexpansiveDense(3)], start=1.0),
            ValueError,
            "start must be between 0 and 1, got 1.0",
        ),
        (lambda: RowSumRegularizer(-1), ValueError, "not negative"),
    ],
)
def test_bad_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
