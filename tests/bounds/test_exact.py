"""Least margins by a mixed-integer program, against a linear program for each pattern of ReLUs."""

import itertools

import keras
import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

import zoo
from tests.backend import BACKEND
from zoo.bounds import exact
from zoo.bounds.exact import ReLUProgram, require_exact
from zoo.certificates.network_bounds import NetworkBounds
from zoo.errors import UnsupportedLayerError
from zoo.ops.precision import double_precision
from zoo.utils.deadline import time_limit


def test_neurons_with_several_uses_may_be_computed_again_for_each():
    """``relu(h) - h`` is 0 for a ``h >= 0`` that is computed once, and may be less otherwise."""
    image = keras.Input((2,))
    h = layers.ReLU()(layers.Rescaling(30000.7, -15000.35)(image))
    again = layers.Dense(2, "relu", use_bias=False)(h)
    model = keras.Model(image, layers.Dense(2)(layers.Subtract()([again, h])))
    first, head = (layer for layer in model.layers if isinstance(layer, layers.Dense))
    first.set_weights([np.eye(2)])
    x = np.full((1, 2), 0.5, "float32")
    for lead, proves in ((1e-4, False), (0.1, True)):  # two computations differ by up to 0.001
        head.set_weights([np.eye(2) * [1.0, 0.0], np.array([lead, 0.0])])
        radius = zoo.certify(model, x, norm="linf", method="exact").radius[0]
        assert radius > 0.5 if proves else radius == 0


EXAMPLES = 12 if BACKEND == "tensorflow" else 3
SHAPES = [(3, 5, 3), (2, 4, 3, 3), (4, 7, 2), (2, 2, 2, 2, 3)]


class Network:
    """Dense layers, each but the last with a slope below zero for each of its neurons."""

    def __init__(self, shape, random, slopes=(0.0,), scales=1.0):
        self.sizes = shape
        self.kernels = [
            random.normal(size=pair) * 2 / np.sqrt(pair[0]) for pair in itertools.pairwise(shape)
        ]
        self.biases = [0.5 * random.normal(size=n) for n in shape[1:]]
        self.slopes = [random.choice(slopes, size=n).astype("float32") for n in shape[1:-1]]
        # Each layer larger or smaller, so that the numbers in between are.
        for i, scale in enumerate(np.broadcast_to(scales, len(self.kernels))):
            self.kernels[i] *= scale
            self.biases[i] *= np.prod(np.broadcast_to(scales, len(self.kernels))[: i + 1])
        for part in (self.kernels, self.biases):
            part[:] = [array.astype("float32") for array in part]

    def model(self):
        model = keras.Sequential([keras.Input(self.sizes[:1])])
        for kernel, bias, slope in itertools.zip_longest(self.kernels, self.biases, self.slopes):
            model.add(layers.Dense(len(bias)))
            model.layers[-1].set_weights([kernel, bias])
            if slope is not None:
                model.add(layers.PReLU())
                model.layers[-1].set_weights([slope])
        return model

    def least(self, x, own, other, eps):
        """The least margin in exact arithmetic, over the ball within [0, 1]."""
        ends = list(zip(np.maximum(x - eps, 0), np.minimum(x + eps, 1), strict=True))
        hidden, least = [len(slope) for slope in self.slopes], np.inf
        for pattern in itertools.product([False, True], repeat=sum(hidden)):
            parts = np.split(np.array(pattern), np.cumsum(hidden)[:-1])
            linear, offset, rows, limits = np.eye(len(x)), np.zeros(len(x)), [], []
            for kernel, bias, slope, on in zip(
                self.kernels, self.biases, self.slopes, parts, strict=False
            ):
                kernel, bias, slope = (part.astype("float64") for part in (kernel, bias, slope))
                linear, offset = linear @ kernel, offset @ kernel + bias
                sign = np.where(on, -1.0, 1.0)
                scale = np.abs(linear).sum(axis=0) + 1e-30
                rows.append((linear * (sign / scale)).T)
                limits.append(-offset * sign / scale)
                factor = np.where(on, 1.0, slope)
                linear, offset = linear * factor, offset * factor
            last = self.kernels[-1][:, own] - self.kernels[-1][:, other].astype("float64")
            constant = float(self.biases[-1][own]) - float(self.biases[-1][other]) + offset @ last
            found = scipy.optimize.linprog(
                linear @ last, np.concatenate(rows), np.concatenate(limits), bounds=ends
            )
            if found.status == 0:
                least = min(least, found.fun + constant)
        return least


