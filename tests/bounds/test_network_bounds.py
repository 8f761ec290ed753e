"""Bounds of ordinary networks: against exact answers, against searches, and what is refused."""

import functools
import itertools

import keras
import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers, ops

import zoo
from tests.backend import BACKEND, slow_to_compile
from tests.models.perturbations import perturbations, sizes
from zoo.bounds import crown
from zoo.bounds.interval import boxes_of
from zoo.bounds.perturbation import PerturbationSet
from zoo.bounds.rules.pooling import MaxPoolingRule
from zoo.certificates import network_bounds
from zoo.certificates.network_bounds import METHODS, NetworkBounds
from zoo.ops.precision import double_precision

IMAGE = (6, 6, 2)
ACTIVATIONS = ("relu", "leaky_relu", "tanh", "sigmoid", "softplus", "softsign", "elu")
tensor = functools.partial(keras.ops.convert_to_tensor, dtype="float64")


def dense_network(sizes, activation="relu"):
    hidden = [layers.Dense(units, activation) for units in sizes[1:-1]]
    return keras.Sequential([keras.Input((sizes[0],)), *hidden, layers.Dense(sizes[-1])])


def image_network(activation):
    """Every kind of layer that is supported."""
    image = keras.Input(IMAGE)
    z = layers.Rescaling(2.0, -1.0)(image)
    z = layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same", use_bias=False)(z))
    z = layers.Activation(activation)(z)
    branch = layers.Conv2D(4, 3, strides=2, padding="same", activation=activation)(z)
    pooled = layers.MaxPooling2D(3, 2, padding="same")(layers.SpatialDropout2D(0.5)(z))
    z = layers.Add()([branch, pooled])
    z = layers.AveragePooling2D(2, 1, padding="same")(layers.ZeroPadding2D(1)(z))
    whole = layers.Dropout(0.5)(layers.Reshape((4,))(layers.GlobalMaxPooling2D()(z)))
    z = layers.Dense(5, activation)(layers.Flatten()(z))
    logits = layers.Add()([layers.Dense(3)(z), layers.Dense(3)(whole)])
    return keras.Model(image, logits)


@functools.cache
def network(kind):
    return image_network(kind) if kind in ACTIVATIONS else dense_network(kind)


def wild(model, random, scale=1.0):
    """Weights and statistics as training might leave them."""
    for weight in model.weights:
        if "seed" in weight.path:
            continue
        fan_in = np.prod(weight.shape[:-1]) if len(weight.shape) > 1 else 1.0
        values = scale * random.normal(size=weight.shape) / np.sqrt(fan_in)
        weight.assign(np.abs(values) + 0.1 if "variance" in weight.path else values)
    return model


def logits_of(model, x):
    return keras.ops.convert_to_numpy(model(x, training=False))


def margins(model, x, classes, eps, norm, method, limits=(0.0, 1.0)):
    bounds = NetworkBounds(model)
    with double_precision():
        for rule in bounds.rules:
            rule.prepare()
        return bounds.margins(x, classes, np.full(len(x), eps), norm, method, limits)


def exact_margin(model, x, own, eps):
    """Least margin over an ℓ∞ ball in [0, 1], by one linear program per pattern of the ReLUs."""
    weights = [w.astype("float64") for w in model.get_weights()]
    kernels, biases = weights[0::2], weights[1::2]
    ends = list(zip(np.maximum(x - eps, 0), np.minimum(x + eps, 1), strict=True))
    hidden = [len(b) for b in biases[:-1]]
    least = np.inf
    for pattern in itertools.product([0, 1], repeat=sum(hidden)):
        parts = np.split(np.array(pattern), np.cumsum(hidden)[:-1])
        linear, offset, rows, limits = np.eye(len(x)), np.zeros(len(x)), [], []
        for kernel, bias, active in zip(kernels, biases, parts, strict=False):
            linear, offset = linear @ kernel, offset @ kernel + bias
            sign = 1 - 2 * active  # active: not below zero
            rows.append((linear * sign).T)
            limits.append(-offset * sign)
            linear, offset = linear * active, offset * active
        linear, offset = linear @ kernels[-1], offset @ kernels[-1] + biases[-1]
        for j in set(range(len(offset))) - {own}:
            found = scipy.optimize.linprog(
                linear[:, own] - linear[:, j], np.concatenate(rows), np.concatenate(limits),
                bounds=ends,
            )  # fmt: skip
            if found.status == 0:
                least = min(least, found.fun + offset[own] - offset[j])
    return least


