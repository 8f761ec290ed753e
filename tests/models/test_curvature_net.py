"""Curvature-based training: what it gains, soundness, the attack problem, what is refused."""

import functools
import itertools
import warnings

import keras
import numpy as np
import pytest
from keras import layers

import zoo
from tests.backend import BACKEND, errors_of_missing_kernels
from tests.certificates.test_curvature import bounds_of_terms
from tests.models.perturbations import assert_attacks_do_not_break, assert_unbroken, perturbations
from zoo.models import CurvatureNet

SMALL = {"name": "mlp", "image_shape": (8, 8, 1), "num_classes": 10, "hidden": [24]}


@functools.cache
def trained(epsilon, penalty_weight, network="mlp", epochs=12):
    keras.utils.set_random_seed(0)
    settings = {**SMALL, "name": network}
    if network == "convnet":
        settings = {**settings, "filters": 4, "kernel_size": 3}
        del settings["hidden"]
    model = CurvatureNet(settings, epsilon, penalty_weight=penalty_weight)
    model.compile(keras.optimizers.Adam(0.01))
    train = zoo.data.load("digits", "train")
    model.fit(train.images, train.labels, epochs=epochs, batch_size=64, verbose=0)
    return model


@pytest.mark.integration
def test_training_enlarges_radii(digits):
    plain, robust = (trained(epsilon, 0.0) for epsilon in (None, 0.5))
    x, y = digits.images[:100], digits.labels[:100]
    certificates = [model.certify(x) for model in (plain, robust)]
    assert np.median(certificates[1].radius) > 1.2 * np.median(certificates[0].radius)
    assert certificates[1].accuracy(y, 0.3) > 0.6


@pytest.mark.integration
def test_the_penalty_lowers_the_curvature(digits):
    without, flat = (trained(None, weight) for weight in (0.0, 0.1))
    assert flat.curvature().upper.mean() < 0.6 * without.curvature().upper.mean()
    assert (np.argmax(flat.logits(digits.images), axis=1) == digits.labels).mean() > 0.85


@pytest.mark.integration
@pytest.mark.parametrize("name", ["mlp", "convnet"])
def test_attacks_and_perturbations_do_not_break_it(digits, name):
    model = trained(0.5, 0.01, name)
    x = digits.images[:60]
    certificate = assert_attacks_do_not_break(model, x)
    assert np.median(certificate.radius) > 0.1
    assert (certificate.nearest >= certificate.radius).all()
    assert certificate.exact.mean() > 0.5
    random = np.random.default_rng(0)
    for x_adv in perturbations(x, certificate.radius, "l2", random):
        assert_unbroken(model, certificate, x, x_adv)


@pytest.mark.integration
def test_estimates_approach_the_published_bounds_from_below():
    for hidden in ([24], [16, 12]):
        model = CurvatureNet({**SMALL, "hidden": hidden})
        for _ in range(100):
            estimate = keras.ops.convert_to_numpy(model.estimate())
        smooth, _ = model.derived()
        for own, other in itertools.permutations(range(10), 2):
            head = smooth.kernels[-1][:, own] - smooth.kernels[-1][:, other]
            published, _ = bounds_of_terms(smooth, head)
            assert 0.7 * published < estimate[own, other] <= published * (1 + 1e-4) + 1e-6


def test_a_pair_that_was_flat_once_is_estimated_again():
    model = CurvatureNet(SMALL)
    head = model.network.layers[-1].kernel
    weights = keras.ops.convert_to_numpy(head)
    head.assign(np.zeros_like(weights))
    model.estimate()
    head.assign(weights)
    for _ in range(100):
        estimate = keras.ops.convert_to_numpy(model.estimate())
    off = ~np.eye(10, dtype=bool)
    assert (estimate[off] > 0.7 * model.curvature().upper[off]).all()


def test_without_a_use_for_it_no_curvature_is_estimated(digits):
    model = CurvatureNet({**SMALL, "hidden": [6]}, None, penalty_weight=0)
    before = [keras.ops.convert_to_numpy(vector) for vector in model._vectors]
    model.compile("adam")
    model.fit(digits.images[:64], digits.labels[:64], verbose=0)
    for old, vector in zip(before, model._vectors, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(vector), old)


def test_worst_points_take_budgets_as_everything_else_does():
    model = CurvatureNet({**SMALL, "hidden": [6]})
    x, y = np.full((2, *model.image_shape), 0.5, "float32"), [0, 1]
    points, exact = model.worst_points(x, y, 0)
    np.testing.assert_array_equal(points, x)
    assert not exact.any()
    np.testing.assert_array_equal(
        model.worst_points(x, y, "1/2")[0], model.worst_points(x, y, 0.5)[0]
    )
    with pytest.raises(ValueError, match="eps must not be negative"):
        model.worst_points(x, y, -1)


