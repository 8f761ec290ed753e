"""L2-nonexpansive networks: construction, training, soundness, the ordinary model."""

import functools
import itertools
import subprocess
import sys

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import zoo
from tests.models.perturbations import (
    assert_attacks_do_not_break,
    assert_radii_are_tested,
    assert_unbroken,
    perturbations,
)
from training import recipe as recipes
from zoo.models import L2NonexpansiveNet
from zoo.models.l2_networks import NETWORKS
from zoo.ops.parametrizations import PARAMETRIZATIONS

SETTINGS = {"network": "convnet", "width": 0.1, "mean": 0.3}


@functools.cache
def small_network(network, parametrization):
    """For 6 × 6 images of two channels; one for all examples, so that each is compiled once."""
    return L2NonexpansiveNet(
        (6, 6, 2),
        3,
        network=network,
        width=0.06,
        parametrization=parametrization,
        mean=[0.4, 0.2],
    )


def random_network(random, network="convnet", parametrization="almost_orthogonal"):
    """Weights as wild as training might make them."""
    model = small_network(network, parametrization)
    for weight in model.trainable_weights:
        scale = 10.0 ** random.uniform(-1, 1) if len(weight.shape) > 1 else 0.05
        weight.assign(random.normal(size=weight.shape) * scale)
    return model


# Each network in the smallest size and in one of the others; the rest takes its time.
SIZES = [(28, 28, 1), (32, 32, 3), (8, 8, 1)]
QUICK = [("convnet", (32, 32, 3)), ("resnet20", (28, 28, 1)), ("dense", (32, 32, 3))]


@pytest.mark.integration
@pytest.mark.parametrize(
    ("network", "image_shape"),
    [
        pytest.param(*case, marks=[] if case in QUICK or case[1] == SIZES[-1] else pytest.mark.slow)
        for case in itertools.product(NETWORKS, SIZES)
    ],
)
def test_config_round_trip(tmp_path, network, image_shape):
    model = L2NonexpansiveNet(image_shape, 4, **{**SETTINGS, "network": network}, omega=0.3)
    assert L2NonexpansiveNet.from_config(model.get_config()).get_config() == model.get_config()
    zoo.save(model, tmp_path / "net")
    x = np.random.default_rng(0).uniform(size=(3, *image_shape)).astype("float32")
    again = zoo.load(tmp_path / "net")
    np.testing.assert_array_equal(again.logits(x), model.logits(x))
    np.testing.assert_array_equal(again.certify(x).radius, model.certify(x).radius)
    assert zoo.load(tmp_path / "net", num_classes=7).logits(x).shape == (3, 7)


@pytest.mark.integration
def test_published_sizes():
    """Filters and units of the published ConvNet, doubled where both signs are kept."""
    model = L2NonexpansiveNet((28, 28, 1), 10)
    kernels = [tuple(w.shape) for w in model.trainable_weights if len(w.shape) > 1]
    assert kernels == [
        (5, 5, 1, 32),
        (5, 5, 64, 64),
        (7 * 7 * 128, 1024),
        (2048, 10),
    ]


def test_shifted_windows_keep_distances_until_channels_are_dropped():
    """At any size of the image, also where zeros are added to fill the last windows."""
    random = np.random.default_rng(0)
    for shape in [(8, 8, 3), (7, 6, 2)]:
        model = L2NonexpansiveNet(
            shape, 3, network="shifted_windows", width=0.4, activation="max_min",
            parametrization="orthogonal",
        )  # fmt: skip
        kinds = [type(layer).__name__ for layer in model.hidden]
        assert kinds.count("Roll") == 3
        # In the first stage nothing is dropped: 12 or 8 channels of a block go to 12.
        first_stage = model.hidden[: kinds.index("Roll") + 5]
        z = random.normal(size=(6, *shape)).astype("float32")
        expected = np.linalg.norm(z.reshape(6, -1), axis=1)
        for layer in first_stage:
            z = layer(z)
        found = np.linalg.norm(keras.ops.convert_to_numpy(z).reshape(6, -1), axis=1)
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_pixels_on_both_sides_of_a_windows_edge_come_together():
    """Without the shift, the maps of one stage would never mix two windows."""
    model = L2NonexpansiveNet((16, 16, 1), 3, network="shifted_windows", width=0.25)
    kinds = [type(layer).__name__ for layer in model.hidden]
    stage = model.hidden[: kinds.index("PixelUnshuffle", kinds.index("Roll") + 2)]
    z = np.zeros((2, 16, 16, 1), "float32")
    z[1, 8, 8, 0] = 1.0
    for layer in stage:
        z = layer(z)
    changed = np.abs(np.diff(keras.ops.convert_to_numpy(z), axis=0)[0]).sum(axis=-1) > 1e-6
    rows = np.flatnonzero(changed.any(axis=1))
    assert len(rows) == 4