@pytest.mark.integration
@settings(max_examples=10)
@given(seed=st.integers(0, 10_000), shape=st.sampled_from([(3, 5, 3), (2, 3, 3, 3)]))
def test_bounds_are_below_the_exact_margin_and_in_order(seed, shape):
    random = np.random.default_rng(seed)
    model = wild(network(shape), random, 2.0)
    x = random.uniform(size=(1, shape[0])).astype("float32")
    own = np.argmax(logits_of(model, x), axis=1)
    for eps in (0.01, 0.1, 0.4):
        exact = exact_margin(model, x[0], own[0], eps)
        found = [margins(model, x, own, eps, "linf", method)[0] for method in METHODS]
        assert found[0] <= exact + 1e-9
        assert found[0] >= found[1] - 1e-9 or found[1] <= exact + 1e-9
        assert found[1] >= found[2]
        if eps == 0.01:
            assert found[0] >= exact - 0.3


@pytest.mark.integration
@settings(max_examples=5)
@given(seed=st.integers(0, 10_000), activation=st.sampled_from(ACTIVATIONS))
def test_two_pixels_against_brute_force(seed, activation):
    """Each point of a fine grid over a disc, as float32 computes it."""
    random = np.random.default_rng(seed)
    model = wild(dense_network((2, 6, 5, 3), activation), random, 3.0)
    x = random.uniform(size=(1, 2)).astype("float32")
    angle, length = np.meshgrid(np.linspace(0, 2 * np.pi, 61), np.linspace(0, 1, 21))
    disc = np.stack([length * np.cos(angle), length * np.sin(angle)], axis=-1).reshape(-1, 2)
    own = np.argmax(logits_of(model, x), axis=1)
    for eps, method in itertools.product((0.05, 0.3), METHODS):
        points = np.clip(x + eps * disc * (1 - 1e-6), 0, 1).astype("float32")
        logits = logits_of(model, points).astype("float64")
        others = np.delete(logits, own[0], axis=1).max(axis=1)
        least = (logits[:, own[0]] - others).min()
        bound = margins(model, x, own, eps, "l2", method)[0]
        assert bound <= least
        assert method != "crown" or bound >= least - 20 * eps


@pytest.mark.integration
@settings(max_examples=2 if BACKEND == "tensorflow" else 1)
@given(seed=st.integers(0, 10_000), activation=st.sampled_from(ACTIVATIONS))
def test_no_perturbation_breaks_a_radius(seed, activation):
    random = np.random.default_rng(seed)
    model = wild(network(activation), random, 2.0)
    x = random.uniform(size=(4, *IMAGE)).astype("float32")
    # JAX compiles it anew for every number of entries that may be on both sides of zero.
    tightest = "crown" if BACKEND == "tensorflow" else "interval"
    for norm, method in (("linf", tightest), ("l2", "crown-interval")):
        certificate = zoo.certify(model, x, norm=norm, method=method)
        tested = 0
        for x_adv in perturbations(x, certificate.radius, norm, random):
            covered = sizes(x_adv.astype("float64") - x, norm) < certificate.radius
            flipped = np.argmax(logits_of(model, x_adv), axis=1) != certificate.prediction
            assert not (covered & flipped).any()
            tested += covered.sum()
        assert tested > 0


