"""L1 double backpropagation: the published networks, training, certificates, what is refused."""

import keras
import numpy as np
import pytest
from keras import layers

import zoo
from tests.backend import BACKEND, slow_to_compile
from tests.models.perturbations import assert_attacks_do_not_break
from zoo.certificates import network_bounds
from zoo.losses import JacobianL1
from zoo.models import DoubleBackpropNet
from zoo.models.double_backprop_networks import NETWORKS

# JAX compiles linear relaxation anew for every number of unstable neurons.
COUNT = 50 if BACKEND == "tensorflow" else 8
SMALL = {"name": "c", "image_shape": (8, 8, 1), "num_classes": 10, "hidden": [32, 16]}


@pytest.mark.parametrize(("name", "parameters"), [("a", 710_218), ("b", 1_460_938), ("c", 567_434)])
def test_networks_have_the_published_number_of_parameters(name, parameters):
    assert NETWORKS[name]((28, 28, 1), 10).count_params() == parameters


def trained(penalty_weight, digits_train, **options):
    keras.utils.set_random_seed(0)
    model = DoubleBackpropNet(SMALL, penalty_weight, **options)
    model.compile(keras.optimizers.Adam(0.005))
    model.fit(digits_train.images, digits_train.labels, epochs=10, batch_size=64, verbose=0)
    return model


@pytest.fixture(scope="module")
def digits_train():
    return zoo.data.load("digits", "train")


@pytest.mark.integration
@pytest.mark.parametrize(("epsilon", "outputs"), [(None, "logits"), (0.1, "probabilities")])
def test_the_penalty_flattens(digits, digits_train, epsilon, outputs):
    def slope(model):
        penalty = JacobianL1("full", outputs)
        return float(np.mean(penalty(model.network, digits.images[:100])))

    without = trained(0.0, digits_train, outputs=outputs, epsilon=epsilon)
    weight = 0.005 if outputs == "logits" else 0.1
    flat = trained(weight, digits_train, outputs=outputs, epsilon=epsilon)
    assert slope(flat) < 0.9 * slope(without)
    x, y = digits.images, digits.labels
    assert (np.argmax(flat.logits(x), axis=1) == y).mean() > 0.75


@pytest.mark.integration
def test_the_published_weight_on_the_sum_leaves_a_constant(digits, digits_train):
    flat = trained(10.0, digits_train)
    assert (np.argmax(flat.logits(digits.images), axis=1) == digits.labels).mean() < 0.3


@pytest.mark.integration
def test_adversarial_images_make_it_withstand_them(digits, digits_train):
    def left(model):
        x_adv = model.attack(digits.images, digits.labels, "fgsm", eps=0.15, norm="linf")
        return (np.argmax(model.logits(x_adv), axis=1) == digits.labels).mean()

    plain, robust = (trained(0.0, digits_train, epsilon=e) for e in (None, 0.15))
    assert left(robust) > left(plain) + 0.1


@pytest.mark.integration
def test_every_kth_image_estimates_the_same_penalty(digits_train):
    x, y = digits_train.images[:64], digits_train.labels[:64]
    losses = {}
    for every in (1, 4):
        keras.utils.set_random_seed(0)
        model = DoubleBackpropNet(SMALL, 1.0, penalty_every=every)
        model.compile(keras.optimizers.SGD(0.0))
        model.fit(x, y, batch_size=64, verbose=0, shuffle=False)
        logits = model(x, training=True)
        losses[every] = float(model.compute_loss(x, y, logits, training=True))
        plain = float(model.compute_loss(x, y, logits, training=False))
        penalty = float(np.mean(JacobianL1()(model.network, x[::every])))
        assert losses[every] - plain == pytest.approx(penalty, rel=1e-4)
    assert losses[1] == pytest.approx(losses[4], rel=0.2)


@pytest.mark.integration
def test_attacks_do_not_break_its_certificates(digits, digits_train):
    model = trained(0.01, digits_train, epsilon=0.1)
    for norm in ("linf", "l2") if BACKEND == "tensorflow" else ("linf",):
        certificate = assert_attacks_do_not_break(model, digits.images[:COUNT], norm=norm)
        assert np.median(certificate.radius) > 0.01
    assert [method for norm, method in model.certificates if norm == "l2"] == [
        "crown",
        "crown-interval",
        "interval",
    ]


@pytest.mark.integration
def test_save_and_load(tmp_path):
    model = DoubleBackpropNet(SMALL, 0.5, outputs="probabilities", epsilon="1/8", penalty_every=2)
    zoo.save(model, tmp_path / "net")
    again = zoo.load(tmp_path / "net")
    for name in ("penalty_weight", "form", "outputs", "epsilon", "penalty_every"):
        assert again.get_config()[name] == model.get_config()[name]
    x = np.random.default_rng(0).uniform(size=(2, 8, 8, 1)).astype("float32")
    np.testing.assert_array_equal(again.logits(x), model.logits(x))
    np.testing.assert_array_equal(again.certify(x).radius, model.certify(x).radius)
    assert zoo.load(tmp_path / "net", epsilon=0.3, penalty_weight=2.0).penalty_weight == 2.0
    wider = zoo.load(tmp_path / "net", num_classes=12)
    assert wider.certify(x).num_classes == 12
    np.testing.assert_array_equal(
        *(keras.ops.convert_to_numpy(m.network.layers[1].kernel) for m in (wider, model))
    )


