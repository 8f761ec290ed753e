"""The +MLP hybrid: construction, training, soundness."""

import functools

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import zoo
from tests.models.perturbations import assert_unbroken, perturbations
from tests.models.test_soundness import assert_no_point_flips
from zoo.losses.worst_case import own_class
from zoo.models import LinfDistMLP


@functools.cache
def small_hybrid(depth, width, hidden_units):
    """For images of three pixels; one for all examples, so that each is compiled once."""
    random = np.random.default_rng([depth, width])
    mean, std = float(random.uniform(0, 1)), float(random.uniform(0.1, 1))
    return LinfDistMLP(
        (1, 3, 1), 3, width=width, depth=depth, hidden_units=hidden_units, mean=mean, std=std
    )


def random_hybrid(random, *, depth=2, width=5, hidden_units=6):
    """Weights as wild as training might make them, in one network for each size."""
    model = small_hybrid(depth, width, hidden_units)
    for layer in model.distance_layers:
        layer.kernel.assign(random.normal(size=layer.kernel.shape) * random.choice([0.3, 1, 5]))
    for shift in model.hidden[1::2]:
        shift.mean.assign(random.normal(size=shift.mean.shape))
    for layer in model.head_layers:
        layer.kernel.assign(random.normal(size=layer.kernel.shape) * random.choice([0.3, 1, 5]))
        layer.bias.assign(random.normal(size=layer.bias.shape) * random.choice([0, 0.1, 1]))
    return model


@pytest.fixture
def hybrid():
    return LinfDistMLP((4, 4, 1), 3, width=12, depth=2, hidden_units=8, mean=0.4, std=0.3)


def test_config_round_trip(hybrid, tmp_path):
    again = LinfDistMLP.from_config(hybrid.get_config())
    assert again.get_config() == hybrid.get_config()
    zoo.save(hybrid, tmp_path / "net")
    x = np.random.default_rng(0).uniform(size=(5, 4, 4, 1)).astype("float32")
    np.testing.assert_array_equal(zoo.load(tmp_path / "net").logits(x), hybrid.logits(x))
    assert zoo.load(tmp_path / "net", num_classes=7).logits(x).shape == (5, 7)


@pytest.mark.integration
def test_plain_compile_and_fit_train(digits):
    train = zoo.data.load("digits", "train")
    model = LinfDistMLP(
        (8, 8, 1),
        10,
        width=48,
        depth=2,
        hidden_units=32,
        mean=0.3,
        std=0.37,
        epsilon=0.03,
        cross_entropy_weight=0.1,
    )
    model.p = 8.0
    model.compile(keras.optimizers.Adam(0.02, epsilon=1e-10))
    history = model.fit(train.images, train.labels, epochs=15, verbose=0, batch_size=64).history
    assert history["loss"][-1] < 0.7 * history["loss"][0]
    assert history["accuracy"][-1] > 0.6
    logs = model.evaluate(digits.images, digits.labels, verbose=0, return_dict=True)
    assert 0 < logs["loss"] < 20


@pytest.mark.integration
def test_the_loss_is_the_worst_within_the_budget(monkeypatch):
    """At p = inf: no image in the ball has a larger cross-entropy than the loss says."""
    random = np.random.default_rng(1)
    for seed in range(20):
        model = random_hybrid(np.random.default_rng(seed))
        monkeypatch.setattr(model, "training_epsilon", 0.05)
        monkeypatch.setattr(model, "cross_entropy_weight", 0.0)
        x = random.uniform(0.1, 0.9, size=(4, 1, 3, 1)).astype("float32")
        labels = random.integers(0, 3, 4)
        loss = model.default_loss()
        worst = keras.ops.convert_to_numpy(loss(labels, model(x)))
        moved = x + random.choice([-0.05, 0.05], size=(50, *x.shape)).astype("float32")
        logits = model(moved.reshape(-1, *x.shape[1:]))
        found = keras.losses.sparse_categorical_crossentropy(
            np.tile(labels, 50), logits, from_logits=True
        )
        found = keras.ops.convert_to_numpy(found).reshape(50, -1)
        assert (found <= worst * (1 + 1e-4) + 1e-4).all()


