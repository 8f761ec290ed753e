"""No attack and no perturbation flips a prediction inside its radius."""

import functools
import itertools
import math
import re

import keras
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import zoo
from tests import datasets
from tests.backend import BACKEND, slow_to_compile
from tests.models.perturbations import assert_unbroken, perturbations, scaled, sizes
from zoo.attacks import ATTACKS
from zoo.attacks.surrogate import distance_layers
from zoo.hub import catalog

# On the other backend the small ones: each shape of each kernel is compiled anew.
RECORDS = catalog.list_models(dataset=None if BACKEND == "tensorflow" else "digits")
EXAMPLES = 20 if BACKEND == "tensorflow" else 5


# All of it takes an hour; every time, a part of it.
thorough_or_not = pytest.mark.parametrize(
    "thorough", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["part", "thorough"]
)


def milliseconds(record):
    """What certifying an image costs; a checkpoint that was not timed counts as a slow one."""
    return math.inf if record.metrics.cost is None else record.metrics.cost.milliseconds


def kind(record):
    """The approach and the architecture without its sizes: what decides which code certifies it."""
    return record.approach, re.sub(r"\b\d[\d.-]*", "", record.architecture)


def each(records, group=kind):
    """A test of each checkpoint; with a scope, those of one checkpoint follow each other.

    The smallest of each group is tested every time, unless it takes its time: those of the embedded
    images by ``make test``, the larger ones by ``make test-integration``.
    """
    smallest = {
        group(record): record.name
        for record in sorted(RECORDS, key=lambda record: record.parameters, reverse=True)
    }
    found = []
    for record in records:
        every_time = record.name in smallest.values() and milliseconds(record) < 100
        marks = [] if every_time else [pytest.mark.slow]
        if record.dataset != "digits":
            marks.append(pytest.mark.integration)
        found.append(pytest.param(record, id=record.name, marks=marks))
    return pytest.mark.parametrize("record", found, scope="module")


def few(record):
    """A number of images that are certified in about a second, without what JAX compiles."""
    return int(np.clip(1000 / milliseconds(record), 4, 40 if BACKEND == "tensorflow" else 8))


@functools.lru_cache(maxsize=1)
def shipped(name):
    """One for all tests: its bounds take their time once. Do not change it."""
    return zoo.load(name)


def images_of(record, count):
    """The first test images of a shipped model's set, as floats."""
    images = datasets.load(record.dataset).take(count).images
    return images if images.dtype == np.float32 else images / np.float32(255)


def certificates_of(model):
    """Those that are quick enough for hundreds of images; the tightest one is attacked below."""
    small = math.prod(model.image_shape) <= 64
    quick = {"crown": False, "curvature-local": small, "exact": False}
    return [pair for pair in model.certificates if quick.get(pair[1], True)]


def sums_nothing(model):
    """A network of distances takes maxima, which are the same in any order."""
    return hasattr(model, "distance_layers")


@pytest.mark.integration
@thorough_or_not
@each(RECORDS)
def test_random_perturbations(record, thorough):
    model = shipped(record.name)
    x = images_of(record, 300 if thorough else few(record))
    for norm, method in certificates_of(model):
        certificate = model.certify(x, norm=norm, method=method)
        random, tested = np.random.default_rng(0), 0
        for _ in range(3 if thorough else 1):
            for x_adv in perturbations(x, certificate.radius, norm, random):
                tested += assert_unbroken(model, certificate, x, x_adv)
        # A radius of the size of float32's steps leaves nothing to test.
        assert tested >= 2 * np.count_nonzero(certificate.radius > 1e-3)
        assert (certificate.radius > 0).any()