def program_of(model, x, eps):
    bounds = NetworkBounds(model)
    for rule in bounds.rules:
        rule.prepare()
    return ReLUProgram(
        bounds.rules, *bounds.relaxed(x[None], np.array([eps]), "linf", "crown", (0.0, 1.0))
    )


def least(network, x, own, other, eps, threshold=0.0):
    """``(bound, program)`` of one margin."""
    row = np.zeros(network.sizes[-1])
    row[own], row[other] = 1.0, -1.0
    with double_precision():
        program = program_of(network.model(), x, eps)
        return program.least(row, threshold), program


@pytest.mark.integration
@settings(max_examples=EXAMPLES)
@given(
    seed=st.integers(0, 10_000),
    shape=st.sampled_from(SHAPES),
    slopes=st.sampled_from([(0.0,), (0.1,), (0.0, 0.3, -0.5, 1.0, 1.7)]),
    eps=st.sampled_from([0.003, 0.1, 0.4]),
)
def test_the_bound_has_the_sign_of_the_least_margin_and_is_never_above_it(seed, shape, slopes, eps):
    random = np.random.default_rng(seed)
    network = Network(shape, random, slopes)
    x = random.uniform(size=shape[0]).astype("float32")
    own, other = random.permutation(shape[-1])[:2]
    truth = network.least(x, own, other, eps)
    # What lies between the truth and what is proved is float32's error.
    for shift in (0.0, 0.3, -0.3, -1e-3 * (1.0 + abs(truth))):
        found, program = least(network, x, own, other, eps, truth + shift)
        assert found.bound <= truth
        if shift < 0 and program.unstable:
            assert found.bound > truth + shift


@pytest.mark.integration
@settings(max_examples=EXAMPLES)
@given(
    seed=st.integers(0, 10_000),
    scales=st.sampled_from([(1e-4, 1e4), (1e4, 1e-4), (1e-6, 1.0), (1e5, 1e3), (1e-5, 1e-5)]),
    eps=st.sampled_from([1e-4, 0.2]),
)
def test_layers_of_any_size(seed, scales, eps):
    """HiGHS's tolerances are absolute, and the program is scaled."""
    random = np.random.default_rng(seed)
    network = Network((3, 6, 3), random, (0.0,), scales)
    x = random.uniform(size=3).astype("float32")
    size = float(np.prod(scales))
    truth = network.least(x, 0, 1, eps)
    assert least(network, x, 0, 1, eps, truth)[0].bound <= truth
    below = truth - 1e-3 * (size + abs(truth))
    found, program = least(network, x, 0, 1, eps, below)
    assert found.bound <= truth
    assert found.bound > below or not program.unstable


@pytest.mark.integration
def test_a_wrong_solution_of_the_program_proves_nothing():
    """HiGHS 1.12 misses the least value here by a twentieth of what the objective can move by."""
    random = np.random.default_rng(697117366)
    network = Network((2, 2, 2, 2, 3), random)
    x = random.uniform(size=2).astype("float32")
    own, other = random.permutation(3)[:2]
    truth = network.least(x, own, other, 1.0)
    for threshold in (truth, truth + 0.1, truth + 0.3):
        assert least(network, x, own, other, 1.0, threshold)[0].bound <= truth
    assert truth - 0.01 < least(network, x, own, other, 1.0, truth - 0.01)[0].bound <= truth


@pytest.mark.parametrize("claimed", [{"mip_dual_bound": 500.0, "fun": 500.0, "status": 0}, None])
def test_a_claim_of_the_solver_is_no_proof(monkeypatch, claimed):
    """Whatever it claims, even without a solution: the tree of linear programs decides."""
    network, x = Network((3, 6, 3), np.random.default_rng(0)), np.full(3, 0.5, "float32")
    truth = network.least(x, 0, 1, 0.3)
    answer = claimed or {"mip_dual_bound": None, "fun": None, "status": 4}
    result = scipy.optimize.OptimizeResult(answer, x=None)
    monkeypatch.setattr(exact.scipy.optimize, "milp", lambda *args, **options: result)
    above, program = least(network, x, 0, 1, 0.3, truth + 1e-6)
    assert program.unstable
    assert np.isneginf(above.bound)
    assert above.point is None
    below, _ = least(network, x, 0, 1, 0.3, truth - 0.1)
    assert (truth - 0.1 < below.bound <= truth) == bool(claimed)