@pytest.mark.integration
@settings(max_examples=10)
@given(
    seed=st.integers(0, 10_000),
    activation=st.sampled_from(ACTIVATIONS),
    norm=st.sampled_from(["linf", "l2"]),
)
def test_boxes_hold_what_float32_computes(seed, activation, norm):
    """Large weights and a ball of no size: what is left is rounding."""
    random = np.random.default_rng(seed)
    model = wild(network(activation), random, 5.0)
    x = random.uniform(size=(20, *IMAGE)).astype("float32")
    bounds = NetworkBounds(model)
    with double_precision():
        for rule in bounds.rules:
            rule.prepare()
        region = PerturbationSet(tensor(x), tensor(np.zeros(20)), norm, (0.0, 1.0))
        lower, upper = map(keras.ops.convert_to_numpy, boxes_of(bounds.rules, region)[-1])
    logits = logits_of(model, x)
    assert (lower <= logits).all()
    assert (logits <= upper).all()
    assert (upper - lower).max() < 0.02 * np.abs(logits).max()


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_interval_margins_are_those_of_the_differences_of_the_last_weights(norm):
    """The least margin over the box of the last hidden layer, which one of its corners attains."""
    random = np.random.default_rng(4)
    model = wild(dense_network((3, 6, 5, 4)), random, 2.0)
    x = random.uniform(size=(5, 3)).astype("float32")
    own = np.argmax(logits_of(model, x), axis=1)
    bounds = NetworkBounds(model)
    found = margins(model, x, own, 0.2, norm, "interval")
    with double_precision():
        region = PerturbationSet(tensor(x), tensor(np.full(5, 0.2)), norm, (0.0, 1.0))
        for rule in bounds.rules:
            rule.prepare()
        boxes = boxes_of(bounds.rules, region)
    lower, upper = (keras.ops.convert_to_numpy(end) for end in boxes[-2])
    low, high = (keras.ops.convert_to_numpy(end) for end in boxes[-1])
    kernel, bias = (weight.astype("float64") for weight in model.get_weights()[-2:])
    corners = np.array(list(itertools.product([0, 1], repeat=5)))
    gained = []
    for i, c in enumerate(own):
        points = lower[i] + corners * (upper[i] - lower[i])
        logits = points @ kernel + bias
        exact = (logits[:, [c]] - np.delete(logits, c, axis=1)).min()
        assert exact - 1e-4 < found[i] <= exact
        gained.append(found[i] - (low[i, c] - np.delete(high[i], c)).min())
    assert max(gained) > 0.01


def test_interval_margins_of_an_affine_network_are_exact():
    """The differences go back to the input, through a sum of two paths that share it."""
    image = keras.Input(IMAGE)
    z = layers.Conv2D(3, 3, padding="same")(image)
    z = layers.AveragePooling2D(2)(layers.Add()([z, layers.BatchNormalization()(z)]))
    model = wild(keras.Model(image, layers.Dense(3)(layers.Flatten()(z))), np.random.default_rng(5))
    x = np.random.default_rng(6).uniform(0.3, 0.7, size=(3, *IMAGE)).astype("float32")
    own = np.argmax(logits_of(model, x), axis=1)
    for norm in ("linf", "l2"):
        found, exact = (
            margins(model, x, own, 0.1, norm, method) for method in ("interval", "crown")
        )
        np.testing.assert_allclose(found, exact, rtol=1e-9)


@pytest.mark.integration
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_what_cancels_before_the_first_kernel_is_counted(norm):
    """A rescaling whose result is all rounding, under a kernel that asks for its sign."""
    random = np.random.default_rng(0)
    for _ in range(20):
        x = random.uniform(0.1, 0.9, size=(1, 1)).astype("float32")
        scale = float(random.uniform(10, 300))
        rescaling = layers.Rescaling(scale, -scale * float(x[0, 0]))
        model = keras.Sequential([keras.Input((1,)), rescaling, layers.Dense(2, use_bias=False)])
        model.layers[-1].kernel.assign([[1.0, -1.0]])
        certificate = zoo.certify(model, x, norm=norm)
        for steps in range(-20, 21):
            near = x + np.float32(steps * 2.0**-24)
            if abs(float(near[0, 0]) - float(x[0, 0])) < certificate.radius[0]:
                assert np.argmax(logits_of(model, near)) == certificate.prediction[0]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("kernel", "bias", "x", "flipped"),
    [
        ([[3e38, 3.2e38]], [2e38, 2.5e38], 0.2, 0.7),  # overflows on the way
        ([[np.nan, 1.0]], [0.0, 1.0], 0.2, 0.7),
        ([[-np.inf, 1.0]], [0.0, 1.0], 0.2, 0.7),
    ],
)
@pytest.mark.filterwarnings("ignore:the model's logits are NaN")
def test_what_overflows_or_is_no_number_proves_nothing(method, kernel, bias, x, flipped):
    model = keras.Sequential([keras.Input((1,)), layers.Dense(2)])
    model.layers[0].set_weights([np.array(kernel, "float32"), np.array(bias, "float32")])
    radius = zoo.certify(model, np.array([[x]]), norm="linf", method=method).radius[0]
    assert radius < abs(flipped - x)