@pytest.mark.integration
@pytest.mark.skipif(BACKEND != "tensorflow", reason="most attacks are for TensorFlow")
@thorough_or_not
@each(RECORDS)
def test_attacks_at_the_radius(record, thorough):
    """Each image is attacked with just its own radius as budget, or some more, and projected."""
    model, x = shipped(record.name), images_of(record, 300 if thorough else 8)
    certificate = model.certify(x)
    tested = 0
    quantiles = [0.25, 0.5, 0.75] if thorough else [0.5]
    budgets = np.quantile(certificate.radius[certificate.radius > 0], quantiles)
    runs = [
        ("fgsm", {"loss": "margin"}),
        ("fgsm", {"loss": "cross_entropy"}),
        ("pgd", {"steps": 20, "restarts": 3 if thorough else 1, "loss": "margin"}),
        ("pgd", {"steps": 10, "restarts": 1, "loss": "cross_entropy"}),
        ("momentum", {"steps": 10}),
        ("apgd-ce", {"steps": 20}),
        ("apgd-dlr", {"steps": 20}),
        ("apgd-t", {"steps": 20, "targets": 3}),
        ("fab-t", {"steps": 10, "targets": 3}),
        ("square", {"queries": 300 if thorough else 50}),
        ("fmn", {"steps": 30}),
    ]
    if distance_layers(model):  # the only models of this attack
        runs.append(("surrogate", {"steps": 10, "stages": 3}))
    if thorough:
        runs.append(("auto", {}))
    elsewhere = {"spsa", "cw", "second_order", "surrogate", "auto"}
    assert {attack for attack, _ in runs} | elsewhere == set(ATTACKS)
    # Whether an attack works at all is tested on the small models; here, strong ones of few steps.
    strongest_alone = record.dataset != "digits" and not thorough
    if strongest_alone:
        runs = [
            (attack, {**params, "steps": 10})
            for attack, params in runs
            if attack in {"pgd", "apgd-t", "surrogate"}
        ]
    for (attack, params), eps in itertools.product(runs, budgets):
        x_adv = model.attack(x, certificate.prediction, attack, eps=float(eps), **params)
        tested += assert_unbroken(model, certificate, x, x_adv)
        # The same directions, scaled to end just inside each image's own radius.
        change = scaled(x_adv.astype("float64") - x, certificate.radius, certificate.norm)
        x_own = np.clip(x + change, 0, 1).astype("float32")
        tested += assert_unbroken(model, certificate, x, x_own)
    first = slice(0, 12 if thorough else 4)
    certificate = model.certify(x[first])
    costly_runs = [("cw", {"steps": 20, "search_steps": 2, "learning_rate": 0.05})]
    if certificate.norm == "linf":  # the only norm of this attack
        costly_runs.append(("spsa", {"steps": 5, "samples": 32}))
    if hasattr(model, "worst_points"):  # the only models of this attack
        costly_runs.append(("second_order", {}))
    for attack, params in costly_runs * (not strongest_alone):
        eps = float(np.median(certificate.radius))
        x_adv = model.attack(x[first], certificate.prediction, attack, eps=eps, **params)
        tested += assert_unbroken(model, certificate, x[first], x_adv)
    assert tested > 3 * len(x) * len(budgets)


# Of the code more than of the weights.
@pytest.mark.integration
@slow_to_compile
@each(RECORDS, group=lambda record: record.approach)
def test_radii_do_not_depend_on_the_batch_size(record):
    model, x = shipped(record.name), images_of(record, 7)
    for norm, method in certificates_of(model):
        whole = model.certify(x, norm=norm, method=method, batch_size=7)
        parts = model.certify(x, norm=norm, method=method, batch_size=3)  # the last: one image
        # A matrix product may add up in another order; a search ends where it ends.
        closed_form = method == "pairwise" or sums_nothing(model)
        tolerance = {
            "rtol": 0 if closed_form else 1e-4,
            "atol": 0 if sums_nothing(model) else 2e-6,
        }
        np.testing.assert_allclose(parts.radius, whole.radius, **tolerance)
        np.testing.assert_array_equal(parts.prediction, whole.prediction)


DISTANCES = [
    record
    for record in RECORDS
    if {"interval", "lipschitz"} <= {result.method for result in record.metrics.certified}
]


@each(DISTANCES)
def test_interval_is_never_worse_than_lipschitz(record):
    model, x = shipped(record.name), images_of(record, 300 if milliseconds(record) < 1 else 40)
    interval, lipschitz = (
        model.certify(x, method=method).radius for method in ("interval", "lipschitz")
    )
    assert (interval >= lipschitz).all()
    assert (interval > lipschitz).any()


@functools.cache
def small_network(depth, width):
    """For images of three pixels; one for all examples, so that each is compiled once."""
    random = np.random.default_rng([depth, width])
    mean, std = float(random.uniform(0, 1)), float(random.uniform(0.1, 1))
    return zoo.models.LinfDistNet((1, 3, 1), 3, width=width, depth=depth, mean=mean, std=std)


def random_network(random, depth, width):
    """A network with weights as wild as training might make them."""
    model = small_network(depth, width)
    for layer in model.distance_layers:
        layer.kernel.assign(random.normal(size=layer.kernel.shape) * random.choice([0.3, 1, 5]))
    for shift in model.hidden[1::2]:
        shift.mean.assign(random.normal(size=shift.mean.shape))
    model.head.bias.assign(random.normal(size=3) * random.choice([0, 0.1, 1]))
    model.p = np.inf
    return model


