"""A certificate is about what a model is now: its layers' types, methods, settings and weights."""

import dataclasses
import types

import keras
import numpy as np
import pytest
from keras import layers, ops

import zoo
from tests.models.perturbations import assert_unbroken, perturbations
from zoo.bounds.model_state import settings_of, state_of
from zoo.bounds.rules import rule as rule_module
from zoo.models import l2_networks

IMAGE = (4, 4, 1)


def sequential(*hidden):
    return keras.Sequential([keras.Input(IMAGE), layers.Flatten(), *hidden, layers.Dense(3)])


def louder_relu(x):
    return 50.0 * ops.relu(x)


louder_relu.__name__ = "relu"


class Louder(zoo.layers.MaxMin):
    def call(self, inputs):
        return 50.0 * super().call(inputs)


WRAPPERS = {
    "lmt": lambda activation: zoo.models.LipschitzMarginNet(
        sequential(layers.Dense(8, activation or "relu"))
    ),
    "double-backprop": lambda activation: zoo.models.DoubleBackpropNet(
        sequential(layers.Dense(8, activation or "relu"))
    ),
    "crt": lambda activation: zoo.models.CurvatureNet(
        sequential(layers.Dense(8, activation or "softplus"))
    ),
}


def test_a_state_is_equal_until_something_changes():
    model = zoo.models.LipschitzMarginNet(sequential(layers.Dense(8, "relu"), layers.ReLU()))
    network = model.network
    state = state_of(model)
    model.compile("adam")
    model.predict(np.zeros((2, *IMAGE), "float32"), verbose=0)
    assert state_of(model) == state
    _, dense, relu, _ = network.layers
    for layer, name, value in (
        (relu, "negative_slope", 0.1),
        (dense, "activation", louder_relu),
        (dense, "use_bias", False),
        (network.layers[0], "data_format", "channels_first"),
    ):
        before = getattr(layer, name)
        setattr(layer, name, value)
        assert settings_of(model) != state[0], name
        setattr(layer, name, before)
        assert state_of(model) == state, name
    dense.kernel.assign(dense.kernel + 1.0)
    assert settings_of(model) == state[0]
    assert state_of(model) != state
    other = settings_of(model)
    network.pop()
    assert settings_of(model) != other


@pytest.mark.parametrize("kind", WRAPPERS)
def test_an_activation_of_the_same_name_is_another_function(kind, small_images):
    model = WRAPPERS[kind](None)
    model.certify(small_images[:2])
    model.network.layers[1].activation = louder_relu
    with pytest.raises(zoo.UnsupportedLayerError, match="activation relu"):
        model.certify(small_images[:2])


@pytest.mark.integration
@pytest.mark.parametrize("kind", WRAPPERS)
def test_a_method_replaced_on_an_instance_is_refused(kind, small_images):
    for victim in (lambda m: m.network.layers[1], lambda m: m.network, lambda m: m):
        model = WRAPPERS[kind](None)
        model.certify(small_images[:2])
        layer = victim(model)
        layer.call = lambda inputs, training=False, mask=None: 50.0 * inputs
        with pytest.raises(zoo.UnsupportedLayerError, match=r"call\(\) of .*was replaced"):
            model.certify(small_images[:2])
    with pytest.raises(zoo.UnsupportedLayerError, match=r"call\(\) of .*was replaced"):
        zoo.certify(model.network if layer is not model else model, small_images[:2], norm="l2")


def test_methods_of_the_zoos_own_layers_replaced_on_an_instance(digits, digits_model):
    for name in ("linf-dist-digits", "l2nnn-digits"):
        model = zoo.load(name)
        model.hidden[-1].call = lambda inputs, training=False: 2.0 * inputs
        with pytest.raises(zoo.UnsupportedLayerError, match="was replaced"):
            model.certify(digits.images[:2])
        with pytest.raises(zoo.UnsupportedLayerError, match="was replaced"):
            model.logit_certificate()