@pytest.mark.parametrize("method", METHODS)
def test_logits_that_are_no_numbers_are_reported(method):
    model = keras.Sequential([keras.Input((1,)), layers.Dense(2)])
    model.layers[0].set_weights([np.array([[np.nan, 1.0]], "float32"), np.zeros(2, "float32")])
    with pytest.warns(UserWarning, match="logits are NaN for 3 of 3 images"):
        radius = zoo.certify(model, np.full((3, 1), 0.2), norm="linf", method=method).radius
    assert (radius == 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_nan_in_a_pooled_window_proves_nothing(method):
    parts = [layers.Conv2D(2, 1), layers.MaxPooling2D(2), layers.ReLU(), layers.Flatten()]
    model = keras.Sequential([keras.Input((2, 2, 1)), *parts, layers.Dense(2)])
    kernel = np.ones((1, 1, 1, 2), "float32")
    kernel[..., 0] = np.nan
    model.layers[0].kernel.assign(kernel)
    model.layers[-1].bias.assign([1.0, 0.0])
    x = np.full((1, 2, 2, 1), 0.5)
    assert zoo.certify(model, x, norm="linf", method=method).radius[0] == 0


@pytest.mark.parametrize("method", METHODS)
def test_numbers_taken_for_zero_are_counted(method):
    """A kernel so small that products vanish in float32, under one that makes up for it."""
    model = keras.Sequential([keras.Input((1,)), layers.Dense(1, "relu"), layers.Dense(2)])
    tiny, huge = np.array([[1e-37]], "float32"), np.array([[1e38, 0.0]], "float32")
    model.set_weights([tiny, np.zeros(1, "float32"), huge, np.array([0.0, 0.05], "float32")])
    certificate = zoo.certify(model, np.array([[0.13]]), norm="linf", method=method)
    flipped = logits_of(model, np.array([[0.03]], "float32")).argmax() != certificate.prediction[0]
    assert certificate.radius[0] <= 0.1 or not flipped


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float16", "float64"])
@pytest.mark.parametrize("nested", [False, True])
def test_inputs_that_keras_would_round_are_refused(dtype, nested):
    model = keras.Sequential([keras.Input((2,), dtype=dtype), layers.Dense(2)], name="culprit")
    if nested:
        model = keras.Sequential([keras.Input((2,)), model])
    with pytest.raises(zoo.UnsupportedLayerError, match=f"culprit.*{dtype}.*float32"):
        zoo.certify(model, np.zeros((1, 2)), norm="linf")


def test_sums_of_different_shapes_are_refused():
    x = keras.Input((1,))
    total = layers.Add(name="culprit")([layers.Dense(3)(x), x])
    with pytest.raises(zoo.UnsupportedLayerError, match=r"culprit.*\(3,\) and \(1,\)"):
        zoo.certify(keras.Model(x, layers.Dense(2)(total)), np.zeros((1, 1)), norm="linf")


def test_models_of_unknown_size_or_without_layers_are_refused():
    pooled = [layers.MaxPooling2D(2), layers.GlobalAveragePooling2D(), layers.Dense(2)]
    with pytest.raises(ValueError, match="unknown size"):
        zoo.certify(
            keras.Sequential([keras.Input((None, None, 1)), *pooled]),
            np.zeros((1, 4, 4, 1)),
            norm="linf",
        )
    nothing = keras.Sequential([keras.Input((3,)), layers.Activation("linear")])
    with pytest.raises(ValueError, match="computes nothing"):
        zoo.certify(nothing, np.zeros((1, 3)), norm="linf")


def test_bounds_of_an_affine_network_are_exact():
    random = np.random.default_rng(0)
    model = keras.Sequential(
        [
            keras.Input(IMAGE),
            layers.Conv2D(3, 3, strides=2, padding="same"),
            layers.BatchNormalization(),
            layers.AveragePooling2D(2, 1),
            layers.Flatten(),
            layers.Dense(2),
        ]
    )
    wild(model, random)
    x = random.uniform(0.4, 0.6, size=(3, *IMAGE)).astype("float32")
    base = model.predict(np.zeros((1, *IMAGE), "float32"), verbose=0)
    impulses = np.eye(np.prod(IMAGE)).reshape(-1, *IMAGE).astype("float32")
    columns = model.predict(impulses, verbose=0).astype("float64") - base
    gradient = columns[:, 0] - columns[:, 1]
    logits = logits_of(model, x).astype("float64")
    at_center = logits[:, 0] - logits[:, 1]
    for norm, dual in (("linf", np.abs(gradient).sum()), ("l2", np.linalg.norm(gradient))):
        found = margins(model, x, np.zeros(3, int), 0.1, norm, "crown")
        np.testing.assert_allclose(found, at_center - 0.1 * dual, atol=1e-4)


@pytest.mark.integration
@slow_to_compile
def test_interval_bounds_fall_with_eps_and_tighter_methods_give_larger_bounds():
    random = np.random.default_rng(1)
    model = wild(network("relu"), random, 2.0)
    x = random.uniform(size=(4, *IMAGE)).astype("float32")
    own = np.argmax(logits_of(model, x), axis=1)
    for norm in ("linf", "l2"):
        by_eps = [margins(model, x, own, e, norm, "interval") for e in (0, 0.01, 0.05, 0.2)]
        assert (np.diff(by_eps, axis=0) < 0).all()
    crown, mixed, interval = (margins(model, x, own, 0.02, "linf", method) for method in METHODS)
    assert (crown > mixed).all()
    assert (mixed > interval).all()
    assert (margins(model, x, own, 1e-3, "linf", "interval") > 0).all()


@settings(max_examples=30)
@given(
    seed=st.integers(0, 10_000),
    eps=st.floats(1e-4, 3.0),
    norm=st.sampled_from(["linf", "l2"]),
    clip=st.booleans(),
    own_ends=st.booleans(),
)
def test_the_least_over_a_region(seed, eps, norm, clip, own_ends):
    random = np.random.default_rng(seed)
    x = random.choice([0.0, 1.0, 0.5], size=(2, 7)) * random.uniform(size=(2, 7))
    rows = random.normal(size=(2, 3, 7)) * (random.uniform(size=(2, 3, 7)) < 0.8)
    points = x[:, None] + eps * directions(random, norm)
    # The valid range of each entry, or of all of them; x lies in both.
    low = -random.uniform(size=7) if own_ends else 0.0
    high = 1.0 + random.uniform(size=7) if own_ends else 1.0
    if clip:
        points = np.clip(points, low, high)
    least = np.einsum("brn,bpn->brp", rows, points).min(axis=2)
    with double_precision():
        limits = (low, high) if clip else None
        region = PerturbationSet(tensor(x), tensor(np.full(2, eps)), norm, limits)
        found = [keras.ops.convert_to_numpy(region.minimum(tensor(rows), i)) for i in (0, 1, 4, 20)]
        ball = keras.ops.convert_to_numpy(
            PerturbationSet(region.center, region.eps, norm, None).minimum(tensor(rows))
        )
    for bound in found:
        assert (bound <= least).all()
    assert (found[-1] >= ball - 1e-9).all()
    # As many steps as pixels reach the optimum, which a point of the region attains.
    if norm == "l2" and clip:
        for i, j in itertools.product(range(2), range(3)):
            best = least_by_search(rows[i, j], x[i], eps, low, high)
            assert found[-1][i, j] == pytest.approx(best, abs=1e-6)


def directions(random, norm):
    points = random.normal(size=(2, 500, 7)) * random.choice([0.1, 1, 10], size=(2, 500, 7))
    if norm == "linf":
        return np.sign(points) * random.uniform(size=(2, 500, 1))
    return points / np.linalg.norm(points, axis=-1, keepdims=True)


def least_by_search(row, x, eps, low, high):
    """By bisection over how long the change is, pixels stopping at the ends of their range."""
    short, long = 0.0, 1e9
    for _ in range(200):
        middle = (short + long) / 2
        if np.linalg.norm(np.clip(x - middle * row, low, high) - x) <= eps:
            short = middle
        else:
            long = middle
    return row @ np.clip(x - short * row, low, high)


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_windows_are_those_of_the_layer(padding):
    layer = layers.MaxPooling2D((3, 2), (2, 1), padding=padding)
    x = np.random.default_rng(0).normal(size=(2, 7, 6, 3))
    pooling = MaxPoolingRule(layer, (0,), x.shape[1:])
    found = keras.ops.max(pooling.windows.entries(x.astype("float32"), outside=-1e30), axis=-1)
    expected = layer(x.astype("float32"))
    np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (found, expected)))


