"""Lipschitz-margin networks: wrapping, training, soundness, what is refused."""

import functools

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers

import zoo
from tests import datasets
from tests.backend import slow_to_compile
from tests.models.perturbations import (
    assert_attacks_do_not_break,
    assert_radii_are_tested,
    assert_unbroken,
    perturbations,
)
from zoo.models import LipschitzMarginNet
from zoo.models.lipschitz_margin_networks import NETWORKS, wide_resnet

IMAGE = (6, 6, 2)


def residual_network():
    """Every kind of layer that a residual network is made of."""
    image = keras.Input(IMAGE)
    z = layers.Conv2D(4, 3, padding="same", use_bias=False)(image)
    z = layers.BatchNormalization()(z)
    before = layers.ReLU()(layers.BatchNormalization()(layers.MaxPooling2D(2, 1)(z)))
    branch = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu")(before)
    shortcut = layers.AveragePooling2D(2, 2, padding="same")(before)
    z = layers.Dropout(0.2)(layers.Add()([branch, shortcut]))
    return keras.Model(image, layers.Dense(3, name="head")(layers.GlobalAveragePooling2D()(z)))


def headless_network():
    """Logits that do not come from a dense layer."""
    parts = [layers.Conv2D(3, 3, activation="leaky_relu"), layers.GlobalMaxPooling2D()]
    return keras.Sequential([keras.Input(IMAGE), *parts])


def dense_network():
    parts = [layers.Rescaling(2.0, -1.0), layers.Flatten(), layers.Dense(8, "relu")]
    return keras.Sequential([keras.Input(IMAGE), *parts, layers.Dense(3)])


NETS = {"residual": residual_network, "headless": headless_network, "dense": dense_network}


@functools.cache
def small_network(name):
    """One for all examples, so that each is compiled once."""
    return LipschitzMarginNet(NETS[name]())


def random_network(random, name):
    """Weights and statistics as wild as training might make them."""
    model = small_network(name)
    for weight in model.network.weights:
        if "seed" in weight.path:
            continue
        values = random.normal(size=weight.shape) * 10.0 ** random.uniform(-1, 0.5)
        weight.assign(np.abs(values) + 1e-3 if "variance" in weight.path else values)
    return model


@pytest.mark.integration
@given(seed=st.integers(0, 100_000), name=st.sampled_from(sorted(NETS)))
def test_random_networks_hold_against_perturbations(seed, name):
    random = np.random.default_rng(seed)
    model = random_network(random, name)
    x = random.uniform(size=(20, *IMAGE)).astype("float32")
    certificate = model.certify(x)
    for x_adv in perturbations(x, certificate.radius, "l2", random):
        assert_unbroken(model, certificate, x, x_adv)


@pytest.mark.integration
@pytest.mark.parametrize("name", sorted(NETS))
def test_radii_of_random_networks_are_not_all_zero(name):
    """So that the test before tests something."""
    networks = (random_network(np.random.default_rng(seed), name) for seed in range(5))
    assert_radii_are_tested(networks, "l2")


@given(seed=st.integers(0, 100_000), name=st.sampled_from(sorted(NETS)))
def test_logits_move_no_faster_than_the_bound(seed, name):
    random = np.random.default_rng(seed)
    model = random_network(random, name)
    x = random.uniform(0.3, 0.7, size=(50, *IMAGE)).astype("float32")
    near = (x + random.normal(size=x.shape) * 0.1).clip(0, 1).astype("float32")
    moved = np.linalg.norm(model.logits(x).astype("float64") - model.logits(near), axis=1)
    distance = np.linalg.norm((x.astype("float64") - near).reshape(50, -1), axis=1)
    bound = model.network_lipschitz()
    assert (moved <= bound * distance * (1 + 1e-4) + 1e-4).all()
    assert moved.max() > 0