def test_subclasses_of_layers_are_refused(small_images, monkeypatch):
    with pytest.raises(zoo.UnsupportedLayerError, match="Louder 'louder'"):
        zoo.models.LipschitzMarginNet(sequential(layers.Dense(8), Louder()))
    monkeypatch.setitem(l2_networks.ACTIVATIONS, "max_min", Louder)
    settings = {"network": "dense", "width": 0.01, "activation": "max_min"}
    model = zoo.models.L2NonexpansiveNet(IMAGE, 3, **settings)
    with pytest.raises(zoo.UnsupportedLayerError, match="Louder 'louder.*derived from MaxMin"):
        model.certify(small_images)


def test_a_subclass_of_a_model_needs_a_certificate_of_its_own(small_images):
    class Other(zoo.models.LinfDistNet):
        def features(self, inputs, training=False):
            return 50.0 * super().features(inputs, training)

    class Trained(zoo.models.LinfDistNet):
        def default_loss(self):
            return "sparse_categorical_crossentropy"

    class Own(Other):
        def certified_radius(self, x, norm, method):
            return zoo.certificates.CertifiedBatch(np.zeros((len(x), 3)), np.zeros(len(x)))

    class OtherOutputs(zoo.models.LinfDistNet):
        def predict(self, x, **kwargs):
            return -super().predict(x, **kwargs)

    class Halved:
        def certified_radius(self, x, norm, method):
            found = super().certified_radius(x, norm, method)
            return dataclasses.replace(found, radius=found.radius / 2)

    class HalvedNet(Halved, zoo.models.LinfDistNet):
        pass

    class HalvedOther(Halved, Other):
        pass

    arguments = {"width": 8, "depth": 2}
    halved = HalvedNet(IMAGE, 3, **arguments)
    assert len(halved.certify(small_images)) == len(small_images)
    with pytest.raises(zoo.UnsupportedLayerError, match=r"Other replaces features\(\)"):
        HalvedOther(IMAGE, 3, **arguments).certify(small_images)
    with pytest.raises(zoo.UnsupportedLayerError, match=r"OtherOutputs replaces predict\(\)"):
        OtherOutputs(IMAGE, 3, **arguments).certify(small_images)
    with pytest.raises(zoo.UnsupportedLayerError, match=r"Other replaces features\(\)"):
        Other(IMAGE, 3, **arguments).certify(small_images)
    for kind in (Trained, Own):
        assert len(kind(IMAGE, 3, **arguments).certify(small_images)) == len(small_images)
    with pytest.raises(zoo.UnsupportedLayerError, match=r"Other replaces features\(\).*logit_cert"):
        Own(IMAGE, 3, **arguments).logit_certificate()

    class OwnSearch(zoo.models.LinfDistMLP):
        def features(self, inputs, training=False):
            return 50.0 * super().features(inputs, training)

        def certified_radius(self, x, norm, method):
            return zoo.certificates.CertifiedBatch(np.zeros((len(x), 3)), np.zeros(len(x)))

    model = OwnSearch(IMAGE, 3, **arguments, hidden_units=4)
    assert len(model.certify(small_images)) == len(small_images)
    with pytest.raises(zoo.UnsupportedLayerError, match=r"replaces features\(\).*per_class_radius"):
        model.certify(small_images, per_class=True)


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("linf-dist-digits", ("mean", "std", "head", "hidden", "image_shape", "num_classes")),
        ("l2nnn-digits", ("mean", "head", "hidden", "image_shape")),
        ("lc-lmt-digits", ("network", "num_classes")),
        ("crt-digits", ("network",)),
        ("double-backprop-digits", ("network",)),
    ],
)
def test_what_logits_depend_on_is_fixed(name, attributes):
    model = zoo.load(name)
    for attribute in attributes:
        with pytest.raises(AttributeError, match=f"{attribute} of a .* is fixed.*from_config"):
            setattr(model, attribute, getattr(model, attribute))


def test_a_parametrization_changed_after_certify(digits):
    x = digits.images[:20]
    model = zoo.models.L2NonexpansiveNet((8, 8, 1), 10, network="dense", width=0.05)
    for layer in model.hidden:
        if hasattr(layer, "kernel"):
            layer.kernel.assign(layer.kernel * 8.0)
    model.certify(x)
    before = model.logit_certificate().lipschitz
    for layer in model.hidden:
        if hasattr(layer, "parametrization"):
            layer.parametrization = "free"
    certificate = model.certify(x)
    assert model.logit_certificate().lipschitz > 100 * before
    random = np.random.default_rng(0)
    for points in perturbations(x, certificate.radius, "l2", random):
        assert_unbroken(model, certificate, x, points)