@pytest.mark.integration
@pytest.mark.parametrize(
    ("parametrization", "learning_rate"), [("almost_orthogonal", 0.01), ("free", 0.01)]
)
def test_plain_compile_and_fit_train(parametrization, learning_rate):
    train = zoo.data.load("digits", "train")
    model = L2NonexpansiveNet(
        (8, 8, 1),
        10,
        width=0.25,
        parametrization=parametrization,
        regularization=0.01 if parametrization == "free" else 0.0,
        mean=0.3,
    )
    model.compile(keras.optimizers.Adam(learning_rate))
    history = model.fit(train.images, train.labels, epochs=8, batch_size=64, verbose=0).history
    assert history["loss"][-1] < 0.8 * history["loss"][0]
    assert history["accuracy"][-1] > 0.7
    scales = keras.ops.convert_to_numpy(model._class_scales)
    assert (scales != 1).all()
    assert float(model._scale) != 1
    if parametrization != "free":
        assert all(bound <= 1 + 1e-4 for bound in model.lipschitz().values())


@pytest.mark.integration
def test_the_scale_of_all_classes_can_be_kept(digits):
    model = L2NonexpansiveNet((8, 8, 1), 10, width=0.1, scale=2.0, train_scale=False)
    model = type(model).from_config(model.get_config())
    model.compile(keras.optimizers.Adam(0.01))
    model.fit(digits.images[:64], digits.labels[:64], verbose=0)
    assert float(model._scale) == 2.0
    assert (keras.ops.convert_to_numpy(model._class_scales) != 2.0).all()


@pytest.mark.integration
def test_a_regularised_resnet_leaves_chance():
    """Its twenty layers shrink what differs between images until the loss no longer sees it."""
    train = zoo.data.load("digits", "train")
    settings = recipes.load("tables/l2nnn-resnet")["model"]
    settings = {**settings, "image_shape": (8, 8, 1), "width": 0.25, "regularization": 0.1}
    del settings["class"]
    keras.utils.set_random_seed(0)
    model = L2NonexpansiveNet(**settings)
    logits = model.logits(train.images[:64])
    assert 0.1 < (settings["scale"] * (logits - logits.mean(axis=0))).std() < 10
    model.compile()
    history = model.fit(train.images, train.labels, epochs=4, batch_size=64, verbose=0).history
    assert history["accuracy"][-1] > 0.2


@pytest.mark.integration
@settings(max_examples=12)
@given(
    seed=st.integers(0, 100_000),
    network=st.sampled_from(sorted(NETWORKS)),
    parametrization=st.sampled_from(sorted(PARAMETRIZATIONS)),
)
def test_random_networks_hold_against_perturbations(seed, network, parametrization):
    random = np.random.default_rng(seed)
    model = random_network(random, network, parametrization)
    x = random.uniform(size=(20, 6, 6, 2)).astype("float32")
    certificate = model.certify(x)
    for x_adv in perturbations(x, certificate.radius, "l2", random):
        assert_unbroken(model, certificate, x, x_adv)