@pytest.mark.integration
@slow_to_compile
def test_blocks_change_nothing(monkeypatch):
    random = np.random.default_rng(2)
    model = wild(network("relu"), random, 2.0)
    x = random.uniform(size=(3, *IMAGE)).astype("float32")
    monkeypatch.setattr(network_bounds, "_STEPS", 4)
    whole = zoo.certify(model, x, norm="l2", method="crown").radius
    monkeypatch.setattr(crown, "_BLOCK", 40_000)
    monkeypatch.setattr(network_bounds, "_BLOCK", 1_000)
    parts = zoo.certify(model, x, norm="l2", method="crown", batch_size=2).radius
    np.testing.assert_allclose(parts, whole, rtol=1e-5)


@pytest.mark.integration
def test_inputs_of_any_range_and_rank():
    random = np.random.default_rng(3)
    model = wild(dense_network((4, 8, 3)), random)
    x = 10 * random.normal(size=(5, 4))
    with pytest.raises(ValueError, match=r"lie in \[0, 1\]"):
        zoo.certify(model, x, norm="l2")
    certificate = zoo.certify(model, x, norm="l2", valid_range=None)
    assert (certificate.radius > 0).all()
    # Integers are the numbers that they are, as for Keras.
    whole_numbers = np.arange(20).reshape(5, 4)
    as_floats = zoo.certify(model, whole_numbers.astype(float), norm="l2", valid_range=None)
    as_integers = zoo.certify(model, whole_numbers, norm="l2", valid_range=None)
    np.testing.assert_array_equal(as_integers.radius, as_floats.radius)
    # Where nothing is cut off there is more to fear.
    x = random.uniform(size=(5, 4))
    whole = zoo.certify(model, x, norm="l2", valid_range=None).radius
    assert (zoo.certify(model, x, norm="l2").radius >= whole - 1e-6).all()


