"""What `zoo.certify` takes for a classifier and for valid inputs, and that its radii hold there."""

import itertools
import warnings

import keras
import numpy as np
import pytest

import zoo
from tests.backend import slow_to_compile
from zoo.models.logit_network import LEAST_MARGIN, logit_network


def two_inputs(*last, first=()):
    keras.utils.set_random_seed(5)
    layers = [keras.Input((2,)), *first, keras.layers.Dense(6, "tanh"), *last]
    network = keras.Sequential(layers)
    for layer in network.layers:
        if isinstance(layer, keras.layers.Dense):
            layer.kernel.assign(2.0 * layer.kernel)
    return network


def grid(low, high, count=41):
    """All pairs of so many values between the ends of each input."""
    axes = [np.linspace(a, b, count) for a, b in zip(low, high, strict=True)]
    return np.array(list(itertools.product(*axes)), np.float32)


def distance(points, x, norm):
    change = points.astype(np.float64) - x
    return np.abs(change).max(axis=1) if norm == "linf" else np.linalg.norm(change, axis=1)


def classes_of(network, x):
    outputs = network.predict(x, verbose=0, batch_size=4096)
    return (outputs[:, 0] > 0.5).astype(int) if outputs.shape[1] == 1 else outputs.argmax(axis=1)


def require_radii(network, x, certificate, points, inside):
    """Nothing among the points within a radius is classified otherwise; some radii are not 0."""
    np.testing.assert_array_equal(certificate.prediction, classes_of(network, x))
    predicted = classes_of(network, points)
    assert (certificate.radius > 0).any()
    assert len(set(predicted)) > 1
    for i in range(len(x)):
        near = inside & (distance(points, x[i], certificate.norm) < certificate.radius[i])
        assert (predicted[near] == certificate.prediction[i]).all()


@pytest.mark.integration
@slow_to_compile
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_box_with_ends_of_their_own(norm):
    """An entry that cannot move makes radii larger, and nothing that is valid breaks them."""
    low, high = np.array([-3.0, 0.5]), np.array([2.0, 0.75])
    network = two_inputs(keras.layers.Dense(3))
    x = np.random.default_rng(0).uniform(low, high, (20, 2)).astype("float32")
    x = np.clip(x, low, high)
    certificate = zoo.certify(network, x, norm=norm, valid_range=(low, high))
    points = grid(low, high)
    require_radii(network, x, certificate, points, np.ones(len(points), bool))
    # CROWN chooses other lines for other bounds, which may be worse ones; intervals only shrink.
    free, bounded = (
        zoo.certify(network, x, norm=norm, method="interval", valid_range=limits).radius
        for limits in (None, (low, high))
    )
    assert (bounded >= free * 0.99).all()  # the search for a radius is exact to half a percent
    assert (bounded > free).any()
    # No two inputs are further apart.
    furthest = 5.0 if norm == "linf" else np.hypot(5.0, 0.25)
    assert certificate.radius.max() <= furthest * (1 + 1e-6)


@pytest.mark.integration
@slow_to_compile
def test_channels_after_a_normalisation_are_those_of_the_normalising_network():
    """A scalar std scales radii: the same function, certified before and after it."""
    keras.utils.set_random_seed(0)
    body = [keras.layers.Conv2D(4, 3, activation="relu"), keras.layers.Flatten(),
            keras.layers.Dense(3)]  # fmt: skip
    after = keras.Sequential([keras.Input((4, 4, 3)), *body])
    mean, std = np.array([0.4, 0.5, 0.6]), 0.25
    before = keras.Sequential(
        [keras.Input((4, 4, 3)), keras.layers.Rescaling(1 / std, (-mean / std).tolist()), *body]
    )
    x = np.random.default_rng(1).uniform(size=(6, 4, 4, 3))
    x[0], x[1] = 0.0, 1.0
    ends = (0 - mean) / std, (1 - mean) / std
    for norm in ("linf", "l2"):
        found = zoo.certify(after, (x - mean) / std, norm=norm, valid_range=ends)
        expected = zoo.certify(before, x, norm=norm)
        assert (found.radius > 0).any()
        np.testing.assert_allclose(found.radius * std, expected.radius, rtol=0.05, atol=1e-6)