def test_the_loss_needs_a_call(hybrid):
    x, loss = np.zeros((2, 4, 4, 1), "float32"), hybrid.default_loss()
    logits = hybrid(x)
    assert loss(np.array([0, 1]), logits).shape == (2,)
    with pytest.raises(ValueError, match="call the model before"):
        loss(np.array([0, 1]), logits)


def test_margins_are_those_of_the_logits_at_a_point():
    model = random_hybrid(np.random.default_rng(0))
    x = np.random.default_rng(1).uniform(size=(6, 1, 3, 1)).astype("float32")
    hidden = keras.ops.tanh(model.dense(model.features(x)))
    logits = model.logits(x)
    labels = np.array([0, 1, 2, 0, 1, 2])
    margins = keras.ops.convert_to_numpy(
        model._margins(hidden, hidden, own_class(labels, keras.ops.convert_to_tensor(logits)))
    )
    expected = logits[np.arange(6), labels][:, None] - logits
    np.testing.assert_allclose(margins, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.integration
@given(seed=st.integers(0, 100_000), depth=st.integers(1, 3))
def test_small_networks_against_brute_force(seed, depth):
    random = np.random.default_rng(seed)
    # That there are radii to test at all: the next test.
    assert_no_point_flips(random_hybrid(random, depth=depth), random)


@pytest.mark.integration
def test_radii_of_random_networks_are_not_all_zero_and_hold_against_corners():
    random, tested, radii = np.random.default_rng(0), 0, []
    for seed in range(20):
        model = random_hybrid(np.random.default_rng(seed))
        x = random.uniform(size=(30, 1, 3, 1)).astype("float32")
        certificate = model.certify(x)
        radii.append(certificate.radius)
        for x_adv in perturbations(x, certificate.radius, "linf", random):
            tested += assert_unbroken(model, certificate, x, x_adv)
    assert np.mean(np.concatenate(radii) > 0.001) > 0.2
    assert tested > 1000


@pytest.mark.integration
@given(st.integers(0, 10_000))
def test_interval_is_never_worse_than_lipschitz(seed):
    model = random_hybrid(np.random.default_rng(seed))
    x = np.random.default_rng(1).uniform(size=(10, 1, 3, 1)).astype("float32")
    interval, lipschitz = (model.certify(x, method=m).radius for m in ("interval", "lipschitz"))
    assert (interval >= lipschitz).all()


def test_rounding_is_covered():
    """float32's margins stay above the bound at budget 0, in float64, however large the weights."""
    from zoo.models.linf_dist_mlp import _Head

    for seed in range(20):
        model = random_hybrid(np.random.default_rng(seed), width=50, hidden_units=40)
        x = np.random.default_rng(seed).uniform(size=(100, 1, 3, 1)).astype("float32")
        features = keras.ops.convert_to_numpy(model.features(x))
        logits = model.logits(x).astype("float64")
        predicted = logits.argmax(axis=1)
        others = np.where(np.eye(3, dtype=bool)[predicted], -np.inf, logits)
        margin = logits.max(axis=1) - others.max(axis=1)
        bound = _Head(model).margin(features, features, predicted)
        assert (bound <= margin).all()
        assert (margin - bound < 0.1 * np.abs(logits).max()).all()


@pytest.mark.parametrize("change", [{"depth": 0}, {"hidden_units": 0}, {"gain": -1}])
def test_bad_arguments_are_named(change):
    arguments = {"image_shape": (4, 4, 1), "num_classes": 3, "width": 4, "depth": 2, **change}
    with pytest.raises(ValueError, match=f"{next(iter(change))} must be a positive"):
        LinfDistMLP(**arguments)