def test_radii_are_the_margin_over_the_bound_but_for_rounding():
    model = random_network(np.random.default_rng(3), "dense")
    x = np.random.default_rng(0).uniform(size=(50, *IMAGE)).astype("float32")
    certificate, kernel = model.certify(x), model.network.layers[-1].kernel
    kernel = keras.ops.convert_to_numpy(kernel).astype("float64")
    features = np.prod(list(model.lipschitz().values())[:-1])
    logits = model.logits(x).astype("float64")
    expected = []
    for row in logits:
        own = row.argmax()
        gaps = np.delete(row[own] - row, own)
        steepness = np.linalg.norm(np.delete(kernel[:, [own]] - kernel, own, axis=1), axis=0)
        expected.append((gaps / steepness / features).min())
    assert (certificate.radius <= expected).all()
    np.testing.assert_allclose(certificate.radius, expected, atol=1e-3)


@pytest.mark.integration
@pytest.mark.parametrize("name", NETS)
def test_estimate_is_below_the_bound_and_close_after_some_steps(name):
    model = LipschitzMarginNet(NETS[name]())
    for _ in range(100):
        estimate = model.estimate()
    upper = np.sqrt(2) * model.network_lipschitz()
    assert 0.5 * upper <= float(estimate.value) <= upper * (1 + 1e-5)


@pytest.mark.integration
@pytest.mark.parametrize("name", NETS)
def test_save_and_load(tmp_path, name):
    model = LipschitzMarginNet(NETS[name](), "1/3", "lmt", margin="pairwise")
    zoo.save(model, tmp_path / "net")
    again = zoo.load(tmp_path / "net")
    assert again.get_config()["epsilon"] == "1/3"
    assert (again.variant, again.margin) == ("lmt", "pairwise")
    x = np.random.default_rng(0).uniform(size=(4, *IMAGE)).astype("float32")
    np.testing.assert_array_equal(again.logits(x), model.logits(x))
    np.testing.assert_array_equal(again.certify(x).radius, model.certify(x).radius)
    assert zoo.load(tmp_path / "net", epsilon=0.7).training_epsilon == pytest.approx(0.7)
    model.compile("adam")
    model.fit(x, np.zeros(4, int), verbose=0)
    model.save(tmp_path / "net.keras")
    whole = keras.models.load_model(tmp_path / "net.keras")
    np.testing.assert_array_equal(whole.certify(x).radius, model.certify(x).radius)
    whole.fit(x, np.zeros(4, int), verbose=0)


def test_a_new_head_keeps_the_features():
    model = LipschitzMarginNet(residual_network())
    wider = model.with_new_head(5)
    assert wider.num_classes == 5
    assert model.num_classes == 3
    old, new = (
        {w.path: keras.ops.convert_to_numpy(w) for w in m.network.weights} for m in (model, wider)
    )
    assert old.keys() == new.keys()
    for path in old:
        if "head" not in path:
            np.testing.assert_array_equal(old[path], new[path])
    x = np.zeros((2, *IMAGE), "float32")
    assert wider.certify(x).num_classes == 5
    with pytest.raises(ValueError, match="no dense layer"):
        LipschitzMarginNet(headless_network()).with_new_head(5)


@pytest.mark.integration
@pytest.mark.parametrize("variant", ["lmt", "lc-lmt", "calibrated"])
@pytest.mark.parametrize("margin", ["global", "pairwise"])
def test_plain_compile_and_fit_train_for_a_margin(variant, margin):
    train, test = zoo.data.load("digits", "train"), zoo.data.load("digits", "test")
    network = {"name": "mlp", "image_shape": (8, 8, 1), "num_classes": 10, "hidden": [64]}
    model = LipschitzMarginNet(network, 0.3, variant, margin=margin)
    model.compile(keras.optimizers.Adam(0.01))
    model.fit(train.images, train.labels, epochs=12, batch_size=64, verbose=0)
    certificate = model.certify(test.images)
    assert certificate.accuracy(test.labels, 0.1) > 0.75
    # The vectors have followed the weights. How closely depends on the processor's roundings.
    upper = np.sqrt(2) * model.network_lipschitz()
    if margin == "global":
        assert float(model.estimate().value) > 0.7 * upper


