"""Curvature bounds against sampled Hessians, radii against closed forms and brute force."""

import dataclasses
import fractions
import functools
import itertools

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

import zoo
from zoo.bounds.curvature import (
    GlobalCurvature,
    _largest_of_products,
    eigenvalue_bounds,
)
from zoo.bounds.smooth_network import SmoothNetwork, values_and_slopes
from zoo.certificates import curvature as curvatures
from zoo.certificates.curvature import radii
from zoo.ops.precision import double_precision

ACTIVATIONS = ("softplus", "sigmoid", "tanh")


def network(random, inputs, hidden, activation, classes=3, scale=1.5):
    names = [activation] * len(hidden) if isinstance(activation, str) else activation
    parts = [layers.Dense(units, name) for units, name in zip(hidden, names, strict=False)]
    model = keras.Sequential([keras.Input((inputs,)), *parts, layers.Dense(classes)])
    for weight in model.weights:
        weight.assign(scale * random.normal(size=weight.shape) / np.sqrt(weight.shape[0]))
    return model


def prepared(model):
    smooth = SmoothNetwork(model)
    smooth.prepare()
    return smooth


def difference(smooth, x, own, other):
    """Values and gradients of ``f_own − f_other`` in float64."""
    with double_precision():

        def tensor(array):
            return keras.ops.convert_to_tensor(array, "float64")

        hidden = (
            [tensor(kernel) for kernel in smooth.kernels[:-1]],
            [tensor(bias) for bias in smooth.biases[:-1]],
            smooth.kinds,
        )
        head, bias = smooth.kernels[-1], smooth.biases[-1]
        heads = np.repeat((head[:, own] - head[:, other])[None], len(x), axis=0)
        offsets = np.full(len(x), bias[own] - bias[other])
        found = values_and_slopes(hidden, tensor(x), tensor(heads), tensor(offsets))
        return [keras.ops.convert_to_numpy(part) for part in found]


def hessian(smooth, x, own, other, step=1e-5):
    """By central differences of the gradient."""
    size = len(x)
    ends = [difference(smooth, x + s * step * np.eye(size), own, other)[1] for s in (1, -1)]
    found = (ends[0] - ends[1]) / (2 * step)
    return (found + found.T) / 2


@pytest.mark.integration
@settings(max_examples=15)
@given(
    seed=st.integers(0, 10_000),
    hidden=st.sampled_from([(6,), (5, 4), (4, 4, 3), (9, 3, 2)]),
    activation=st.sampled_from(ACTIVATIONS),
)
def test_no_sampled_hessian_exceeds_the_bounds(seed, hidden, activation):
    random = np.random.default_rng(seed)
    smooth = prepared(network(random, 4, hidden, activation))
    bounds = GlobalCurvature(smooth).of_all()
    largest = 0.0
    for own, other in itertools.permutations(range(3), 2):
        low, high = bounds.lower[own, other], bounds.upper[own, other]
        assert low <= 0 <= high
        for x in random.normal(size=(10, 4)) * random.choice([0.3, 1, 3], size=(10, 1)):
            eigenvalues = np.linalg.eigvalsh(hessian(smooth, x, own, other))
            assert low - 1e-4 <= eigenvalues[0]
            assert eigenvalues[-1] <= high + 1e-4
            largest = max(largest, eigenvalues[-1] / max(high, 1e-9))
    if len(hidden) == 1:
        assert largest > 0.1


def largest(matrix):
    return max(np.linalg.eigvalsh(matrix)[-1], 0.0)