@pytest.mark.integration
@pytest.mark.parametrize("setting", [("negative_slope", 0.5), ("max_value", 0.1)])
def test_keras_programs_follow_the_settings_of_layers(setting, small_images):
    model = zoo.models.LipschitzMarginNet(sequential(layers.Dense(8), layers.ReLU()))
    labels = np.arange(len(small_images)) % 3
    model.compile(keras.optimizers.SGD(0.0))
    model.predict(small_images, verbose=0)
    model.evaluate(small_images, labels, verbose=0)
    model.fit(small_images, labels, verbose=0)
    setattr(model.network.layers[2], *setting)
    logits = ops.convert_to_numpy(model(small_images))
    np.testing.assert_allclose(model.predict(small_images, verbose=0), logits, atol=1e-6)
    accuracy = np.mean(logits.argmax(axis=1) == labels)
    for measured in (
        model.evaluate(small_images, labels, verbose=0, return_dict=True)["accuracy"],
        model.fit(small_images, labels, verbose=0).history["accuracy"][0],
    ):
        assert measured == pytest.approx(accuracy)


@pytest.mark.integration
def test_predict_of_an_ordinary_model_agrees_with_its_certificate(small_images):
    model = sequential(layers.Dense(8), layers.ReLU())
    model.predict(small_images, verbose=0)
    model.layers[2].negative_slope = 1.0
    certificate = zoo.certify(model, small_images, norm="linf")
    assert (model.predict(small_images, verbose=0).argmax(axis=1) == certificate.prediction).all()


@pytest.mark.integration
@pytest.mark.parametrize("measured", ["certify", "evaluate"])
def test_a_setting_that_changed_and_changed_back_leaves_no_program(measured):
    network = keras.Sequential(
        [keras.Input((1, 1, 1)), layers.Flatten(), layers.Dense(1), layers.ReLU(), layers.Dense(2)]
    )
    network.layers[1].set_weights([np.ones((1, 1)), np.array([-0.5])])
    network.layers[3].set_weights([np.array([[1.0, 0.0]]), np.array([0.1, 0.0])])
    x = np.full((1, 1, 1, 1), 0.2, "float32")
    zoo.certify(network, x, norm="linf")
    network.layers[2].negative_slope = 1.0
    assert network.predict(x, verbose=0).argmax() == 1
    network.layers[2].negative_slope = 0.0
    if measured == "certify":
        certificate = zoo.certify(network, x, norm="linf")
    else:
        certificate = zoo.evaluate(network, x, [0], eps=0.1, norm="linf", attacks=()).certificate
    assert certificate.radius[0] > 0.9
    assert network.predict(x, verbose=0).argmax() == certificate.prediction[0] == 0


@pytest.mark.integration
def test_programs_are_kept_while_nothing_changes(small_images):
    model = zoo.models.LipschitzMarginNet(sequential(layers.Dense(8, "relu")))
    model.compile("adam")
    for _ in range(2):
        model.predict(small_images, verbose=0)
        model.evaluate(small_images, np.zeros(20, int), verbose=0)
    programs = model.predict_function, model.test_function
    model.fit(small_images, np.zeros(20, int), verbose=0)
    model.certify(small_images)
    model.predict(small_images, verbose=0)
    model.evaluate(small_images, np.zeros(20, int), verbose=0)
    assert (model.predict_function, model.test_function) == programs


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="JAX compiles anew by itself")
def test_a_setting_of_the_backend_changes_a_program(small_images):
    """XLA compiles into a program whether products may use TF32."""
    import tensorflow as tf

    model = zoo.models.LipschitzMarginNet(sequential(layers.Dense(8, "relu")))
    model.predict(small_images, verbose=0)
    program = model.predict_function
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    try:
        tf.config.experimental.enable_tensor_float_32_execution(not before)
        model.predict(small_images, verbose=0)
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)
    assert model.predict_function is not program