def test_certifying_says_how_loose_it_is_and_warns_of_nothing(digits):
    model = zoo.load("crt-digits")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        certificate = model.certify(digits.images[:50])
    proved = certificate.radius > 0
    assert (certificate.nearest[proved] < 2 * certificate.radius[proved]).all()


@pytest.mark.integration
def test_worst_points_lie_in_the_ball_and_exact_ones_are_the_worst(digits):
    model = trained(0.5, 0.1)
    x, y = digits.images[:40], digits.labels[:40]
    points, exact = model.worst_points(x, y, 0.3)
    distance = np.linalg.norm((points.astype("float64") - x).reshape(40, -1), axis=1)
    assert (distance <= 0.3 * (1 + 1e-5)).all()
    assert exact.mean() > 0.5
    logits = model.logits(x).astype("float64")
    rows = np.arange(40)
    others = logits.copy()
    others[rows, y] = -np.inf
    rival = others.argmax(axis=1)

    def lead(images):
        found = model.logits(images.astype("float32")).astype("float64")
        return found[rows, y] - found[rows, rival]

    reached = lead(points)
    assert (reached[exact] < lead(x)[exact]).all()
    random = np.random.default_rng(0)
    for _ in range(100):
        change = random.normal(size=x.shape) + 3 * random.normal() * (points - x)
        change *= 0.3 / np.linalg.norm(change.reshape(40, -1), axis=1)[:, None, None, None]
        assert (lead(x + change)[exact] >= reached[exact] - 0.01).all()


@pytest.mark.integration
def test_the_attack_problem_is_an_attack(digits):
    model = trained(0.5, 0.01)
    x, y = digits.images[:50], digits.labels[:50]
    x_adv = model.attack(x, y, "second_order", eps=0.8)
    distance = np.linalg.norm((x_adv.astype("float64") - x).reshape(50, -1), axis=1)
    assert (distance <= 0.8).all()
    clean, left = ((np.argmax(model.logits(i), axis=1) == y).mean() for i in (x, x_adv))
    assert left < clean - 0.3
    with pytest.raises(ValueError, match="for norm 'l2'"):
        model.attack(x, y, "second_order", eps=0.1, norm="linf")
    with pytest.raises(ValueError, match="CurvatureNet"):
        zoo.load("l2nnn-digits").attack(x, y, "second_order", eps=0.1)


@pytest.mark.integration
def test_save_and_load(tmp_path):
    model = CurvatureNet({**SMALL, "activation": "tanh"}, "1/3", penalty_weight=0.5)
    zoo.save(model, tmp_path / "net")
    again = zoo.load(tmp_path / "net")
    for name in ("epsilon", "penalty_weight", "attack_steps"):
        assert again.get_config()[name] == model.get_config()[name]
    x = np.random.default_rng(0).uniform(size=(4, 8, 8, 1)).astype("float32")
    np.testing.assert_array_equal(again.certify(x).radius, model.certify(x).radius)
    assert zoo.load(tmp_path / "net", epsilon=0.7).training_epsilon == pytest.approx(0.7)
    wider = zoo.load(tmp_path / "net", num_classes=5)
    assert wider.certify(x).num_classes == 5
    zoo.save(CurvatureNet(SMALL, None), tmp_path / "plain")
    assert zoo.load(tmp_path / "plain").get_config()["epsilon"] is None


@pytest.mark.integration
def test_an_assigned_budget_begins_the_search_for_worst_points():
    model = CurvatureNet(SMALL, None, penalty_weight=0.0)
    model.compile(keras.optimizers.SGD(0.0))
    x = np.random.default_rng(0).uniform(size=(16, 8, 8, 1)).astype("float32")
    y = np.arange(16) % 10
    on_the_images = model.train_on_batch(x, y, return_dict=True)["loss"]
    model.epsilon = "1/2"
    assert model.train_on_batch(x, y, return_dict=True)["loss"] > on_the_images
    assert model.get_config()["epsilon"] == "1/2"
    assert model.training_budget == zoo.epsilon.Epsilon("1/2")
    with pytest.raises(ValueError, match="epsilon must not be negative, got '-1/2'"):
        CurvatureNet(SMALL, "-1/2")