@pytest.mark.integration
def test_a_model_of_bytes_is_certified_in_units_of_bytes():
    random = np.random.default_rng(7)
    inner = wild(dense_network((4, 8, 3)), random)
    rescaled = keras.Sequential([keras.Input((4,)), layers.Rescaling(1 / 255), *inner.layers])
    x = random.integers(0, 256, size=(20, 4)).astype("uint8")
    for norm in ("linf", "l2"):
        found = zoo.certify(rescaled, x, norm=norm, valid_range=(0, 255))
        expected = zoo.certify(inner, x / 255, norm=norm)
        np.testing.assert_allclose(found.radius, 255 * expected.radius, rtol=0.02, atol=1e-3)
        np.testing.assert_array_equal(found.prediction, rescaled.predict(x, verbose=0).argmax(1))
        assert (found.radius > 0).any()


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "bool"])
def test_integers_are_not_taken_for_images_in_0_1(dtype):
    model = dense_network((4, 8, 3))
    with pytest.raises(ValueError, match=r"dtype .*valid_range=\(0, 255\)"):
        zoo.certify(model, np.ones((1, 4), dtype), norm="linf")


def test_a_model_of_bytes_is_not_asked_about_images_in_0_1():
    model = keras.Sequential([keras.Input((4,)), layers.Rescaling(1 / 255), layers.Dense(3)])
    with pytest.raises(ValueError, match=r"0\.003922, so it takes pixels of 0 to 255"):
        zoo.certify(model, np.zeros((1, 4)), norm="linf")


@pytest.mark.parametrize("valid_range", [(1, 0), (0, 0), (0,), (0, np.inf), (0, 1e40), "yes", 3])
def test_bounds_that_are_none(valid_range):
    with pytest.raises(ValueError, match="valid_range must be|of valid_range must be"):
        zoo.certify(
            dense_network((4, 8, 3)), np.zeros((1, 4)), norm="linf", valid_range=valid_range
        )


def test_no_inputs_and_models_of_the_zoo(digits, digits_model):
    model = dense_network((4, 8, 3))
    assert len(zoo.certify(model, np.zeros((0, 4)), norm="linf")) == 0
    x = digits.images[:5]
    own = digits_model.certify(x)
    again = zoo.certify(digits_model, x, norm="linf")
    np.testing.assert_array_equal(again.radius, own.radius)
    with pytest.raises(ValueError, match="valid_range"):
        zoo.certify(digits_model, x, norm="linf", valid_range=None)