@pytest.mark.integration
def test_a_range_that_float32_rounds_has_every_valid_input():
    """0.1 is rounded up in float32, beyond the float64 end."""
    network = two_inputs(keras.layers.Dense(3))
    x = np.full((1, 2), 0.1)
    found = zoo.certify(network, x, norm="linf", valid_range=(0.0, 0.1))
    assert found.radius[0] >= 0
    ends = np.zeros(2), np.array([0.1, 0.3])
    zoo.certify(network, np.array([[0.1, 0.3]]), norm="linf", valid_range=ends)
    with pytest.raises(ValueError, match=r"x\[1, 0\] is .*its range \[0, 0.1\].*np.clip"):
        zoo.certify(network, np.array([[0.1, 0.3], [0.2, 0.3]]), norm="linf", valid_range=ends)


@pytest.mark.parametrize(
    "valid_range",
    [(np.zeros(3), np.ones(3)), (np.ones(2), np.zeros(2)), (0, [1, np.nan]), (0, 1, 2), "01"],
)
def test_what_is_no_box_is_named(valid_range):
    with pytest.raises(ValueError, match="valid_range"):
        zoo.certify(
            two_inputs(keras.layers.Dense(3)), np.zeros((1, 2)), norm="l2", valid_range=valid_range
        )


ENDINGS = {
    "softmax in the layer": lambda: [keras.layers.Dense(3, activation="softmax")],
    "softmax as a layer": lambda: [keras.layers.Dense(3), keras.layers.Softmax()],
    "softmax as Activation": lambda: [keras.layers.Dense(3), keras.layers.Activation("softmax")],
    "softmax in a model": lambda: [
        keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, activation="softmax")])
    ],
    "log_softmax": lambda: [keras.layers.Dense(3, activation="log_softmax")],
    "sigmoid in the layer": lambda: [keras.layers.Dense(1, activation="sigmoid")],
    "sigmoid as Activation": lambda: [keras.layers.Dense(1), keras.layers.Activation("sigmoid")],
}


@pytest.mark.integration
@pytest.mark.parametrize("ending", ENDINGS)
def test_probabilities_at_the_end(ending):
    network = two_inputs(*ENDINGS[ending]())
    method = "auto" if ending == "softmax in the layer" else "interval"  # which is quicker
    x = grid([0, 0], [1, 1], 5)
    with pytest.warns(UserWarning, match=r"ends in (a|one) .*certificate is of the"):
        certificate = zoo.certify(network, x, norm="linf", method=method, valid_range=(-1, 1))
    points = grid([-1, -1], [1, 1])
    require_radii(network, x, certificate, points, np.ones(len(points), bool))
    assert certificate.num_classes == (2 if "sigmoid" in ending else 3)
    before = certificate.radius
    # It is the network as it is now, not as it was when its logits were first asked for.
    network.set_weights([0.5 * weight for weight in network.get_weights()])
    with pytest.warns(UserWarning, match="certificate is of the"):
        after = zoo.certify(network, x, norm="linf", method=method, valid_range=(-1, 1))
    require_radii(network, x, after, points, np.ones(len(points), bool))
    assert (after.radius != before).any()


def test_what_rounds_to_equal_probabilities_proves_nothing():
    """The logits differ, the probabilities do not, so `predict` takes the first class."""
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, activation="softmax")])
    network.layers[0].set_weights([np.zeros((2, 2)), np.array([0.0, LEAST_MARGIN / 300])])
    binary = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, activation="sigmoid")])
    binary.layers[0].set_weights([np.zeros((2, 1)), np.array([LEAST_MARGIN / 1000])])
    for model in (network, binary):
        with pytest.warns(UserWarning, match="certificate is of the"):
            certificate = zoo.certify(model, np.zeros((1, 2)), norm="linf")
        assert certificate.radius[0] == 0
        np.testing.assert_array_equal(certificate.prediction, classes_of(model, np.zeros((1, 2))))


def test_a_model_inside_with_two_heads_is_refused():
    """What is left off of the first head would make the certificate one of the other head."""
    image = keras.Input((2,))
    heads = [keras.layers.Dense(3, activation="softmax")(image) for _ in range(2)]
    inner, outer = keras.Model(image, heads), keras.Input((2,))
    with pytest.raises(zoo.UnsupportedLayerError, match="has 2 outputs, not one"):
        zoo.certify(keras.Model(outer, inner(outer)[1]), np.zeros((1, 2)), norm="linf")