def bounds_of_terms(smooth, head, ranges=None):
    """Upper bounds of the curvature of ``head``: ``(published, collected)``, without any slack.

    Both add up a term for each layer. The first multiplies each term's eigenvalue by the norms of
    the layers before; the second is that of :func:`zoo.bounds.curvature.eigenvalue_bounds`.
    """
    kernels = smooth.kernels[:-1]
    ranges = ranges or [((0.0, part.steepest), part.bend) for part in smooth.activations]
    steepest = [np.max(slopes[1]) for slopes, _ in ranges]
    low = high = head
    published, collected = 0.0, 0.0
    for index, kernel in reversed(list(enumerate(kernels))):
        (least, most), bends = ranges[index]
        d = np.max([end * bend for end in (low, high) for bend in bends], axis=0)
        before = [s * np.linalg.norm(k, 2) for s, k in zip(steepest, kernels[:index], strict=False)]
        published += largest((kernel * d) @ kernel.T) * np.prod(before) ** 2
        inner = np.diag(d)
        if index + 1 < len(kernels):
            half = steepest[index] ** 2 / 2
            inner = np.diag(np.maximum(d + half * largest(collected), 0)) + half * collected
        elif index:
            inner = np.maximum(inner, 0)
        collected = kernel @ inner @ kernel.T
        positive, negative = np.maximum(kernel, 0), np.minimum(kernel, 0)
        ends = [slope * end for slope in (least, most) for end in (low, high)]
        small, great = np.min(ends, axis=0), np.max(ends, axis=0)
        low, high = positive @ small + negative @ great, positive @ great + negative @ small
    return published, largest(collected)


MIXED = ("tanh", "sigmoid", "softplus")


# In the last network the matrices of the second layer are wider than all products together.
@pytest.mark.parametrize("hidden", [(6,), (5, 4), (4, 4, 3), (9, 3, 2)])
@pytest.mark.parametrize("activation", [*ACTIVATIONS, MIXED, MIXED[::-1]], ids=str)
def test_bounds_are_those_of_the_collected_terms_and_below_the_published_ones(hidden, activation):
    smooth = prepared(network(np.random.default_rng(0), 4, hidden, activation))
    bounds = GlobalCurvature(smooth).of_all()
    for own, other in itertools.combinations(range(3), 2):
        head = smooth.kernels[-1][:, own] - smooth.kernels[-1][:, other]
        for sign, bound in ((1, bounds.upper[own, other]), (-1, -bounds.lower[own, other])):
            published, collected = bounds_of_terms(smooth, sign * head)
            np.testing.assert_allclose(bound, collected, rtol=1e-8)
            assert bound >= collected * (1 - 1e-12)
            assert bound <= published * (1 + 1e-8 if len(hidden) == 1 else 0.99)


def cancelling(seed):
    """A network whose second kernel cancels most of the first: rounding is most of the product."""
    random = np.random.default_rng(seed)
    smooth = prepared(network(random, 3, (5, 4, 4), "tanh"))
    first = random.normal(size=(3, 5)) * 1e8
    second = np.linalg.svd(first)[2][3:].T @ random.normal(size=(2, 4))
    kernels = [first, second + 1e-9 * random.normal(size=(5, 4)), random.normal(size=(4, 4))]
    smooth.maps[:3] = [
        dataclasses.replace(part, kernel=kernel)
        for part, kernel in zip(smooth.maps[:3], kernels, strict=True)
    ]
    return smooth, functools.reduce(np.matmul, map(FRACTION, kernels))


FRACTION = np.vectorize(fractions.Fraction, otypes=[object])


def test_products_of_kernels_bound_their_own_rounding():
    covered = []
    for seed in range(20):
        smooth, exact = cancelling(seed)
        product, wrong = smooth.product(0, 2)
        error = (FRACTION(product) - exact).astype(np.float64)
        assert 0 < np.linalg.norm(error) <= wrong
        norms = [np.linalg.norm(kernel) for kernel in smooth.kernels[:3]]
        assert wrong <= 1e-12 * np.prod(norms)
        # The eigenvalue for one column of the product is its squared length.
        column = _largest_of_products(smooth, 0, [np.zeros(5), np.zeros(4), np.eye(4)[0]])
        squares = [float(sum(np.square(part[:, 0]))) for part in (exact, FRACTION(product))]
        assert column >= squares[0]
        covered.append(squares[0] > squares[1] * (1 + 1e-12))
    assert any(covered)