def with_lora():
    dense = layers.Dense(8, "relu")
    model = sequential(dense)
    dense.enable_lora(2)
    return model


def quantised():
    model = sequential(layers.Dense(8, "relu"))
    model.quantize("int8")
    return model


@pytest.mark.integration
@pytest.mark.parametrize("make", [with_lora, quantised])
@pytest.mark.parametrize(
    "certify",
    [
        lambda model, x: zoo.certify(model, x, norm="linf"),
        lambda model, x: zoo.models.LipschitzMarginNet(model).certify(x),
        lambda model, x: zoo.models.DoubleBackpropNet(model).certify(x),
        lambda model, x: zoo.models.CurvatureNet(model).certify(x),
    ],
)
def test_kernels_computed_from_other_weights_are_refused(make, certify, small_images):
    with pytest.raises(zoo.UnsupportedLayerError, match="dense"):
        certify(make(), small_images)


def test_settings_that_other_constants_were_made_from_are_fixed():
    pooling, convolution = zoo.layers.NormPooling2D(2), zoo.layers.NonexpansiveConv2D(4, 3)
    for layer, names in (
        (pooling, ("pool_size", "strides", "padding", "repeats")),
        (convolution, ("image_shape", "kernel_size", "strides", "padding")),
        (zoo.layers.PixelUnshuffle(2), ("block_size",)),
        (zoo.layers.PixelShuffle(1), ("block_size",)),
        (zoo.layers.Roll(1), ("shift",)),
    ):
        layer.build((None, 8, 8, 2))
        for name in names:
            with pytest.raises(AttributeError, match=f"{name} of a .* is fixed"):
                setattr(layer, name, getattr(layer, name))


def test_a_layer_derived_from_the_zoos_is_refused_wherever_it_is(small_images):
    class Far(zoo.layers.MeanShift):
        def call(self, inputs, training=False):
            return 100.0 * inputs

    class WithFar(zoo.models.LinfDistNet):
        def build(self, input_shape):
            self.hidden = (self.hidden[0], Far())
            super().build(input_shape)

    with pytest.raises(zoo.UnsupportedLayerError, match="Far 'far.*derived from MeanShift"):
        WithFar(IMAGE, 3, width=8, depth=2).certify(small_images)


@pytest.mark.parametrize("floatx", ["float16", "float64"])
def test_arrays_that_keras_would_round_are_refused(floatx, small_images):
    model = WRAPPERS["lmt"](None)
    keras.config.set_floatx(floatx)
    try:
        for call in (
            lambda: model.certify(small_images),
            lambda: model.predict(small_images, verbose=0),
            lambda: zoo.certify(model.network, small_images, norm="linf"),
            lambda: zoo.load("crt-digits"),
        ):
            with pytest.raises(ValueError, match="floatx"):
                call()
    finally:
        keras.config.set_floatx("float32")


def test_a_setting_that_is_a_variable_counts_by_its_value(small_images):
    factor = np.array(1.0)
    model = zoo.models.LipschitzMarginNet(sequential(layers.Rescaling(factor)))
    before = model.certify(small_images).radius
    factor[...] = 10.0
    fresh = zoo.models.LipschitzMarginNet(model.network).certify(small_images).radius
    np.testing.assert_array_equal(model.certify(small_images).radius, fresh)
    assert (before != fresh).any()


class Gain(layers.Layer):
    """A layer of the user's own, whose setting is a property."""

    everywhere = 1.0

    def __init__(self):
        super().__init__()
        self._gain = 1.0
        self.settings = types.SimpleNamespace(gain=1.0)

    @property
    def gain(self):
        return self._gain

    @gain.setter
    def gain(self, value):
        self._gain = value

    def call(self, inputs):
        return inputs * self._gain * self.settings.gain * self.everywhere


class GainRule(zoo.bounds.AffineRule):
    roundings = 3

    def linear(self, tensor):
        return tensor * self.layer.gain * self.layer.settings.gain * self.layer.everywhere


@pytest.fixture
def gain(monkeypatch):
    monkeypatch.setattr(rule_module, "_rules", dict(rule_module._rules))
    zoo.bounds.register_rule(Gain)(GainRule)
    return Gain()