@pytest.mark.integration
@pytest.mark.parametrize("network", sorted(NETWORKS))
def test_radii_of_random_networks_are_not_all_zero(network):
    """So that the test before tests something."""
    networks = (
        random_network(np.random.default_rng(seed), network, parametrization)
        for seed, parametrization in enumerate(sorted(PARAMETRIZATIONS))
    )
    assert_radii_are_tested(networks, "l2")


@pytest.mark.integration
def test_attacks_do_not_break_a_trained_network(digits):
    model = trained_on_digits()
    x, labels = digits.images[:100], digits.labels[:100]
    certificate = assert_attacks_do_not_break(model, x)
    assert certificate.accuracy(labels, eps=0.3) > 0.7
    report = model.evaluate_robustness(x, labels, eps=[0.3, 0.8])
    for row in report.rows:
        assert row["certified"] <= row["attacked"]["all"] <= report.clean


@functools.cache
def trained_on_digits():
    train = zoo.data.load("digits", "train")
    model = L2NonexpansiveNet(
        (8, 8, 1),
        10,
        network="dense",
        width=0.125,
        activation="max_min",
        parametrization="orthogonal",
        mean=0.3,
        loss="cross_entropy",
        epsilon=0.5,
        scale=10.0,
    )
    model.compile(keras.optimizers.Adam(0.003))
    model.fit(train.images, train.labels, epochs=15, batch_size=64, verbose=0)
    return model


@pytest.mark.integration
def test_every_bound_of_the_network_holds_end_to_end():
    """No pair of images is moved apart by more than the product of the bounds."""
    random = np.random.default_rng(0)
    for network in NETWORKS:
        model = random_network(random, network, "free")
        bound = np.prod(list(model.lipschitz().values()))
        x = random.uniform(size=(200, 6, 6, 2)).astype("float32")
        moved = np.linalg.norm(model.logits(x) - model.logits(x[::-1]), axis=1)
        distance = np.linalg.norm((x - x[::-1]).reshape(200, -1), axis=1)
        assert (moved <= bound * distance * (1 + 1e-4)).all()


@pytest.mark.integration
@pytest.mark.parametrize("network", NETWORKS)
def test_rounding_is_covered(network):
    """float32's logits, against the same network in float64."""
    random = np.random.default_rng(0)
    for _ in range(3):
        model = random_network(random, network)
        exact = in_float64(model)
        x = random.uniform(size=(50, 6, 6, 2)).astype("float32")
        error = np.abs(model.logits(x) - keras.ops.convert_to_numpy(exact(x.astype("float64"))))
        constants = model.logit_certificate()
        size = np.linalg.norm((x - constants.mean).reshape(50, -1), axis=1)
        # Of two logits together: see Constants.
        bound = np.sqrt(2.0) * (constants.error + constants.error_per_size * size)
        assert (error.max(axis=1) <= bound).all()
        assert constants.error + 5 * constants.error_per_size < 0.05


def in_float64(model):
    """The condensed model in float64."""
    if keras.backend.backend() == "jax":
        pytest.skip("float64 is switched off on JAX")
    keras.config.set_dtype_policy("float64")
    keras.backend.set_floatx("float64")
    try:
        same = L2NonexpansiveNet.from_config({**model.get_config(), "dtype": "float64"})
        same.set_weights(model.get_weights())
        return same
    finally:
        keras.backend.set_floatx("float32")
        keras.config.set_dtype_policy("float32")


@pytest.mark.integration
@pytest.mark.parametrize(
    ("network", "parametrization"),
    # Each of the networks, and each of the parametrizations.
    sorted(
        {*zip(NETWORKS, itertools.cycle(PARAMETRIZATIONS), strict=False)}
        | {("dense", parametrization) for parametrization in PARAMETRIZATIONS}
    ),
)
def test_condensed_is_the_same_network(network, parametrization):
    random = np.random.default_rng(0)
    model = random_network(random, network, parametrization)
    x = random.uniform(size=(20, 6, 6, 2)).astype("float32")
    logits = model.condense().predict(x, verbose=0)
    scale = np.abs(model.logits(x)).max()
    np.testing.assert_allclose(logits, model.logits(x), atol=1e-5 * max(1, scale))
    certificate = model.logit_certificate()
    radius = certificate.radius(logits, x)
    np.testing.assert_allclose(radius, certificate.radius(model.logits(x), x), atol=1e-4)
    # The model's own certificate sees the tensors between the layers, and so subtracts less.
    assert (radius <= model.certify(x).radius + 1e-4).all()