@pytest.mark.parametrize("hidden", [(6,), (5, 4)])
@pytest.mark.parametrize("bend", [np.inf, -np.inf, np.nan])
def test_ranges_that_are_not_finite_prove_nothing(hidden, bend):
    smooth = prepared(network(np.random.default_rng(0), 4, hidden, "tanh"))
    ranges = [((0.0, 1.0), (bend, bend))] * len(hidden)
    head = np.abs(smooth.kernels[-1][:, 0])
    assert eigenvalue_bounds(smooth, head, ranges) == (-np.inf, np.inf)


def test_a_convolution_is_its_matrix():
    random = np.random.default_rng(0)
    model = keras.Sequential(
        [
            keras.Input((5, 4, 2)),
            layers.Conv2D(3, 3, 2, "same"),
            layers.Activation("tanh"),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )
    for weight in model.weights:
        weight.assign(random.normal(size=weight.shape))
    smooth = prepared(model)
    x = random.uniform(size=(6, 5, 4, 2)).astype("float32")
    logits = keras.ops.convert_to_numpy(model(x))
    values, _ = difference(smooth, x.reshape(6, -1).astype("float64"), 0, 2)
    np.testing.assert_allclose(values, logits[:, 0] - logits[:, 2], rtol=1e-4, atol=1e-4)
    bounds = GlobalCurvature(smooth).of_all()
    for image in x[:3].reshape(3, -1):
        eigenvalues = np.linalg.eigvalsh(hessian(smooth, image.astype("float64"), 0, 1))
        assert bounds.lower[0, 1] - 1e-3 <= eigenvalues[0]
        assert eigenvalues[-1] <= bounds.upper[0, 1] + 1e-3


@pytest.mark.integration
@settings(max_examples=10)
@given(
    seed=st.integers(0, 10_000),
    hidden=st.sampled_from([(6,), (5, 4)]),
    activation=st.sampled_from(ACTIVATIONS),
)
def test_two_pixels_against_brute_force(seed, hidden, activation):
    """Of all points of a fine grid, as float32 classifies them, those of another class."""
    random = np.random.default_rng(seed)
    model = network(random, 2, hidden, activation, scale=3.0)
    x = random.uniform(size=(4, 2)).astype("float32")
    predicted = np.argmax(keras.ops.convert_to_numpy(model(x)), axis=1)
    smooth = prepared(model)
    found = radii(smooth, GlobalCurvature(smooth).of_all(), x, predicted)
    grid = np.stack(np.meshgrid(*[np.linspace(-3, 4, 281)] * 2), axis=-1).reshape(-1, 2)
    classes = np.argmax(keras.ops.convert_to_numpy(model(grid.astype("float32"))), axis=1)
    for i in range(len(x)):
        distance = np.linalg.norm(grid.astype("float32").astype("float64") - x[i], axis=1)
        assert (distance[classes != predicted[i]] > found.radius[i].min()).all()
        others = [j for j in range(3) if j != predicted[i]]
        for j, radius, nearest in zip(others, found.radius[i], found.nearest[i], strict=True):
            assert radius <= nearest
            there = distance[classes == j]
            if len(there):
                assert there.min() > radius


@pytest.mark.parametrize("search", [0, 20])
def test_no_radius_leaves_the_ball_in_which_the_curvature_is_bounded(search):
    random = np.random.default_rng(0)
    model = network(random, 4, (6,), "tanh")
    x = random.uniform(size=(10, 4))
    own = np.argmax(keras.ops.convert_to_numpy(model(x)), axis=1)
    other, smooth = (own + 1) % 3, prepared(model)
    bounds = GlobalCurvature(smooth).of_all()
    rows = (smooth, x, own, other, bounds.lower[own, other], bounds.upper[own, other])
    whole = curvatures.row_radii(*rows, search=search).radius
    assert (whole > 0).all()
    ball = 0.1 * whole
    found = curvatures.row_radii(*rows, ball=ball, search=search).radius
    assert (found <= ball).all()
    assert (found > 0.9 * ball).all()
    # A ball that contains everything changes nothing.
    np.testing.assert_allclose(
        curvatures.row_radii(*rows, ball=10 * whole, search=search).radius, whole, rtol=1e-3
    )


class Quadratic(curvatures._Rows):
    """``f = offset + slope · d + ½ d · H d`` with ``d`` the change of the image."""

    def __init__(self, hessians, slopes, offsets):
        eigenvalues = np.linalg.eigvalsh(hessians)
        low, high = np.minimum(eigenvalues[:, 0], 0), np.maximum(eigenvalues[:, -1], 0)
        super().__init__(
            None, np.zeros_like(slopes), slopes, offsets, low, high, np.full(len(slopes), np.inf)
        )
        self.hessians = hessians

    def tensors(self, dtype):
        def tensor(array):
            return keras.ops.convert_to_tensor(array, dtype)

        hessians, slopes, offsets = map(tensor, (self.hessians, self.heads, self.offsets))

        def function(x):
            bent = keras.ops.sum(hessians * x[:, None], axis=-1)
            values = offsets + keras.ops.sum((slopes + bent / 2) * x, axis=-1)
            return values, slopes + bent

        return function, tensor(self.centers), tensor(self.low), tensor(self.high)


@pytest.mark.parametrize("bend", [-0.5, 0.0, 0.2])
def test_a_quadratic_has_its_closed_form(bend):
    """Bent the same in all directions: the nearest zero lies along the slope."""
    slopes = np.array([[0.6, 0.8], [0.0, 2.0]])
    offsets = np.array([0.5, 0.7])
    rows = Quadratic(np.repeat(bend * np.eye(2)[None], 2, axis=0), slopes, offsets)
    limit = np.where(rows.low < 0, (1 - 1e-6) / np.maximum(-rows.low, 1e-12), 1e12)
    multiplier, point, _ = rows.search(limit)
    squares, nearest = rows.polish(multiplier, point, np.zeros(2))
    steep = np.linalg.norm(slopes, axis=1)
    expected = [
        min(r.real for r in np.roots([bend / 2, -g, c] if bend else [-g, c]) if r.real > 0)
        for g, c in zip(steep, offsets, strict=True)
    ]
    np.testing.assert_allclose(np.sqrt(squares), expected, rtol=2e-3)
    assert (np.sqrt(squares) <= np.array(expected) * (1 + 1e-9)).all()
    np.testing.assert_allclose(nearest, expected, rtol=5e-3)
    # The bound from the image alone is exact for a slope that falls, and never above the truth.
    at_once = np.sqrt(rows.at_centers()(np.zeros(2)))
    assert (at_once <= np.array(expected) * (1 + 1e-9)).all()
    if bend <= 0:
        np.testing.assert_allclose(at_once, expected, rtol=1e-9)


@pytest.mark.integration
@given(seed=st.integers(0, 10_000))
def test_what_is_proved_grows_with_the_iterations_and_stays_below_the_truth(seed):
    random = np.random.default_rng(seed)
    hessian = random.normal(size=(2, 3, 3))
    hessian = (hessian + hessian.transpose(0, 2, 1)) / 2
    slopes, offsets = random.normal(size=(2, 3)), random.uniform(0.1, 1, size=2)
    rows = Quadratic(hessian, slopes, offsets)
    with double_precision():
        function, centers, low, high = rows.tensors("float64")
        multiplier = random.uniform(0.1, 0.9, size=2) / np.maximum(-rows.low, 0.1)
        tensor = keras.ops.convert_to_tensor(multiplier, "float64")
        x, proved = centers, []
        for _ in range(30):
            values, gradients = function(x)
            found = curvatures._proved(x, centers, tensor, low, values, gradients)
            proved.append(keras.ops.convert_to_numpy(found))
            x = curvatures._step(x, centers, tensor, high, gradients)
    assert (np.diff(proved, axis=0) >= -1e-9).all()
    # The least of φ, from the linear equations that it solves.
    for i in range(2):
        matrix = np.eye(3) + multiplier[i] * hessian[i]
        best = np.linalg.solve(matrix, -multiplier[i] * slopes[i])
        least = best @ matrix @ best + 2 * multiplier[i] * (offsets[i] + slopes[i] @ best)
        assert proved[-1][i] <= least + 1e-9


@pytest.mark.integration
@given(
    seed=st.integers(0, 10_000),
    activation=st.sampled_from(ACTIVATIONS),
    shape=st.sampled_from([((40, 20), 5.0, 0.05), ((400, 400, 400), 1.0, 0.2)]),
)
@settings(max_examples=15)
def test_the_error_of_float32_is_within_its_bound(seed, activation, shape):
    """And a small part of the logits, also where many layers add up many terms."""
    hidden, scale, part = shape
    random = np.random.default_rng(seed)
    model = network(random, 30, hidden, activation, scale=scale)
    smooth = prepared(model)
    x = random.uniform(size=(20, 30))
    reach = random.uniform(0, 3, size=20)
    there = random.normal(size=x.shape)
    there = x + reach[:, None] * there / np.linalg.norm(there, axis=1, keepdims=True) * 0.999
    there = there.astype("float32")
    own, other = np.zeros(20, int), np.ones(20, int)
    allowed = curvatures._rounding(smooth, x, reach + 1e-4, own, other)
    logits = keras.ops.convert_to_numpy(model(there)).astype("float64")
    exact, _ = difference(smooth, there.astype("float64"), 0, 1)
    assert (np.abs(logits[:, 0] - logits[:, 1] - exact) <= allowed).all()
    assert (allowed < part * np.abs(logits).max()).all()


@pytest.mark.parametrize(
    ("parts", "complaint"),
    [
        ([layers.Dense(4, "relu", name="culprit"), layers.Dense(3)], "culprit.*relu"),
        ([layers.Dense(4), layers.ReLU(name="culprit"), layers.Dense(3)], "culprit.*no curvature"),
        ([layers.Activation("tanh", name="culprit"), layers.Dense(3)], "culprit.*no layer with"),
        ([layers.Dense(4, "tanh"), layers.Dense(3, "tanh", name="culprit")], "culprit"),
        (
            [layers.Dense(4), layers.Dense(3, name="culprit")],
            "culprit.*after an activation",
        ),
        ([layers.Dense(3, name="culprit")], "culprit"),
        ([layers.BatchNormalization(name="culprit"), layers.Dense(3)], "culprit"),
    ],
)
def test_what_has_no_curvature_bound_is_named(parts, complaint):
    with pytest.raises(
        zoo.UnsupportedLayerError, match=rf"{complaint}.*zoo.bounds.supported\('curvature'\)"
    ):
        SmoothNetwork(keras.Sequential([keras.Input((5,)), *parts]))


def test_branches_are_refused():
    image = keras.Input((5,))
    z = layers.Dense(4, "tanh")(image)
    both = layers.Add(name="culprit")([z, layers.Dense(4, "tanh")(z)])
    with pytest.raises(zoo.UnsupportedLayerError, match="culprit.*no curvature bounds"):
        SmoothNetwork(keras.Model(image, layers.Dense(3)(both)))


@pytest.mark.parametrize(
    "parts",
    [
        lambda: [layers.Conv2D(2, 2, dilation_rate=2, activation="tanh")],
        lambda: [layers.Conv2D(2, 1, groups=2, activation="tanh")],
        lambda: [layers.Flatten(data_format="channels_first"), layers.Dense(5, "tanh")],
        lambda: [layers.Rescaling(2.0, -1.0), layers.DepthwiseConv2D(2), layers.Activation("tanh")],
        lambda: [layers.Conv2D(3, 2), layers.AveragePooling2D(2, 1), layers.Activation("sigmoid")],
        lambda: [layers.SeparableConv2D(3, 2, activation="softplus")],
        lambda: [layers.Permute((3, 1, 2)), layers.Flatten(), layers.Dense(5, "softplus")],
        lambda: [layers.Normalization(mean=0.3, variance=0.1), layers.Flatten(),
                 zoo.layers.MeanShift(), layers.Dense(5, "tanh")],
    ],
)  # fmt: skip
def test_affine_layers_before_the_first_activation_are_one_matrix(parts):
    image = (4, 4, 2)
    parts = [*parts(), layers.Flatten(), layers.Dense(4, "tanh"), layers.Dense(3)]
    model = keras.Sequential([keras.Input(image), *parts])
    random = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(random.normal(size=weight.shape))
    smooth, x = prepared(model), random.uniform(size=(6, *image)).astype("float32")
    flat, rows = x.reshape(6, -1), np.zeros(6, int)
    exact, _ = difference(smooth, flat.astype("float64"), 0, 1)
    logits = keras.ops.convert_to_numpy(model(x)).astype("float64")
    allowed = curvatures._rounding(smooth, flat.astype("float64"), np.zeros(6), rows, rows + 1)
    assert (np.abs(logits[:, 0] - logits[:, 1] - exact) <= allowed).all()
    assert (allowed < 1e-2).all()
    assert zoo.models.CurvatureNet(model).certify(x).radius.max() > 0


@pytest.mark.integration
def test_quantised_layers_are_refused():
    parts = [layers.Dense(4, "softplus"), layers.Dense(3)]
    model = keras.Sequential([keras.Input((5,)), *parts])
    model.quantize("int8")
    with pytest.raises(zoo.UnsupportedLayerError, match="quantised"):
        SmoothNetwork(model)


def test_activations_may_differ_from_layer_to_layer():
    random = np.random.default_rng(0)
    parts = [layers.Dense(5, "softplus"), layers.Dense(4, "sigmoid"), layers.Dense(4, "tanh")]
    model = keras.Sequential([keras.Input((4,)), *parts, layers.Dense(3)])
    for weight in model.weights:
        weight.assign(random.normal(size=weight.shape))
    smooth = prepared(model)
    bounds = GlobalCurvature(smooth).of_all()
    for x in random.normal(size=(30, 4)):
        eigenvalues = np.linalg.eigvalsh(hessian(smooth, x, 0, 1))
        assert bounds.lower[0, 1] - 1e-4 <= eigenvalues[0]
        assert eigenvalues[-1] <= bounds.upper[0, 1] + 1e-4


def certified(kernel, bias, head, head_bias, x):
    """The least radius of one softplus layer under a head."""
    units = [layers.Dense(len(bias), "softplus"), layers.Dense(len(head_bias))]
    model = keras.Sequential([keras.Input((len(kernel),)), *units])
    model.set_weights([np.array(w, "float32") for w in (kernel, bias, head, head_bias)])
    smooth = prepared(model)
    x = np.array([x], "float32")
    classes = np.argmax(keras.ops.convert_to_numpy(model(x)), axis=1)
    return radii(smooth, GlobalCurvature(smooth).of_all(), x, classes).radius.min()


def test_what_overflows_within_reach_proves_nothing():
    radius = certified([[2e38], [2e38]], [0.0], [[1.2e-38, 0.0]], [10.0, 0.0], [0.8, 0.8])
    assert radius < 0.28  # where logits are infinite


def test_a_lead_of_the_size_of_rounding_proves_nothing():
    lead = 1e-7
    assert certified([[1.0]], [0.0], [[1.0, 1.0]], [lead, 0.0], [0.5]) == 0
    assert certified([[1.0]], [0.0], [[1.0, 0.5]], [0.1, 0.0], [0.5]) > 0.1