@pytest.mark.integration
def test_evaluation_leaves_the_model_as_it_is():
    """Power iteration goes on in training only, so validation does not change the training."""
    model = LipschitzMarginNet(dense_network(), 0.3)
    model.compile()
    x = np.random.default_rng(0).uniform(size=(8, *IMAGE)).astype("float32")
    y = np.arange(8) % 3
    before = [np.array(weight) for weight in model.get_weights()]
    first, second = (model.evaluate(x, y, verbose=0) for _ in range(2))
    assert first == second
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    model.optimizer.learning_rate = 0.0
    model.fit(x, y, verbose=0)
    changed = [np.any(a != b) for a, b in zip(before, model.get_weights(), strict=True)]
    assert any(changed)


@pytest.mark.integration
def test_attacks_do_not_break_a_trained_network(digits):
    network = {"name": "convnet", "image_shape": (8, 8, 1), "num_classes": 10, "filters": [8]}
    model = LipschitzMarginNet({**network, "hidden": [32]}, 0.3)
    train = zoo.data.load("digits", "train")
    model.compile(keras.optimizers.Adam(0.01))
    model.fit(train.images, train.labels, epochs=8, batch_size=64, verbose=0)
    x, labels = digits.images[:100], digits.labels[:100]
    assert_attacks_do_not_break(model, x)
    for row in model.evaluate_robustness(x, labels, eps=[0.2]).rows:
        assert row["certified"] <= min(row["attacked"].values())


@pytest.mark.slow
@slow_to_compile
def test_images_of_the_shape_of_svhn_train(tmp_path):
    """No copy of the set is needed for that: images made up, a narrow network of its recipe."""
    from training import recipe as recipes
    from training.run import train

    path = datasets.made_up(tmp_path / "svhn.npz", (32, 32, 3), 24)
    recipe = recipes.load("lc-lmt-svhn")
    network = {**recipe["model"]["network"], "depth": 10, "width": 1}
    recipe = {**recipe, "model": {**recipe["model"], "network": network}}
    recipe["training"] = {**recipe["training"], "batch_size": 12}
    model = train(recipe, tmp_path / "run", data_file=path, epochs=1, verbose=0)
    assert model.image_shape == (32, 32, 3)
    assert len(model.certify(zoo.data.load(path, "test").images)) == 24


def test_a_loss_without_an_estimate_keeps_its_variable():
    model = LipschitzMarginNet(dense_network())
    epsilon = model.add_weight(name="budget", shape=(), initializer="ones", trainable=False)
    loss = zoo.losses.LipschitzMargin(None, epsilon)
    model.compile(loss=loss)
    assert model.loss.epsilon is epsilon
    assert (model.loss.lipschitz, loss.lipschitz) == (model.estimate, None)


@slow_to_compile
def test_published_networks():
    network = wide_resnet((32, 32, 3), 10)
    kernels = [w for w in network.trainable_weights if "kernel" in w.path]
    # Three stages of two blocks of two convolutions, three shortcuts, the first and the last.
    assert len(kernels) == 12 + 3 + 1 + 1
    assert 2.7e6 < network.count_params() < 2.8e6
    sizes = [tuple(w.shape) for w in NETWORKS["mlp"]((28, 28, 1), 10).weights if len(w.shape) == 2]
    assert sizes == [(784, 100), (100, 100), (100, 100), (100, 10)]


def test_bad_arguments_are_named():
    with pytest.raises(zoo.UnsupportedLayerError, match=r"GRU .*'memory'.*supported"):
        LipschitzMarginNet(keras.Sequential([keras.Input((6, 2)), layers.GRU(3, name="memory")]))
    for change in ({"variant": "lcmt"}, {"margin": "none"}, {"epsilon": "far"}):
        with pytest.raises(ValueError, match=next(iter(change)).replace("epsilon", "eps")):
            LipschitzMarginNet(dense_network(), **change)
    with pytest.raises(ValueError, match="images"):
        LipschitzMarginNet(keras.Sequential([keras.Input((6,)), layers.Dense(3)]))
    with pytest.raises(ValueError, match="network must be one of mlp"):
        LipschitzMarginNet({"name": "transformer"})
    with pytest.raises(ValueError, match="depth"):
        wide_resnet((32, 32, 3), 10, depth=15)
    with pytest.raises(TypeError, match="functional"):
        LipschitzMarginNet(small_network("dense"))