@pytest.mark.integration
def test_layers_changed_afterwards_are_certified_as_they_are():
    model = DoubleBackpropNet(SMALL)
    x = np.random.default_rng(0).uniform(size=(2, 8, 8, 1))
    model.network.layers[1].activation = keras.activations.tanh
    expected = zoo.certify(model.network, x, norm="linf").radius
    np.testing.assert_array_equal(model.certify(x).radius, expected)
    model.network.layers[1].activation = keras.activations.mish
    with pytest.raises(zoo.UnsupportedLayerError, match="mish"):
        model.certify(x)


@pytest.mark.integration
@slow_to_compile
def test_your_own_network_with_large_layers_is_certified_in_a_practical_way(monkeypatch):
    monkeypatch.setattr(network_bounds, "_LARGE", 1000)
    network = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(8, 3, activation="softplus"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3),
        ]
    )
    model = DoubleBackpropNet(network, epsilon=0.1)
    assert model.certificates[0] == ("linf", "crown-interval")
    certificate = model.certify(np.full((1, 28, 28, 1), 0.5))
    assert certificate.method == "crown-interval"
    tighter = model.certify(np.full((1, 28, 28, 1), 0.5), norm="linf", method="crown")
    assert tighter.method == "crown"
    # The two searches begin elsewhere and are exact to half a percent.
    assert tighter.radius >= 0.99 * certificate.radius - 1e-6


@pytest.mark.integration
def test_an_assigned_budget_is_checked_and_trained_for():
    model = DoubleBackpropNet(SMALL, 0.0, epsilon=0)
    assert model.epsilon is None
    model.compile(keras.optimizers.SGD(0.0))
    x = np.random.default_rng(0).uniform(size=(16, 8, 8, 1)).astype("float32")
    y = np.arange(16) % 10
    without = model.train_on_batch(x, y, return_dict=True)["loss"]
    model.epsilon = "1/8"
    assert model.train_on_batch(x, y, return_dict=True)["loss"] > without
    assert model.get_config()["epsilon"] == "1/8"
    with pytest.raises(ValueError, match="epsilon must be a finite number"):
        model.epsilon = "far"
    model.epsilon = None
    assert model.train_on_batch(x, y, return_dict=True)["loss"] == pytest.approx(without)


@pytest.mark.parametrize(("network", "least"), [("a", 27), ("b", 3)])
def test_the_smallest_images_of_a_published_network(network, least):
    model = DoubleBackpropNet(network, image_shape=(least, least, 1), num_classes=2)
    assert model.predict(np.zeros((1, least, least, 1)), verbose=0).shape == (1, 2)
    with pytest.raises(ValueError, match=f"of at least {least} × {least} pixels, got {least} × "):
        DoubleBackpropNet(network, image_shape=(least, least - 1, 1), num_classes=2)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="network must be one of a, b, c or a Keras"):
        DoubleBackpropNet({**SMALL, "name": "d"})
    for change in (
        {"penalty_weight": -1.0},
        {"epsilon": "-1/8"},
        {"form": "half"},
        {"outputs": "loss"},
        {"penalty_every": 0},
        {"label_smoothing": 1.0},
        {"epsilon": "far"},
    ):
        with pytest.raises(ValueError, match=f"{next(iter(change))} must"):
            DoubleBackpropNet(SMALL, **change)
    with pytest.raises(zoo.UnsupportedLayerError, match="GRU"):
        DoubleBackpropNet(keras.Sequential([keras.Input((6, 2)), layers.GRU(3)]))
    with pytest.raises(ValueError, match="images"):
        DoubleBackpropNet(keras.Sequential([keras.Input((6,)), layers.Dense(3)]))
    headless = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten()])
    with pytest.raises(ValueError, match="no dense layer"):
        DoubleBackpropNet(headless).with_new_head(5)


@pytest.mark.integration
@pytest.mark.parametrize("kind", [DoubleBackpropNet, zoo.models.CurvatureNet])
def test_a_callback_may_change_the_budget(kind, digits_train):
    """The training step in which no budget was known is compiled anew within ``fit``."""
    network = {"name": "mlp", "image_shape": (8, 8, 1), "num_classes": 10, "hidden": [8]}
    model = kind(SMALL if kind is DoubleBackpropNet else network, epsilon=None)
    model.compile(keras.optimizers.SGD(0.01))
    seen = []

    def set_epsilon(epoch, logs=None):
        seen.append(model.train_function)
        model.epsilon = 0.05 * epoch + 0.05

    callback = keras.callbacks.LambdaCallback(on_epoch_begin=set_epsilon)
    few = digits_train.take(64)
    model.fit(few.images, few.labels, epochs=2, verbose=0, callbacks=[callback])
    assert float(model.epsilon) == 0.1
    assert model.train_function is not seen[0]