def steep_relu(x):
    return 100 * x


steep_relu.__name__ = "relu"


@pytest.mark.parametrize(
    ("layer", "complaint"),
    [
        (lambda: layers.LayerNormalization(name="culprit"), "no bounds"),
        (lambda: layers.Lambda(lambda x: 2 * x, name="culprit"), "no bounds"),
        (lambda: layers.Activation("softmax", name="culprit"), "softmax, which leaves the order"),
        (lambda: layers.Softmax(name="culprit"), "no bounds, which leaves the order"),
        (lambda: layers.Dense(2, activation="mish", name="culprit"), "mish"),
        (lambda: layers.Dense(2, activation=steep_relu, name="culprit"), "relu, which is not"),
        (lambda: layers.Activation(steep_relu, name="culprit"), "relu"),
        (lambda: layers.DepthwiseConv2D(2, dilation_rate=2, name="culprit"), "dilation"),
        (lambda: layers.UpSampling2D(interpolation="bilinear", name="culprit"), "interpolates"),
        (lambda: layers.ELU(-0.5, name="culprit"), "alpha -0.5"),
        (lambda: layers.ReLU(threshold=0.5, name="culprit"), "threshold"),
        (lambda: layers.GlobalMaxPooling2D(keepdims=True, name="culprit"), "keeps the dimensions"),
    ],
)
def test_unsupported_layers_are_named_with_what_is_supported(layer, complaint):
    model = keras.Sequential([keras.Input(IMAGE), layer(), layers.Flatten(), layers.Dense(3)])
    where = r"zoo.bounds.supported\('(interval|crown)'\)"
    with pytest.raises(zoo.UnsupportedLayerError, match=f"culprit.*{complaint}.*{where}"):
        zoo.certify(model, np.zeros((1, *IMAGE)), norm="linf")


class Doubled(layers.Layer):
    def call(self, inputs):
        return 2.0 * inputs