@pytest.mark.parametrize("where", ["object", "class", "rule"])
def test_bounds_of_a_users_layer_are_not_kept(where, gain, small_images, monkeypatch):
    model = zoo.models.LipschitzMarginNet(sequential(gain))
    before = model.certify(small_images).radius
    if where == "object":
        gain.settings.gain = 10.0
    elif where == "class":
        monkeypatch.setattr(Gain, "everywhere", 10.0)
    else:

        @zoo.bounds.register_rule(Gain)
        class Cautious(GainRule):
            def linear(self, tensor):
                return 10.0 * super().linear(tensor)

    fresh = zoo.models.LipschitzMarginNet(model.network).certify(small_images).radius
    np.testing.assert_array_equal(model.certify(small_images).radius, fresh)
    assert (before != fresh).any()


def test_bounds_of_a_subclass_are_kept(small_images, monkeypatch):
    """Its private attributes are those of the zoo, which holds the bounds in one of them."""
    derived = []

    class Mine(zoo.models.L2NonexpansiveNet):
        def derive(self):
            derived.append(self)
            return super().derive()

    model = Mine(IMAGE, 3, network="dense", width=0.01)
    before = settings_of(model)
    for _ in range(3):
        model.certify(small_images)
    assert len(derived) == 1
    assert settings_of(model) == before


def test_a_setting_that_is_a_property_counts_by_its_value(gain, small_images):
    model = zoo.models.LipschitzMarginNet(sequential(gain))
    before = model.certify(small_images).radius
    kept = settings_of(model)
    model.compile("sgd")
    model.fit(small_images, np.arange(20) % 3, epochs=0, verbose=0)
    assert settings_of(model) == kept
    gain.gain = 10.0
    assert settings_of(model) != kept
    fresh = zoo.models.LipschitzMarginNet(model.network).certify(small_images).radius
    np.testing.assert_array_equal(model.certify(small_images).radius, fresh)
    assert (before != fresh).any()


def test_a_network_that_lost_its_head_is_refused(small_images):
    model = zoo.models.LipschitzMarginNet(sequential(layers.Dense(8), layers.ReLU()))
    model.network.pop()
    with pytest.raises(ValueError, match=r"now ends in \(8,\), not in 3 logits"):
        model.certify(small_images)


def test_sums_that_overflow_before_a_batch_normalisation_prove_nothing():
    first, normalization, head = layers.Dense(2), layers.BatchNormalization(), layers.Dense(2)
    network = keras.Sequential(
        [keras.Input((4, 4, 1)), layers.Flatten(), first, normalization, head]
    )
    model = zoo.models.LipschitzMarginNet(network)
    first.kernel.assign(np.full((16, 2), 6e36))
    normalization.gamma.assign(np.full(2, 1e-30))
    head.kernel.assign(np.array([[-1, 1], [0.5, -0.5]]) * 1e-3)
    x = np.full((1, *IMAGE), 0.85, "float32")
    assert model.certify(x).radius[0] == 0
    assert np.isfinite(model.logits(x)).all()


def test_sums_that_overflow_under_a_tanh_prove_nothing():
    model = zoo.models.LinfDistMLP(IMAGE, 3, width=8, depth=1, hidden_units=4)
    x = np.full((2, *IMAGE), 0.5, "float32")
    assert (model.certify(x).radius > 0).all()
    model.dense.kernel.assign(np.full((8, 4), 3e38))
    assert (model.certify(x).radius == 0).all()


def test_a_constant_that_was_changed_in_place_is_read_again():
    """Keras keeps a reference to the array that an operation such as ``x * c`` was given."""
    factors = np.array([1.0, -1.0], "float32")
    inputs = keras.Input((2,))
    model, x = keras.Model(inputs, inputs * factors), np.array([[0.6, 0.3]], "float32")
    for expected in (0, 1):
        certificate = zoo.certify(model, x, norm="linf")
        assert certificate.prediction.tolist() == [expected]
        assert model.predict(x, verbose=0).argmax(axis=1).tolist() == [expected]
        factors[:] = [-1.0, 1.0]
