"""Settings that were changed after a layer was built: a rule must not describe another layer."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import zoo
from tests.backend import BACKEND
from zoo.bounds.rules import rule as rule_module

IMAGE = (4, 4, 2)


@pytest.fixture
def x():
    return np.random.default_rng(0).uniform(size=(3, *IMAGE)).astype("float32")


def network(*hidden):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input(IMAGE), *hidden, layers.Flatten(), layers.Dense(3)])
    for weight in model.weights:
        weight.assign(np.random.default_rng(1).normal(size=weight.shape))
    return model


@pytest.mark.parametrize(
    ("layer", "setting", "value", "message"),
    [
        (lambda: layers.Dense(4), "use_bias", False, "was built with a bias"),
        (lambda: zoo.layers.Dense(4), "use_bias", False, "was built with a bias"),
        (lambda: layers.MaxPooling2D(2), "pool_mode", "average", "another pool_mode than 'max'"),
        (
            lambda: layers.AveragePooling2D(2),
            "pool_mode",
            "max",
            "another pool_mode than 'average'",
        ),
        (lambda: layers.Conv2D(4, 3, padding="same"), "kernel_size", (5, 5), "has a kernel"),
        (lambda: layers.Conv2D(4, 3, groups=2), "groups", 1, "has a kernel"),
        (
            lambda: zoo.layers.Conv2D(4, 3, padding="same"),
            "dilation_rate",
            (2, 2),
            "dilation after it was built",
        ),
        (lambda: layers.ReLU(max_value=1.0), "max_value", -1.0, "negative largest value"),
    ],
)
def test_a_setting_that_the_layer_no_longer_reads_is_refused(layer, setting, value, message, x):
    changed = layer()
    model = network(changed)
    zoo.certify(model, x, norm="linf", method="crown")
    setattr(changed, setting, value)
    with pytest.raises(zoo.UnsupportedLayerError, match=message):
        zoo.certify(model, x, norm="linf", method="crown")


def test_flatten_moves_the_channels_as_it_did_when_it_was_made(x):
    """It leaves no entry in its place then, which curvature bounds must know."""
    flatten = layers.Flatten(data_format="channels_first")
    dense = layers.Dense(3)
    model = keras.Sequential([keras.Input(IMAGE), flatten, dense])
    flatten.data_format = "channels_last"
    moved, _ = zoo.bounds.rules_of(model)
    assert moved.keeps_order == bool(np.array_equal(flatten(x), x.reshape(len(x), -1)))


def test_a_shortcut_of_another_shape_than_the_branch_is_refused():
    """Keras repeats a shortcut of one pixel, which stretches it."""
    residual = zoo.layers.ConvexResidual(
        [zoo.layers.NormPooling2D(2, padding="same")], [zoo.layers.NormPooling2D(2)]
    )
    residual(np.zeros((1, *IMAGE)))
    image = keras.Input((3, 3, 2))
    model = keras.Model(image, layers.Dense(3)(layers.Flatten()(residual(image))))
    with pytest.raises(zoo.UnsupportedLayerError, match="has a shortcut .* and a branch"):
        zoo.bounds.rules_of(model)


def test_constants_of_each_image_of_a_batch_are_refused():
    normalization = layers.Normalization(axis=0)
    rows = np.random.default_rng(0).normal(size=(4, 8)).astype("float32")
    model = keras.Sequential([keras.Input(batch_shape=(4, 8)), normalization, layers.Dense(3)])
    normalization.adapt(rows)
    with pytest.raises(zoo.UnsupportedLayerError, match="for each image of a batch"):
        zoo.bounds.rules_of(model)
    shift = layers.Rescaling(1.0, offset=rows)
    model = keras.Sequential([keras.Input((8,)), shift, layers.Dense(3)])
    with pytest.raises(zoo.UnsupportedLayerError, match="has an offset of shape .4, 8."):
        zoo.bounds.rules_of(model)
    same = layers.Rescaling(1.0, offset=rows[:1])
    model = keras.Sequential([keras.Input((8,)), same, layers.Dense(3)])
    assert zoo.certify(model, rows, norm="l2", valid_range=None).radius.max() > 0


class Scaled(layers.Layer):
    """A layer of a user's own, called with a setting."""

    def call(self, inputs, scale=1.0, negate=True):
        return inputs * (-scale if negate else scale)


class ScaledRule(zoo.bounds.AffineRule):
    def linear(self, tensor):
        return -tensor

    def absolute(self, tensor):
        return tensor


class WrongRule(ScaledRule):
    def linear(self, tensor):
        return -2.0 * tensor


@pytest.fixture
def registered(monkeypatch):
    """Register a rule of :class:`Scaled` that is forgotten after the test."""
    monkeypatch.setattr(rule_module, "_rules", dict(rule_module._rules))
    return zoo.bounds.register_rule(Scaled)


@pytest.mark.parametrize("given", [{"scale": 0.0}, {"negate": False}, {"scale": 2.0}])
def test_an_argument_that_is_false_or_zero_is_not_overlooked(given, registered, x):
    registered(ScaledRule)
    image = keras.Input(IMAGE)

    def model(**options):
        scaled = Scaled()(image, **options)
        return keras.Model(image, layers.Dense(3)(layers.Flatten()(scaled)))

    zoo.certify(model(), x, norm="linf", method="interval")
    with pytest.raises(zoo.UnsupportedLayerError, match=f"is called with {next(iter(given))}"):
        zoo.certify(model(**given), x, norm="linf", method="interval")


@pytest.mark.parametrize("method", ["interval", "crown-interval", "crown"])
@pytest.mark.parametrize("options", [{}, {"eps": [0.1]}], ids=["radii", "decided"])
def test_a_rule_that_describes_another_layer_is_found_out(registered, method, options, x):
    """The bounds over a ball of radius 0 do not hold what the network computes."""
    registered(WrongRule)
    model = network(Scaled())
    with pytest.raises(zoo.SoundnessError, match="do not hold its own logits"):
        zoo.certify(model, x, norm="linf", method=method, **options)
    registered(ScaledRule)
    assert (zoo.certify(model, x, norm="linf", method=method).radius > 0).any()


@pytest.mark.skipif(BACKEND == "jax", reason="it compiles each operation, and nothing differs")
def test_logits_that_are_not_finite_prove_nothing(x):
    model = network(layers.ReLU())
    model.layers[-1].bias.assign([np.inf, 0.0, 0.0])
    assert (zoo.certify(model, x, norm="linf", method="interval").radius == 0).all()
    assert np.isinf(ops.convert_to_numpy(model(x))).any()