def assert_no_point_flips(model, random):
    """Every point of a fine grid over each image's ball, not only a few directions.

    Returns how many points were tested: none where no radius is positive.
    """
    x = random.choice([0.0, 1.0, 0.5], size=(3, 1, 3, 1)) * random.uniform(0.9, 1, (3, 1, 3, 1))
    x = x.astype("float32")
    steps = np.stack(np.meshgrid(*[np.linspace(-1, 1, 7)] * 3), axis=-1).reshape(-1, 1, 3, 1)
    tested = 0
    for method in ("interval", "lipschitz"):
        certificate = model.certify(x, method=method)
        for i, radius in enumerate(certificate.radius):
            grid = x[i] + float(radius) * (1 - 1e-7) * steps
            grid = np.clip(grid, 0, 1).astype("float32")
            start = np.repeat(x[i : i + 1], len(grid), axis=0)
            covered = sizes(grid.astype("float64") - start, "linf") < radius.astype("float64")
            predictions = np.argmax(model.logits(grid, batch_size=1000), axis=1)
            assert (predictions[covered] == certificate.prediction[i]).all()
            tested += covered.sum()
    return tested


@pytest.mark.integration
@settings(max_examples=EXAMPLES)
@given(
    seed=st.integers(0, 100_000),
    depth=st.integers(1, 4),
    width=st.sampled_from([1, 3, 8]),
)
def test_small_networks_against_brute_force(seed, depth, width):
    random = np.random.default_rng(seed)
    assert assert_no_point_flips(random_network(random, depth, width), random) > 0


@pytest.mark.integration
@settings(max_examples=EXAMPLES)
@given(seed=st.integers(0, 100_000), depth=st.integers(1, 3))
def test_the_radius_ends_before_the_nearest_flip(seed, depth):
    """Of all points of a grid over the whole box, those of another class lie outside."""
    random = np.random.default_rng(seed)
    model = random_network(random, depth, 4)
    x = np.full((1, 1, 3, 1), 0.5, "float32")
    grid = np.stack(np.meshgrid(*[np.linspace(0, 1, 9)] * 3), axis=-1).reshape(-1, 1, 3, 1)
    predictions = np.argmax(model.logits(grid.astype("float32"), batch_size=1000), axis=1)
    distance = np.abs(grid - 0.5).max(axis=(1, 2, 3))
    (radius,) = model.certify(x).radius
    (prediction,) = model.certify(x).prediction
    flips = distance[predictions != prediction]
    assume(len(flips))
    assert radius <= flips.min()


def test_finite_p_is_never_certified():
    """At inference the distance is ℓ∞ even while the exponent of a training is small."""
    model = random_network(np.random.default_rng(0), 3, 8)
    x = np.random.default_rng(1).uniform(size=(50, 1, 3, 1))
    at_infinity = model.certify(x)
    model.p = 2.0
    np.testing.assert_array_equal(model.certify(x).radius, at_infinity.radius)


def test_logits_are_1_lipschitz_in_pixels():
    model = random_network(np.random.default_rng(3), 3, 8)
    random = np.random.default_rng(4)
    x, other = random.uniform(size=(2, 500, 1, 3, 1)).astype("float32")
    change = np.abs(model.logits(x) - model.logits(other)).max(axis=1)
    assert (change <= np.abs(x - other).max(axis=(1, 2, 3)) + 2 * model._rounding_error()).all()


def test_rounding_error_covers_float64():
    """The bound on float32's error, against the same network evaluated in float64."""
    for seed in range(20):
        random = np.random.default_rng(seed)
        model = random_network(random, 4, 8)
        x = random.uniform(size=(200, 1, 3, 1)).astype("float32")
        z = (x.reshape(200, 3).astype("float64") - model.mean) / model.std
        for layer in [*model.hidden, model.head]:
            weights = [np.asarray(keras.ops.convert_to_numpy(w), "float64") for w in layer.weights]
            if hasattr(layer, "kernel"):
                kernel = keras.ops.convert_to_numpy(layer.kernel).astype("float64")
                z = np.abs(z[:, None] - kernel).max(axis=-1)
                if layer.bias is not None:
                    z = z + keras.ops.convert_to_numpy(layer.bias).astype("float64")
            else:
                z = z - weights[0]
        error = np.abs(-model.std * z - model.logits(x).astype("float64")).max()
        assert error <= model._rounding_error()
        assert model._rounding_error() < 1e-4


@pytest.mark.integration
def test_large_radii_do_not_depend_on_the_batch_either():
    """Starts of the bisection anywhere in [0, 1] and beyond, in one batch."""
    random = np.random.default_rng(0)
    model = random_network(random, 1, 4)
    x = random.uniform(size=(60, 1, 3, 1)).astype("float32")
    whole = model.certify(x, batch_size=60).radius
    alone = model.certify(x, batch_size=1).radius
    np.testing.assert_array_equal(whole, alone)
    assert whole.max() > 0.5
    assert whole.min() < 0.3
