"""`method="exact"`: radii that are as large as they can be, and no larger."""

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
from tests.bounds.test_exact import Network
from zoo.bounds import exact
from zoo.certificates import exact_margins
from zoo.certificates.pairs import METHODS


@pytest.mark.integration
@settings(max_examples=4 if BACKEND == "tensorflow" else 2)
@given(seed=st.integers(0, 10_000), slopes=st.sampled_from([(0.0,), (0.0, 0.2, 1.5)]))
def test_radii_are_those_of_enumeration(seed, slopes):
    random = np.random.default_rng(seed)
    network = Network((2, 4, 2, 3), random, slopes)
    model, x = network.model(), random.uniform(size=(1, 2)).astype("float32")
    crown, found = (zoo.certify(model, x, norm="linf", method=m) for m in ("crown", "exact"))
    radius, own = float(found.radius[0]), found.prediction[0]

    def holds(eps):
        return all(network.least(x[0], own, j, eps) > 0 for j in {0, 1, 2} - {own})

    assert radius >= crown.radius[0]
    assert radius == 0 or holds(radius)
    # The search stops at one per cent; float32's error matters where the radius is tiny.
    assert radius > 0.999 or not holds(1.015 * radius + 1e-4)
    decided = zoo.certify(model, x, norm="linf", method="exact", eps=[0.99 * radius + 1e-9, 0.5])
    below, half = decided.decided_at
    assert decided.certified(below).all() == (radius > 1e-6)
    assert decided.certified(half).all() <= holds(0.5)


def image_network():
    keras.utils.set_random_seed(0)
    image = keras.Input((5, 5, 1))
    z = layers.Conv2D(2, 3, strides=2, padding="same", activation="relu")(image)
    z = layers.Add()([z, layers.Conv2D(2, 1, activation="leaky_relu")(z)])
    z = layers.Dense(6, activation="relu")(layers.Flatten()(z))
    model = keras.Model(image, layers.Dense(3)(z))
    random = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(random.normal(size=weight.shape) / np.sqrt(np.prod(weight.shape[:-1]) / 8))
    return model, random.uniform(size=(3, 5, 5, 1)).astype("float32")


@pytest.fixture(scope="module")
def certified():
    """A model, images, their certificate, and the nearest flip that was met for each of them."""
    model, x = image_network()
    flips, bounds = {}, exact_margins.ExactMargins.bounds

    def kept(self, eps, **options):
        found, flip = bounds(self, eps, **options)
        image = self._x.tobytes()
        flips[image] = min(flips.get(image, np.inf), flip)
        return found, flip

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact_margins.ExactMargins, "bounds", kept)
        found = zoo.certify(model, x, norm="linf", method="exact")
    return model, x, found, np.array([flips[image.tobytes()] for image in x])


def logits_of(model, x):
    return keras.ops.convert_to_numpy(model(x, training=False))


@pytest.mark.integration
def test_nothing_inside_a_radius_is_flipped_and_something_just_outside_is(certified):
    """Attacked by steps along the gradient, and by corners of the ball."""
    model, x, found, _ = certified
    crown = zoo.certify(model, x, norm="linf", method="crown")
    np.testing.assert_array_equal(found.prediction, logits_of(model, x).argmax(axis=1))
    assert (found.radius >= crown.radius).all()
    assert (found.radius > 1.02 * crown.radius).any()
    random, outside = np.random.default_rng(1), 0
    for i in range(len(x)):
        x_adv = zoo.attacks.attack(
            model, x, found.prediction, "pgd", eps=1.03 * float(found.radius[i]), norm="linf",
            steps=20, loss="margin",
        )  # fmt: skip
        # All points on the way to each image's worst one, some of them inside its radius.
        for share in np.linspace(0.9, 1.0, 11):
            tried = (x + share * (x_adv - x)).astype("float32")
            same = logits_of(model, tried).argmax(axis=1) == found.prediction
            change = np.abs(tried.astype("float64") - x).max(axis=(1, 2, 3))
            assert (same | (change >= found.radius)).all()
            outside += int((~same).sum())
        signs = random.choice([-1.0, 1.0], size=(3000, *x.shape[1:]))
        reach = float(found.radius[i]) - 1e-7
        near = np.clip(x[i].astype("float64") + reach * signs, 0, 1).astype("float32")
        inside = np.abs(near - x[i].astype("float64")).max(axis=(1, 2, 3)) < found.radius[i]
        flipped = logits_of(model, near).argmax(axis=1) != found.prediction[i]
        assert inside.any()
        assert not (inside & flipped).any()
    assert outside > 0  # the attack is strong enough to find what is just outside


@pytest.mark.integration
def test_an_image_with_another_class_is_just_outside_of_each_radius(certified):
    """The solver's own points, as float32 computes their classes."""
    _, _, found, flips = certified
    assert (found.radius <= flips).all()
    assert (flips <= 1.02 * found.radius).all()


@pytest.mark.integration
def test_a_solver_that_loses_the_least_value_is_not_believed(certified, monkeypatch):
    model, x, truth, _ = certified
    solve = scipy.optimize.milp

    def wrong(*args, **options):
        result = solve(*args, **options)
        result.mip_dual_bound, result.fun = abs(result.fun) + 900.0, abs(result.fun) + 9000.0
        return result

    monkeypatch.setattr(exact.scipy.optimize, "milp", wrong)
    found = zoo.certify(model, x, norm="linf", method="exact").radius
    assert (found <= 1.02 * truth.radius).all()