def test_a_new_head_is_found_wherever_it_is():
    inner = keras.Sequential([keras.Input((8,)), layers.Dense(3, name="head")])
    parts = [layers.Flatten(), layers.Dense(8, "tanh"), inner, layers.Dropout(0.5)]
    model = CurvatureNet(keras.Sequential([keras.Input((4, 4, 1)), *parts]))
    assert model.with_new_head(5).certify(np.zeros((1, 4, 4, 1))).num_classes == 5


def test_bounds_follow_the_weights():
    model = CurvatureNet(SMALL)
    before = model.curvature().upper.mean()
    assert model.curvature() is model.curvature()
    model.network.layers[-1].kernel.assign(3 * model.network.layers[-1].kernel)
    assert model.curvature().upper.mean() == pytest.approx(3 * before, rel=1e-5)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="network must be one of mlp, convnet"):
        CurvatureNet({**SMALL, "name": "transformer"})
    for weight in (-1.0, float("inf")):
        with pytest.raises(ValueError, match="penalty_weight"):
            CurvatureNet(SMALL, penalty_weight=weight)
    with pytest.raises(ValueError, match="attack_steps must be a positive integer, got 2.5"):
        CurvatureNet(SMALL, attack_steps=2.5)
    assert not CurvatureNet(SMALL, "0").adversarial
    with pytest.raises(ValueError, match="eps"):
        CurvatureNet(SMALL, "far")
    relu = keras.Sequential(
        [keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(4, "relu"), layers.Dense(3)]
    )
    with pytest.raises(zoo.UnsupportedLayerError, match="relu"):
        CurvatureNet(relu)


@pytest.mark.skipif(BACKEND == "jax", reason="nothing of it depends on the backend")
def test_nan_weights_certify_nothing():
    model = CurvatureNet(SMALL)
    kernel = keras.ops.convert_to_numpy(model.network.layers[-1].kernel).copy()
    kernel[0, 0] = np.nan
    model.network.layers[-1].kernel.assign(kernel)
    with pytest.raises(ValueError, match="NaN"):
        model.certify(np.full((2, 8, 8, 1), 0.5))


def test_layers_changed_afterwards_are_certified_as_they_are():
    model = CurvatureNet(SMALL)
    x = np.full((1, 8, 8, 1), 0.5)
    model.certify(x)
    model.network.layers[1].activation = keras.activations.gelu
    with pytest.raises(zoo.UnsupportedLayerError, match="gelu"):
        model.certify(x)


def test_a_convolution_with_channels_first_is_the_same_network():
    random = np.random.default_rng(0)
    kernel, bias = random.normal(size=(3, 3, 2, 3)), random.normal(size=3)
    head = [random.normal(size=(48, 3)), random.normal(size=3)]
    radii = []
    x = random.uniform(size=(5, 6, 6, 2)).astype("float32")
    for order in ("channels_last", "channels_first"):
        first = order == "channels_first"
        before = [keras.layers.Permute((3, 1, 2))] if first else []
        after = [keras.layers.Permute((2, 3, 1))] if first else []
        convolution = keras.layers.Conv2D(3, 3, data_format=order)
        network = keras.Sequential(
            [
                keras.Input((6, 6, 2)), *before, convolution, *after,
                keras.layers.Activation("tanh"), keras.layers.Flatten(), keras.layers.Dense(3),
            ]
        )  # fmt: skip
        convolution.set_weights([kernel, bias])
        network.layers[-1].set_weights(head)
        try:
            network(x)
        except errors_of_missing_kernels() as error:
            pytest.skip(f"the backend cannot compute the layer: {type(error).__name__}")
        radii.append(zoo.models.CurvatureNet(network).certify(x).radius)
    np.testing.assert_allclose(*radii, rtol=1e-4)
    assert (radii[0] > 0).all()


@pytest.mark.integration
def test_more_steps_of_the_search_do_not_enlarge_the_training_step(monkeypatch):
    """With a copy of the network for each step, large images take XLA minutes to compile."""
    calls = []
    whole = zoo.layers.Dense.call

    def counted(self, inputs, training=None):
        calls.append(self.name)
        return whole(self, inputs, training=training)

    monkeypatch.setattr(zoo.layers.Dense, "call", counted)

    def traced(attack_steps):
        network = {"name": "mlp", "image_shape": (4, 4, 1), "num_classes": 3, "hidden": (5,)}
        model = zoo.models.CurvatureNet(network, attack_steps=attack_steps)
        model.compile()
        calls.clear()
        model.fit(np.zeros((6, 4, 4, 1), "float32"), np.arange(6) % 3, verbose=0)
        return len(calls)

    assert traced(2) == traced(20) > 0