def test_what_follows_a_softmax_or_masks_it_is_not_left_off():
    inputs = keras.Input((2,))
    reversed_order = keras.Model(inputs, 1.0 - keras.layers.Dense(3, activation="softmax")(inputs))
    over_the_batch = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(3), keras.layers.Softmax(axis=0)]
    )
    several = two_inputs(keras.layers.Dense(3, activation="sigmoid"))
    for model in (reversed_order, over_the_batch, several):
        assert logit_network(model).network is model
    for model in (reversed_order, over_the_batch):
        with pytest.raises(zoo.UnsupportedLayerError, match="softmax|Softmax"):
            zoo.certify(model, np.zeros((1, 2)), norm="linf")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        zoo.certify(several, np.zeros((1, 2)), norm="linf")


def test_one_output_without_a_sigmoid_is_refused():
    with pytest.raises(ValueError, match="end in a sigmoid"):
        zoo.certify(two_inputs(keras.layers.Dense(1)), np.zeros((1, 2)), norm="linf")


def of_bytes(scale):
    inputs = keras.Input((4, 4, 1))
    features = keras.layers.Flatten()(scale(inputs))
    return keras.Model(inputs, keras.layers.Dense(3)(features))


@pytest.mark.parametrize(
    "scale",
    [
        lambda x: x / 255.0,
        lambda x: x * (1 / 255),
        lambda x: (x - 127.5) / 127.5,
        lambda x: keras.layers.Rescaling(1 / 255)(keras.layers.RandomFlip()(x)),
        lambda x: keras.layers.Normalization(mean=120.0, variance=80.0**2)(x),
        lambda x: (x / 255.0) / 0.2,
    ],
)
def test_networks_that_begin_by_dividing_take_bytes(scale):
    network, x = of_bytes(scale), np.full((1, 4, 4, 1), 0.5)
    with pytest.raises(ValueError, match=r"takes pixels of 0 to 255.*valid_range=\(0, 255\)"):
        zoo.certify(network, x, norm="linf")
    with pytest.raises(ValueError, match="takes pixels of 0 to 255.*Leave that out"):
        zoo.models.LipschitzMarginNet(network)
    with pytest.raises(ValueError, match=r"takes pixels of 0 to 255.*Rescaling\(255\), model"):
        zoo.attacks.attack(network, x, [0], "fgsm", eps=0.1, norm="linf")
    of_images = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Rescaling(255), network])
    assert len(zoo.attacks.attack(of_images, x, [0], "fgsm", eps=0.1, norm="linf")) == 1
    assert len(zoo.certify(network, 255 * x, norm="linf", valid_range=(0, 255))) == 1
    with pytest.warns(UserWarning, match=r"all inputs lie in \[0, 1\].*multiply images"):
        zoo.certify(network, x, norm="linf", valid_range=(0, 255))


def test_networks_that_scale_otherwise_do_not_take_bytes():
    x = np.full((1, 4, 4, 1), 0.5)
    for scale in (lambda x: x / 0.3, lambda x: x - 0.5, lambda x: -x):
        assert len(zoo.certify(of_bytes(scale), x, norm="linf")) == 1


def test_names_of_layers_like_those_of_the_layers_that_are_made():
    parts = [keras.Input((6,)), keras.layers.Dense(4, "relu", name="out_logits")]
    for units, ending in ((3, "softmax"), (1, "sigmoid")):
        last = keras.layers.Dense(units, ending, name="out")
        name = "logits_of_two_classes"
        first = keras.layers.Dense(5, "relu", name=name)
        model = keras.Sequential([parts[0], first, *parts[1:], last])
        model = keras.models.clone_model(model)
        x = np.random.default_rng(0).uniform(size=(3, 6)).astype("float32")
        assert len(zoo.certify(model, x, norm="l2")) == 3


def test_a_layer_that_is_called_for_training_is_named():
    image = keras.Input((6,))
    dropped = keras.layers.Dropout(0.5)(image, training=True)
    model = keras.Model(image, keras.layers.Dense(3)(dropped))
    with pytest.raises(
        zoo.UnsupportedLayerError, match="called with training=True; certificates are of the model"
    ):
        zoo.certify(model, np.zeros((1, 6), "float32"), norm="l2")