def test_layers_changed_afterwards_are_certified_as_they_are():
    model = LipschitzMarginNet(dense_network())
    x = np.full((1, *IMAGE), 0.5)
    model.certify(x)
    model.network.layers[-2].activation = keras.activations.mish
    with pytest.raises(zoo.UnsupportedLayerError, match="mish"):
        model.certify(x)


def test_what_overflows_within_reach_proves_nothing():
    parts = [layers.Flatten(), layers.Dense(2)]
    model = LipschitzMarginNet(keras.Sequential([keras.Input((1, 1, 1)), *parts]))
    head = model.network.layers[-1]
    head.set_weights([np.array([[3e38, 3.2e38]], "float32"), np.array([2e38, 2.5e38], "float32")])
    x, near = (np.full((1, 1, 1, 1), value, "float32") for value in (0.2, 0.7))
    assert not np.isfinite(model.logits(near)).all()
    assert model.certify(x).radius[0] < 0.5


@pytest.mark.parametrize(
    "layers",
    [
        [
            (keras.layers.Dense(784, activation="relu", use_bias=False), [np.eye(784) * 1.5e-38]),
            (keras.layers.Dense(2), [np.stack([np.zeros(784), np.full(784, 1e36)], 1), [9, 0]]),
        ],
        [(keras.layers.Dense(2), [np.full((784, 2), [1.5e-38, 0]), [0, 0]])],
    ],
    ids=["stretched", "alone"],
)
def test_what_float32_takes_for_zero_is_no_lead(layers):
    """Numbers below the smallest normal one vanish, all at once or not at all."""
    parts = [keras.Input((28, 28, 1)), keras.layers.Flatten(), *(layer for layer, _ in layers)]
    network = keras.Sequential(parts)
    for layer, weights in layers:
        layer.set_weights([np.array(w, "float32") for w in weights])
    model = zoo.models.LipschitzMarginNet(network)
    x, other = (np.full((1, 28, 28, 1), value, "float32") for value in (0.7, 0.82))
    certificate = model.certify(x)
    logits = model.logits(other)
    radius = max(certificate.radius[0], model.logit_certificate().radius(model.logits(x), x)[0])
    if np.argmax(logits) != certificate.prediction[0] or logits[0, 0] == logits[0, 1]:
        assert radius <= np.linalg.norm(other - x)
    assert radius < 3


def test_a_loss_that_two_models_share_uses_the_constant_of_each(small_images):
    loss = zoo.losses.LipschitzMargin(None, 0.1)
    nets = [LipschitzMarginNet("mlp", image_shape=(4, 4, 1), num_classes=3) for _ in range(2)]
    for net in nets:
        net.compile("adam", loss)
        assert net.loss.lipschitz == net.estimate
    assert loss.lipschitz is None


def test_a_network_with_a_separable_convolution_has_a_description():
    network = keras.Sequential(
        [keras.Input((4, 4, 1)), keras.layers.SeparableConv2D(4, 3), keras.layers.Flatten(),
         keras.layers.Dense(3)]
    )  # fmt: skip
    assert zoo.models.LipschitzMarginNet(network).architecture.endswith("4-3")


def test_training_uses_the_statistics_that_a_normalization_has_now(tmp_path):
    """They are adapted, or read from a file, after the network was wrapped."""
    adapted = layers.Normalization()
    model = LipschitzMarginNet(
        keras.Sequential([keras.Input(IMAGE), adapted, layers.Flatten(), layers.Dense(3)])
    )
    narrow = np.random.default_rng(0).uniform(0.4, 0.6, (50, *IMAGE)).astype("float32")
    adapted.adapt(narrow)
    zoo.save(model, tmp_path)
    for found in (model, zoo.load(tmp_path)):
        for _ in range(200):  # power iteration converges from below
            estimate = float(np.max(keras.ops.convert_to_numpy(found.estimate().value)))
        assert estimate > 10  # 1/std is about 17, and the dense layer's norm about 1
        found.compile()
        found.fit(narrow, np.arange(50) % 3, verbose=0)  # in a compiled step