@pytest.mark.integration
def test_condensed_loads_without_this_package(tmp_path):
    model = random_network(np.random.default_rng(0), "resnet20")
    x = np.random.default_rng(1).uniform(size=(4, 6, 6, 2)).astype("float32")
    model.condense().save(tmp_path / "ordinary.keras")
    np.save(tmp_path / "x.npy", x)
    program = """
import sys
sys.modules["zoo"] = None  # an import of it fails
import keras, numpy as np
model = keras.models.load_model("ordinary.keras")
np.save("logits.npy", model.predict(np.load("x.npy"), verbose=0))
"""
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, capture_output=True)
    np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), model.logits(x), atol=1e-5)


def test_constants_follow_the_weights():
    model = random_network(np.random.default_rng(0))
    before = model.logit_certificate()
    assert model.logit_certificate() is before
    model.head.bias.assign(model.head.bias + 1.0)
    assert model.logit_certificate() is not before


def test_uint8_images_are_accepted():
    model = random_network(np.random.default_rng(0))
    x = np.random.default_rng(1).integers(0, 256, size=(4, 6, 6, 2)).astype("uint8")
    np.testing.assert_array_equal(model.certify(x).prediction, model.logits(x).argmax(axis=1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": "vgg"}, "network must be one of 'convnet', .*'shifted_windows', got 'vgg'"),
        ({"activation": "relu"}, "activation must be one of"),
        ({"loss": "hinge"}, "loss must be one of"),
        ({"width": 0}, "width must be a positive number"),
        ({"mean": [0.1, 0.2]}, r"mean must be a number or one per channel \(1\)"),
        ({"parametrization": "svd"}, "parametrization must be one of"),
        ({"regularization": -1}, "regularization must be a number that is not negative"),
        ({"epsilon": "-1/2"}, "epsilon must not be negative, got '-1/2'"),
        ({"omega": -1}, "omega must be a number that is not negative"),
        ({"divide_before_convolution": "no"}, "divide_before_convolution must be True or False"),
        ({"train_scale": 1}, "train_scale must be True or False"),
    ],
)
def test_bad_arguments_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        L2NonexpansiveNet((8, 8, 1), 3, **{**SETTINGS, **change})


@pytest.mark.integration
def test_the_radius_maximising_loss_enlarges_the_certified_radii(digits):
    """Its constants are those of the certificate, so radii grow where it alone trains."""
    options = {"network": "dense", "width": 0.03, "parametrization": "almost_orthogonal"}
    model = L2NonexpansiveNet((8, 8, 1), 10, loss="crm", epsilon=2.0, scale=4.0, **options)
    loss = model.default_loss()
    assert (loss.epsilon, loss.scale) == (2.0, 4.0)
    model.epsilon = "5/2"
    assert model.default_loss().epsilon == 2.5
    model.epsilon = 2.0
    kernel = keras.ops.convert_to_numpy(model.head.effective_kernel())
    expected = np.linalg.norm(kernel[:, :, None] - kernel[:, None, :], axis=0)
    found = keras.ops.convert_to_numpy(loss.lipschitz().value)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    x, y = digits.images[:200], digits.labels[:200]
    before = model.certify(x).accuracy(y, 0.2)
    model.compile(keras.optimizers.Adam(0.01))
    model.fit(x, y, epochs=15, verbose=0)
    assert model.certify(x).accuracy(y, 0.2) > max(0.5, before)
    assert type(model).from_config(model.get_config()).loss_name == "crm"
    assert model.training_budget is None  # fit must not warn that few images are certified at 2.0