class Subclassed(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(10)

    def call(self, inputs):
        return self.dense(inputs)


@pytest.mark.parametrize(
    "certify",
    [
        lambda model: zoo.certify(model, np.zeros((1, *IMAGE)), norm="linf"),
        zoo.models.LipschitzMarginNet,
        zoo.models.DoubleBackpropNet,
        zoo.models.CurvatureNet,
    ],
)
def test_layers_that_tell_no_shape_are_named(certify):
    inputs = keras.Input(IMAGE)
    rows = layers.Reshape((6, 12))(inputs)
    for culprit in (
        Doubled(name="culprit")(inputs),
        layers.MultiHeadAttention(1, 4, name="culprit")(rows, rows),
        Subclassed(name="culprit")(inputs),
        layers.LayerNormalization(name="culprit")(inputs),
    ):
        model = keras.Model(inputs, layers.Dense(10)(layers.Flatten()(culprit)))
        with pytest.raises(zoo.UnsupportedLayerError, match="culprit"):
            certify(model)


def test_bad_arguments_are_named():
    model = dense_network((4, 8, 3))
    x = np.zeros((1, 4))
    with pytest.raises(ValueError, match="norm must be 'linf' or 'l2', got 'l1'"):
        zoo.certify(model, x, norm="l1")
    with pytest.raises(ValueError, match="method must be 'auto' or one of"):
        zoo.certify(model, x, norm="l2", method="milp")
    with pytest.raises(ValueError, match="shape"):
        zoo.certify(model, np.zeros((1, 5)), norm="l2")
    with pytest.raises(ValueError, match="one output.*two logits"):
        zoo.certify(keras.Sequential([keras.Input((4,)), layers.Dense(1)]), x, norm="l2")
    inputs = keras.Input((4,))
    for outputs, kind in (
        ({"a": layers.Dense(3)(inputs)}, "dict"),
        ([[layers.Dense(3)(inputs)]], "nested list"),
    ):
        with pytest.raises(ValueError, match=f"returns a {kind}"):
            zoo.certify(keras.Model(inputs, outputs), x, norm="l2")
    with pytest.raises(ValueError, match="takes a dict"):
        zoo.certify(keras.Model({"a": inputs}, layers.Dense(3)(inputs)), x, norm="l2")
    with pytest.raises(TypeError, match="functional"):
        zoo.certify("a name", x, norm="l2")


def test_a_list_of_one_tensor_is_that_tensor():
    inputs = keras.Input((4,))
    logits = layers.Dense(3)(layers.ReLU()(inputs))
    x = np.random.default_rng(0).uniform(size=(5, 4)).astype("float32")
    found, expected = (
        zoo.certify(model, x, norm="linf").radius
        for model in (keras.Model([inputs], [logits]), keras.Model(inputs, logits))
    )
    np.testing.assert_array_equal(found, expected)


def test_layers_that_are_called_in_an_unusual_way():
    inputs = keras.Input((4,))
    dense, x = layers.Dense(3), np.random.default_rng(0).uniform(size=(5, 4)).astype("float32")
    expected = zoo.certify(keras.Model(inputs, dense(inputs)), x, norm="linf").radius
    merging = (layers.Add(), layers.Average(), layers.Concatenate())
    for hidden in [*(merge([inputs]) for merge in merging), layers.Identity()(inputs=inputs)]:
        found = zoo.certify(keras.Model(inputs, dense(inputs=hidden)), x, norm="linf").radius
        np.testing.assert_allclose(found, expected, rtol=1e-3)
        assert (found > 0).any()
    softmax = layers.Softmax()(inputs=dense(inputs))
    found = zoo.certify(keras.Model(inputs, softmax), x, norm="linf").radius
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    image = keras.Input((2, 2, 1))
    logits = layers.Dense(3)(layers.Add()([layers.Flatten()(image)]))
    model = zoo.models.LipschitzMarginNet(keras.Model(image, logits), constant="liplt")
    assert (model.certify(x.reshape(5, 2, 2, 1)).radius > 0).any()


def test_a_separable_convolution_may_be_a_term_of_a_sum():
    image = keras.Input((6, 6, 3))
    hidden = layers.SeparableConv2D(3, 3, padding="same")(image)
    outputs = layers.Dense(3)(layers.Flatten()(layers.Add()([image, hidden]) + 0.5))
    x = np.random.default_rng(0).uniform(size=(2, 6, 6, 3)).astype("float32")
    assert (zoo.certify(keras.Model(image, outputs), x, norm="linf").radius > 0).all()


def test_the_names_of_a_loaded_models_parts_do_not_clash():
    """The parts have the names that this process would make up next, as those of a file may."""
    image, inner = keras.Input((4,)), keras.Input((4,))
    first, second = (
        keras.Model(inner, layers.Dense(4)(inner), name=name)
        for name in ("functional", "functional_1")
    )
    head = keras.Sequential(
        [keras.Input((4,)), layers.Dense(3, activation="softmax")], name="functional_2"
    )
    model = keras.Model(image, head(second(first(image))), name="whole")
    keras.utils.clear_session()
    x = np.random.default_rng(0).uniform(size=(2, 4)).astype("float32")
    assert len(zoo.certify(model, x, norm="linf")) == 2


@pytest.mark.parametrize(
    "outputs",
    [
        lambda x: ops.split(x, 2, axis=-1)[0],
        lambda x: ops.moments(x, axes=(1,))[1],
        lambda x: layers.LSTM(3, return_state=True)(x)[1],
        lambda x: ops.mean(layers.MultiHeadAttention(2, 4)(x, x), axis=1),
    ],
)
def test_what_has_several_outputs_or_no_known_shape_is_named(outputs):
    inputs = keras.Input((4, 4))
    model = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(outputs(inputs))))
    with pytest.raises(zoo.UnsupportedLayerError, match="output|write it as a layer"):
        zoo.certify(model, np.zeros((1, 4, 4)), norm="linf")


def test_nearest_is_refused_before_anything_is_certified(monkeypatch):
    monkeypatch.setattr(NetworkBounds, "certified_radius", None)
    with pytest.raises(ValueError, match="must take images"):
        zoo.certify(dense_network((4, 8, 3)), np.zeros((1, 4)), norm="linf", nearest=True)


@pytest.mark.skipif(BACKEND == "jax", reason="nothing of it depends on the backend")
def test_half_precision_certifies_nothing():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = dense_network((4, 8, 3))
    finally:
        keras.config.set_dtype_policy("float32")
    with pytest.raises(ValueError, match="float32"):
        zoo.certify(model, np.zeros((1, 4)), norm="l2")