@given(seed=st.integers(0, 10_000), size=st.sampled_from([0.0, 0.1, 3.0]))
def test_any_multipliers_give_a_bound(seed, size):
    """Those of the solver, with errors far above its tolerances, and none of any use."""
    random = np.random.default_rng(seed)
    costs, matrix = random.normal(size=4), random.normal(size=(5, 4))
    low = random.uniform(-2, 0, size=4)
    high = low + random.uniform(0, 3, size=4)
    inside = random.uniform(low, high)
    limits = matrix @ inside + random.uniform(0, 0.5, size=5)
    rows = exact.scipy.sparse.csr_array(matrix)
    found, multipliers = exact._linear_program(costs, rows, limits, low, high)
    assert found.status == 0
    wrong = np.minimum(multipliers + size * random.normal(size=5), 0.0)
    bound = exact._bound(costs, rows, limits, low, high, wrong)
    assert bound <= found.fun + 1e-9
    assert bound <= costs @ inside
    assert size or bound >= found.fun - 1e-6


def test_a_program_has_no_time_beyond_the_limit():
    network = Network((3, 6, 3), np.random.default_rng(0))
    x = np.full(3, 0.5, "float32")
    with time_limit(1e-9):
        assert np.isneginf(least(network, x, 0, 1, 0.2)[0].bound)
    with time_limit(3600):
        assert np.isfinite(least(network, x, 0, 1, 0.2)[0].bound)


def test_the_program_covers_what_float32_computes_through_every_kind_of_layer():
    """Branches, padding, normalisation and channels: no input of the set has a smaller margin."""
    keras.utils.set_random_seed(3)
    image = keras.Input((4, 4, 2))
    z = layers.Rescaling(2.0, -1.0)(image)
    z = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(3, 2, padding="same")(z)))
    branch = layers.Conv2D(3, 1, activation="leaky_relu")(z)
    z = layers.AveragePooling2D(2)(layers.Add()([z, branch]))
    z = layers.Concatenate()([layers.Permute((2, 1, 3))(z), -z])
    z = layers.Dense(4, activation="relu")(layers.Flatten()(z))
    model = keras.Model(image, layers.Dense(3)(z))
    random = np.random.default_rng(1)
    for weight in model.weights:
        values = random.normal(size=weight.shape)
        small = 0.1 * values if len(weight.shape) == 1 else values
        weight.assign(1.0 + small if "variance" in weight.path or "gamma" in weight.path else small)
    x, eps = random.uniform(0.3, 0.7, size=(4, 4, 2)).astype("float32"), 0.2
    with double_precision():
        program = program_of(model, x, eps)
        found = program.least(np.array([1.0, -1.0, 0.0]), threshold=-30.0)
    assert program.unstable > 10
    signs = random.choice([-1.0, 1.0], size=(2000, *x.shape))
    near = np.clip(x + eps * (1 - 1e-6) * signs, 0, 1).astype("float32")
    point = np.clip(found.point[None], 0, 1).astype("float32")
    logits = keras.ops.convert_to_numpy(model(np.concatenate([near, point]), training=False))
    margins = logits[:, 0].astype("float64") - logits[:, 1]
    assert -30 < found.bound <= margins.min()
    assert np.abs(point - x).max() <= eps * (1 + 1e-5)


def test_what_has_no_program_is_named():
    def rules(*middle):
        return NetworkBounds(
            keras.Sequential([keras.Input((4, 4, 1)), *middle, layers.Flatten(), layers.Dense(2)])
        ).rules

    require_exact(rules(layers.Conv2D(2, 3, activation="relu"), layers.LeakyReLU()))
    for culprit in (
        layers.Activation("tanh", name="culprit"),
        layers.Conv2D(2, 3, activation="relu6", name="culprit"),
        layers.ReLU(max_value=1.0, name="culprit"),
        layers.MaxPooling2D(name="culprit"),
    ):
        with pytest.raises(UnsupportedLayerError, match="culprit.*method='exact' takes.*ReLU"):
            require_exact(rules(culprit))
    with pytest.raises(ValueError, match=r"6,400 ReLU neurons and 16 inputs.*10,000,000"):
        require_exact(rules(layers.Conv2D(400, 1, activation="relu")))
