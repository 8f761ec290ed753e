"""LipLT against the product of norms, and against what small networks really do."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

import zoo
from tests.layers.lipschitz import steepest
from tests.models.perturbations import assert_attacks_do_not_break, assert_unbroken, perturbations
from zoo.bounds.liplt import LipLTNetwork
from zoo.bounds.lipschitz import LipschitzNetwork
from zoo.models import LipschitzMarginNet

IMAGE = (6, 5, 2)


def convolutional():
    parts = [
        layers.Rescaling(2.0, -1.0),
        layers.Conv2D(4, 3, strides=2, padding="same"),
        layers.BatchNormalization(),
        layers.ReLU(negative_slope=0.1),
        layers.Conv2D(6, 2, activation="softplus"),
        layers.AveragePooling2D((2, 1), 1),
        layers.Flatten(),
        layers.Dense(8, "tanh"),
        layers.Dropout(0.1),
        layers.Dense(4),
    ]
    return keras.Sequential([keras.Input(IMAGE), *parts])


def deep():
    """Also an activation directly on the image, two in a row, and slopes above 1."""
    parts = [layers.Activation("hard_sigmoid"), layers.Flatten()]
    parts += [layers.Dense(7, "relu"), layers.ReLU(max_value=6.0), layers.Dense(9, "relu")]
    parts += [layers.Dense(5, "selu"), layers.Dense(6), layers.Dense(4)]
    return keras.Sequential([keras.Input(IMAGE), *parts])


def with_operators():
    """Factors that stand in the network as operators, before and after activations."""
    image = keras.Input(IMAGE)
    z = layers.ReLU()(layers.Dense(7)(layers.Flatten()(image * 3.0)) * 10.0)
    z = layers.Dense(5)(-(z / 0.2)) * np.linspace(-4, 4, 5, dtype="float32")
    return keras.Model(image, layers.Dense(4)(layers.Activation("tanh")(z + 1.0)))


NETS = {"convolutional": convolutional(), "deep": deep(), "with operators": with_operators()}


def randomised(network, seed):
    random = np.random.default_rng(seed)
    for weight in network.weights:
        if "seed" not in weight.path:
            values = random.normal(size=weight.shape) * 10.0 ** random.uniform(-1, 0.3)
            weight.assign(np.abs(values) + 1e-2 if "variance" in weight.path else values)
    return random


def constants(kind, network):
    """``(gains, steepness)`` of an analysis."""
    analysis = kind(network)
    bounds = analysis.bounds()
    gains = analysis.gains(bounds)
    return np.array(gains), analysis.steepness(bounds, gains)


@pytest.mark.parametrize("constant", ["product", "liplt"])
def test_the_factor_of_an_operator_counts(constant):
    """The class changes at a distance of 0.4, where the first entry becomes 0.5."""
    image = keras.Input((2, 2, 1))
    identity, head = layers.Dense(4), layers.Dense(2)
    z = layers.ReLU()(identity(layers.Flatten()(image)) * 10.0)
    network = keras.Model(image, head(z))
    identity.set_weights([np.eye(4), np.zeros(4)])
    kernel = np.zeros((4, 2))
    kernel[0, 1] = 1.0
    head.set_weights([kernel, np.array([0.0, -5.0])])
    model = LipschitzMarginNet(network, constant=constant)
    assert 10 <= model.network_lipschitz() < 10.001
    (factor,) = [c for name, c in model.lipschitz().items() if "multiply" in name]
    assert factor == 10
    x = np.full((1, 2, 2, 1), 0.5, "float32")
    x[0, 0, 0, 0] = 0.9
    assert 0.399 < model.certify(x).radius[0] < 0.4


@pytest.mark.integration
@settings(max_examples=8)
@given(seed=st.integers(0, 100_000), name=st.sampled_from(sorted(NETS)))
def test_bounds_are_between_the_measured_slopes_and_the_product(seed, name):
    network = NETS[name]
    random = randomised(network, seed)
    gains, pairs = constants(LipLTNetwork, network)
    product_gains, product_pairs = constants(LipschitzNetwork, network)
    assert (gains <= product_gains).all()
    assert (pairs <= product_pairs).all()
    options = {"rounds": 15, "population": 32}
    assert steepest(network, IMAGE, random, **options) <= gains[-1] * (1 + 1e-4)
    c, j = random.choice(4, 2, replace=False)
    slope = steepest(lambda x: network(x)[:, c] - network(x)[:, j], IMAGE, random, **options)
    assert slope <= pairs[c, j] * (1 + 1e-4)


@settings(max_examples=10)
@given(seed=st.integers(0, 100_000))
def test_every_linear_piece_is_bounded(seed):
    """The Jacobian for all patterns of active units of two small layers, in float64."""
    random = np.random.default_rng(seed)
    kernels = [random.normal(size=shape) for shape in ((3, 4), (4, 4), (4, 3))]
    network = keras.Sequential([keras.Input((3, 1, 1)), layers.Flatten()])
    for kernel, activation in zip(kernels, ("relu", "relu", None), strict=True):
        layer = layers.Dense(kernel.shape[1], activation, use_bias=False)
        network.add(layer)
        layer.set_weights([kernel])
    kernels = [kernel.astype("float32").astype("float64") for kernel in kernels]
    gains, pairs = constants(LipLTNetwork, network)
    patterns = (np.arange(256)[:, None] >> np.arange(8)) & 1
    first, second = patterns[:, None, :4], patterns[:, None, 4:]
    jacobians = (kernels[0] * first) @ (kernels[1] * second) @ kernels[2]
    assert np.linalg.norm(jacobians, 2, axis=(1, 2)).max() <= gains[-1]
    for c in range(3):
        for j in range(3):
            slopes = np.linalg.norm(jacobians[:, :, c] - jacobians[:, :, j], axis=1)
            assert slopes.max() <= pairs[c, j]


def test_one_layer_has_the_exact_constants():
    network = keras.Sequential([keras.Input(IMAGE), layers.Flatten(), layers.Dense(4)])
    gains, pairs = constants(LipLTNetwork, network)
    kernel = keras.ops.convert_to_numpy(network.layers[-1].kernel).astype("float64")
    assert gains[-1] == pytest.approx(np.linalg.norm(kernel, 2), rel=1e-6)
    expected = np.linalg.norm(kernel[:, :, None] - kernel[:, None, :], axis=0)
    assert (pairs >= expected).all()
    np.testing.assert_allclose(pairs, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(pairs, constants(LipschitzNetwork, network)[1], rtol=1e-6, atol=1e-6)


def test_two_layers_follow_the_formula():
    network = keras.Sequential([keras.Input((2, 2, 1)), layers.Flatten()])
    network.add(layers.Dense(5, "relu"))
    network.add(layers.Dense(3))
    first, second = (
        keras.ops.convert_to_numpy(layer.kernel).astype("float64") for layer in network.layers[1:]
    )
    gains, pairs = constants(LipLTNetwork, network)
    m = np.linalg.norm(first, 2)
    both = 0.5 * np.linalg.norm(first @ second, 2)
    assert gains[-1] == pytest.approx(0.5 * np.linalg.norm(second, 2) * m + both, rel=1e-6)
    column = second[:, 0] - second[:, 1]
    expected = 0.5 * np.linalg.norm(column) * m + 0.5 * np.linalg.norm(first @ column)
    assert pairs[0, 1] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", sorted(NETS))
def test_large_compositions_are_bounded_by_their_parts(name, monkeypatch):
    network = NETS[name]
    randomised(network, 3)
    exact = constants(LipLTNetwork, network)
    monkeypatch.setattr("zoo.bounds.liplt._LARGEST_MATRIX", 0)
    for found, tighter in zip(constants(LipLTNetwork, network), exact, strict=True):
        assert (found >= tighter * (1 - 1e-9)).all()


@pytest.mark.parametrize("scales", [[1e-36] * 5, [1e38] * 5, [1e-36] * 5 + [1e36] * 5])
def test_norms_hold_where_squares_leave_the_range_of_float64(scales):
    parts = [layers.Dense(2, "relu") for _ in scales[:-1]]
    network = keras.Sequential([keras.Input((2,)), *parts, layers.Dense(2)])
    for layer, scale in zip(network.layers, scales, strict=True):
        layer.kernel.assign(np.eye(2, dtype="float32") * scale)
    analysis = LipLTNetwork(network)
    factors = [float(keras.ops.convert_to_numpy(layer.kernel)[0, 0]) for layer in network.layers]
    for (first, last), norm in analysis.norms(analysis.bounds()).items():
        exact = np.prod(factors[first : last + 1])
        assert exact <= norm <= exact * (1 + 1e-6)


@pytest.mark.integration
@pytest.mark.parametrize(("name", "margin"), [("convolutional", "pairwise"), ("deep", "global")])
def test_estimates_approach_the_bounds_from_below(name, margin):
    randomised(NETS[name], 5)
    model = LipschitzMarginNet(NETS[name], margin=margin, constant="liplt")
    for _ in range(30):
        found = keras.ops.convert_to_numpy(model.estimate().value)
    bounds, gains, steepness = model.derived()[1]
    upper = np.sqrt(2) * gains[-1] if margin == "global" else steepness
    apart = ~np.eye(4, dtype=bool) if margin == "pairwise" else ...
    assert (found[apart] <= np.asarray(upper)[apart] * (1 + 1e-4)).all()
    assert (found[apart] >= np.asarray(upper)[apart] * 0.8).all()


@pytest.mark.integration
def test_training_with_it_certifies_more_than_the_product_and_holds():
    train, test = zoo.data.load("digits", "train"), zoo.data.load("digits", "test")
    network = {"name": "convnet", "image_shape": (8, 8, 1), "num_classes": 10, "filters": [8]}
    options = {"variant": "crm", "margin": "pairwise", "loss_options": {"weight": 5.0}}
    model = LipschitzMarginNet({**network, "hidden": [32]}, 0.6, constant="liplt", **options)
    model.compile(keras.optimizers.Adam(0.01))
    model.fit(train.images, train.labels, epochs=8, batch_size=64, verbose=0)
    assert model.certify(test.images).accuracy(test.labels, 0.1) > 0.75
    x = test.images[:60]
    certificate = assert_attacks_do_not_break(model, x)
    for x_adv in perturbations(x, certificate.radius, "l2", np.random.default_rng(0)):
        assert_unbroken(model, certificate, x, x_adv)
    product = LipschitzMarginNet(model.network).certify(x)
    assert (certificate.radius >= product.radius).all()
    assert certificate.radius.mean() > 1.05 * product.radius.mean()
    exported = model.logit_certificate().radius(model.logits(x), x)
    assert (exported <= certificate.radius * (1 + 1e-6)).all()
    np.testing.assert_allclose(exported, certificate.radius, atol=1e-2)


@pytest.mark.integration
def test_it_survives_saving(tmp_path):
    options = {"variant": "calibrated", "margin": "pairwise", "loss_options": {"penalty": 0.01}}
    model = LipschitzMarginNet(NETS["deep"], "1/3", constant="liplt", **options)
    model.compile("adam")
    x = np.random.default_rng(0).uniform(size=(4, *IMAGE)).astype("float32")
    model.fit(x, np.zeros(4, int), verbose=0)
    zoo.save(model, tmp_path / "net")
    again = zoo.load(tmp_path / "net")
    assert (again.constant, again.loss_options) == ("liplt", {"penalty": 0.01})
    assert again.default_loss().penalty == 0.01
    np.testing.assert_array_equal(again.certify(x).radius, model.certify(x).radius)
    model.logit_certificate().save(tmp_path / "certificate.npz")
    loaded = zoo.certificates.LogitCertificate.load(tmp_path / "certificate.npz")
    np.testing.assert_array_equal(
        loaded.radius(model.logits(x), x), model.logit_certificate().radius(model.logits(x), x)
    )


def test_other_networks_are_refused():
    def sequential(*parts):
        return keras.Sequential([keras.Input(IMAGE), *parts, layers.Flatten(), layers.Dense(3)])

    image = keras.Input(IMAGE)
    branch = layers.Add()([layers.Conv2D(2, 1)(image), image])
    refused = {
        "MaxMin": sequential(zoo.layers.MaxMin()),
        "PReLU": sequential(layers.PReLU()),
        "silu|Activation": sequential(layers.Activation("silu")),
        "MaxPooling2D": sequential(layers.MaxPooling2D(2)),
        "Conv2D|Add": keras.Model(image, layers.Dense(3)(layers.Flatten()(branch))),
        "GlobalAveragePooling2D": keras.Sequential([image, layers.GlobalAveragePooling2D()]),
    }
    for name, network in refused.items():
        with pytest.raises(zoo.UnsupportedLayerError, match=f"({name}).*LipLT"):
            LipschitzMarginNet(network, constant="liplt")
    with pytest.raises(ValueError, match="constant"):
        LipschitzMarginNet(NETS["deep"], constant="sum")
    with pytest.raises(TypeError, match="loss_options"):
        LipschitzMarginNet(NETS["deep"], loss_options={"weight": 1.0})