@pytest.mark.integration
def test_float32_is_counted_where_the_numbers_cancel():
    """A rescaling whose result is mostly rounding, before two neurons that ask for its sign."""
    random, flips = np.random.default_rng(0), 0
    for _ in range(5):
        zero, scale = random.uniform(0.1, 0.9), random.uniform(1e4, 1e5)
        model = keras.Sequential(
            [keras.Input((1,)), layers.Rescaling(scale, -scale * zero),
             layers.Dense(2, "relu", use_bias=False), layers.Dense(2, use_bias=False)]
        )  # fmt: skip
        model.set_weights([np.array([[1.0, -1.0]]), np.eye(2)])
        x = np.array([[zero + 20 * 2.0**-24]], "float32")
        found = zoo.certify(model, x, norm="linf", method="exact")
        near = (x + np.arange(-60, 61)[:, None] * np.float32(2.0**-24)).astype("float32")
        inside = np.abs(near.astype("float64") - x)[:, 0] < found.radius[0]
        flipped = logits_of(model, near).argmax(axis=1) != found.prediction[0]
        assert not (inside & flipped).any()
        flips += flipped.sum()
    assert flips > 0


@pytest.mark.integration
def test_each_class_has_a_radius_of_its_own():
    random = np.random.default_rng(5)
    network = Network((2, 4, 3), random)
    x = random.uniform(size=(1, 2)).astype("float32")
    found = zoo.certify(network.model(), x, norm="linf", method="exact", per_class=True)
    own = found.prediction[0]
    for j in {0, 1, 2} - {own}:
        radius = float(found.per_class[0, j])
        assert network.least(x[0], own, j, radius * (1 - 1e-6)) > 0
        if radius < 0.9:
            assert network.least(x[0], own, j, radius * 1.1 + 1e-4) < 0


@pytest.mark.integration
def test_a_sigmoid_at_the_end_is_left_off():
    network = Network((2, 5, 1), np.random.default_rng(1))
    model = network.model()
    model.add(layers.Activation("sigmoid"))
    x = np.random.default_rng(0).uniform(size=(4, 2)).astype("float32")
    with pytest.warns(UserWarning, match="sigmoid"):
        found = zoo.certify(model, x, norm="linf", method="exact")
    with pytest.warns(UserWarning, match="sigmoid"):
        crown = zoo.certify(model, x, norm="linf", method="crown")
    assert (found.radius >= crown.radius).all()
    axes = [np.linspace(0, 1, 101)] * 2
    grid = np.array(list(itertools.product(*axes)), "float32")
    classes = model.predict(grid, verbose=0)[:, 0] > 0.5
    for i in range(len(x)):
        inside = np.abs(grid.astype("float64") - x[i]).max(axis=1) < found.radius[i]
        assert (classes[inside] == found.prediction[i]).all()


def test_what_it_is_not_for_is_named():
    model, x = image_network()
    with pytest.raises(ValueError, match="'exact' is for norm='linf'.*crown, crown-interval"):
        zoo.certify(model, x, norm="l2", method="exact")
    smooth = keras.Sequential([keras.Input((2,)), layers.Dense(3, "tanh"), layers.Dense(2)])
    with pytest.raises(zoo.UnsupportedLayerError, match="dense.*method='exact' takes"):
        zoo.certify(smooth, np.zeros((1, 2)), norm="linf", method="exact")
    distances = keras.Sequential(
        [keras.Input((4, 4, 1)), zoo.layers.LinfDistanceConv2D(2, 2, name="first"),
         layers.Flatten(), layers.Dense(2)]
    )  # fmt: skip
    with pytest.raises(zoo.UnsupportedLayerError, match="first"):
        zoo.certify(distances, np.zeros((1, 4, 4, 1)), norm="linf", method="exact")


@pytest.mark.integration
def test_models_of_the_zoo_have_it_where_it_is_possible():
    """It is never chosen by itself, since it may take hours."""
    small = zoo.models.DoubleBackpropNet(
        {"name": "c", "image_shape": (3, 3, 1), "num_classes": 3, "hidden": [6]}
    )
    assert small.certificates == (
        *(("linf", method) for method in METHODS),
        ("linf", "exact"),
        *(("l2", method) for method in METHODS),
    )
    x = np.random.default_rng(0).uniform(size=(2, 3, 3, 1)).astype("float32")
    assert small.certify(x).method == "crown"
    np.testing.assert_array_equal(
        small.certify(x, norm="linf", method="exact").radius,
        zoo.certify(small.network, x, norm="linf", method="exact").radius,
    )
    with pytest.raises(ValueError, match="no certificate for norm='l2', method='exact'"):
        small.certify(x, norm="l2", method="exact")
    large = zoo.models.DoubleBackpropNet("a", image_shape=(28, 28, 1), num_classes=10)
    assert ("linf", "exact") not in large.certificates


@pytest.mark.integration
@pytest.mark.parametrize("first", [keras.layers.ReLU, keras.layers.PReLU])
def test_an_activation_of_the_input_itself(first):
    keras.utils.set_random_seed(0)
    layers = [keras.Input((5,)), first(), keras.layers.Dense(4, "relu"), keras.layers.Dense(7)]
    network = keras.Sequential(layers)
    random = np.random.default_rng(0)
    x = random.uniform(-1, 1, (3, 5)).astype("float32")
    given = {"norm": "linf", "valid_range": (-1, 1)}
    by_crown = zoo.certify(network, x, method="crown", **given)
    exact = zoo.certify(network, x, method="exact", **given)
    assert (exact.radius >= by_crown.radius).all()
    inside = x[:, None] + exact.radius[:, None, None] * random.uniform(-1, 1, (3, 1000, 5))
    inside = np.clip(inside, -1, 1).astype("float32").reshape(-1, 5)
    found = np.argmax(network.predict(inside, verbose=0), axis=1).reshape(3, -1)
    assert (found == exact.prediction[:, None]).all()
