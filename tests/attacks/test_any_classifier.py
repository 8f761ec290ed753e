"""Keras classifiers of any kind are attacked and measured."""

import keras
import numpy as np
import pytest

import zoo
from tests.attacks.test_attacks import HERE, QUICK
from zoo.attacks import ATTACKS
from zoo.models.any_classifier import as_classifier


def layers(last):
    return [
        keras.Input((8, 8, 1)),
        keras.layers.Conv2D(4, 3, strides=2, activation="relu"),
        keras.layers.Flatten(),
        *last,
    ]


ENDINGS = {
    "logits": lambda: [keras.layers.Dense(10)],
    "softmax activation": lambda: [keras.layers.Dense(10, activation="softmax")],
    "softmax layer": lambda: [keras.layers.Dense(10), keras.layers.Softmax()],
    "softmax as Activation": lambda: [keras.layers.Dense(10), keras.layers.Activation("softmax")],
}


def sequential(ending="logits"):
    keras.utils.set_random_seed(3)
    return keras.Sequential(layers(ENDINGS[ending]()))


def functional(ending="logits"):
    keras.utils.set_random_seed(3)
    first, *rest = layers(ENDINGS[ending]())
    outputs = first
    for layer in rest:
        outputs = layer(outputs)
    return keras.Model(first, outputs)


class Own(keras.Model):
    """A model of the user's own class, whose call knows nothing of training."""

    def __init__(self, softmax=False):
        super().__init__()
        self.inner, self.softmax = sequential(), softmax

    def call(self, inputs):
        logits = self.inner(inputs)
        return keras.ops.softmax(logits) if self.softmax else logits


def test_a_setting_that_changes_and_changes_back(images):
    """Each time, the layer before the softmax is made anew, and the last one has the weights."""
    x, y = images
    model = sequential("softmax activation")
    assert as_classifier(model, x).logits(x).shape == (16, 10)
    usual = keras.config.epsilon()
    try:
        keras.config.set_epsilon(1e-6)
        zoo.certify(model, x[:1], norm="linf", method="interval")
    finally:
        keras.config.set_epsilon(usual)
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([-kernel, bias + 1.0])
    logits = keras.ops.softmax(as_classifier(model, x).logits(x))
    np.testing.assert_allclose(logits, model(x), atol=1e-6)


@pytest.fixture(scope="module")
def images(digits):
    return digits.images[:16], digits.labels[:16]


@pytest.mark.integration
@pytest.mark.parametrize("make", [sequential, functional])
@pytest.mark.parametrize("ending", [ending for ending in ENDINGS if ending != "logits"])
def test_a_last_softmax_changes_nothing(images, make, ending):
    x, _ = images
    plain, model = sequential(), make(ending)
    expected = zoo.attacks.attack(plain, x, None, "pgd", eps=0.1, norm="linf", steps=3)
    found = zoo.attacks.attack(model, x, None, "pgd", eps=0.1, norm="linf", steps=3)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert (found != x).any()
    report = zoo.evaluate(model, x, np.argmax(plain(x), axis=1), eps=0.01, attacks="fgsm")
    of_plain = zoo.certify(plain, x, norm="linf")
    # Where probabilities are rounded to equal numbers, the model predicts another class than its
    # logits do, so the radius ends a little earlier.
    assert (report.certificate.radius <= of_plain.radius + 1e-6).all()
    np.testing.assert_allclose(report.certificate.radius, of_plain.radius, atol=1e-3)
    assert report.clean == 1.0


def test_probabilities_of_an_operation_are_not_taken_for_logits(images):
    """The last layer is a dense one that ends in logits, but an operation follows it."""
    x, _ = images
    plain = functional()
    model = keras.Model(plain.inputs[0], keras.ops.softmax(plain.outputs[0]))
    logits = keras.ops.softmax(as_classifier(model, x).logits(x))
    np.testing.assert_allclose(logits, model(x), atol=1e-6)


def test_saturated_probabilities_hide_no_gradient(images):
    """Through the softmax, the gradient would be 0 or rounding in float32."""
    x, _ = images
    model, plain = sequential("softmax activation"), sequential()
    for each in (model, plain):
        each.layers[-1].kernel.assign(1e6 * each.layers[-1].kernel)
    assert not np.sort(np.asarray(model(x)), axis=1)[:, :-1].any()
    attack = {"eps": 0.1, "norm": "linf", "loss": "margin"}
    found = zoo.attacks.attack(model, x, None, "fgsm", **attack)
    assert (found != x).any(axis=(1, 2, 3)).all()
    np.testing.assert_array_equal(found, zoo.attacks.attack(plain, x, None, "fgsm", **attack))


@pytest.mark.parametrize("softmax", [False, True])
def test_a_class_of_the_users_own(images, softmax):
    x, _ = images
    model, plain = Own(softmax), sequential()
    found = zoo.attacks.attack(model, x, None, "pgd", eps=0.1, norm="linf", steps=3)
    expected = zoo.attacks.attack(plain, x, None, "pgd", eps=0.1, norm="linf", steps=3)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    message = "probabilities, and bounds are of logits" if softmax else "expected a keras.Sequent"
    with pytest.raises((TypeError, ValueError), match=message):
        zoo.evaluate(model, x, np.zeros(16, int), eps=0.1)


def test_a_class_of_the_users_own_takes_images_of_several_sizes():
    class Pooled(keras.Model):
        def __init__(self):
            super().__init__()
            self.head = keras.layers.Dense(3)

        def call(self, inputs):
            return self.head(keras.ops.mean(inputs, axis=(1, 2)))

    any_size = keras.Input((None, None, 2))
    pooled = keras.layers.GlobalAveragePooling2D()(any_size)
    for model in (Pooled(), keras.Model(any_size, keras.layers.Dense(3)(pooled))):
        for side in (4, 6, 4):
            x = np.full((2, side, side, 2), 0.5, "float32")
            x_adv = zoo.attacks.attack(model, x, None, "fgsm", eps=0.1, norm="linf")
            np.testing.assert_allclose(abs(x_adv - x), 0.1, rtol=1e-5)
    with pytest.raises(ValueError, match=r"x must have shape \(n, 4, 4, 2\)"):
        zoo.attacks.attack(model, np.zeros((2, 4, 4, 1)), None, "fgsm", eps=0.1, norm="linf")


class Trainer(keras.Model):
    """A functional model with methods of its own."""


class Keeps(keras.layers.Layer):
    """Keeps a tensor of its last call, which is one without a value after a trace."""

    def call(self, inputs):
        self.kept = keras.ops.sigmoid(inputs)
        return inputs * self.kept


@pytest.mark.parametrize(
    "first",
    [
        lambda x: keras.ops.split(x, 2, axis=1)[0],
        lambda x: keras.ops.moments(x, axes=(1,))[1],
        lambda x: Keeps()(x),
    ],
)
def test_operations_with_several_results_and_layers_that_keep_tensors(first):
    images = keras.Input((8, 8, 1))
    logits = keras.layers.Dense(3)(keras.layers.Flatten()(first(images)))
    x = np.random.default_rng(0).uniform(size=(4, 8, 8, 1)).astype("float32")
    model = keras.Model(images, logits)
    options = {"eps": 0.1, "norm": "linf", "steps": 2, "batch_size": 2}
    assert (zoo.attacks.attack(model, x, None, "apgd-ce", **options) != x).any(axis=(1, 2, 3)).all()


def test_one_probability_is_of_the_second_of_two_classes(images):
    x, _ = images
    last = keras.layers.Dense(1)
    plain = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), last])
    model = keras.Model(plain.inputs[0], keras.ops.sigmoid(plain.outputs[0]))
    last.bias.assign(-np.median(plain(x), axis=0))
    y = (np.asarray(model(x))[:, 0] > 0.5).astype(int)
    np.testing.assert_array_equal(np.argmax(as_classifier(model, x).logits(x), axis=1), y)
    x_adv = zoo.attacks.attack(model, x, y, "pgd", eps=0.5, norm="linf")
    assert ((np.asarray(model(x_adv))[:, 0] > 0.5) != y).any()


@pytest.mark.parametrize("kind", [keras.Model, Trainer])
def test_a_network_that_has_no_bounds_is_attacked(kind):
    images = keras.Input((8, 8, 1))
    halves = keras.ops.concatenate([images[:, ::2], images[:, 1::2]], axis=-1)
    rows = keras.ops.reshape(halves, (-1, 4, 16))
    attended = keras.layers.MultiHeadAttention(2, 4)(rows, rows)
    model = kind(images, keras.layers.Dense(3)(keras.ops.mean(attended, axis=1))[:, :2])
    x = np.full((2, 8, 8, 1), 0.5, "float32")
    x_adv = zoo.attacks.attack(model, x, None, "fgsm", eps=0.1, norm="linf")
    np.testing.assert_allclose(abs(x_adv - x), 0.1, rtol=1e-5)
    with pytest.raises((TypeError, ValueError), match="GetItem 'get_item|; keras.Model.model.inp"):
        zoo.evaluate(model, x, [0, 0], eps=0.1, norm="linf")


@pytest.mark.integration
@pytest.mark.parametrize("name", [name for name in HERE if name != "surrogate"])
def test_every_attack(images, name):
    x, y = images
    norm = ATTACKS[name].norms[0]
    model = functional("softmax activation")
    found = zoo.attacks.attack(model, x, y, name, eps=0.2, norm=norm, **QUICK[name])
    assert found.shape == x.shape


def test_it_is_the_model_as_it_is_now(images):
    x, y = images
    model = sequential("softmax activation")
    kept = as_classifier(model, x)
    before = zoo.attacks.attack(model, x, y, "fgsm", eps=0.1, norm="linf")
    model.set_weights([weight[::-1] for weight in model.get_weights()])
    after = zoo.attacks.attack(model, x, y, "fgsm", eps=0.1, norm="linf")
    assert as_classifier(model, x) is kept
    other = sequential("softmax activation")
    other.set_weights(model.get_weights())
    expected = zoo.attacks.attack(other, x, y, "fgsm", eps=0.1, norm="linf")
    np.testing.assert_array_equal(after, expected)
    assert (before != after).any()
    model.layers[0].activation = keras.activations.tanh
    assert as_classifier(model, x) is not kept


def test_training_goes_on_as_before(images):
    """The model is neither changed nor does it hold anything of an attack as a part of its own."""
    x, y = images
    model = sequential("softmax activation")
    parts = [*model.layers], model.count_params(), model.get_config()
    zoo.attacks.attack(model, x, y, "pgd", eps=0.1, norm="linf", steps=1)
    assert ([*model.layers], model.count_params(), model.get_config()) == parts
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x, y, verbose=0)


@pytest.mark.integration
def test_distances_of_a_users_own_network(images):
    """Layers of the zoo in an ordinary model have a surrogate too."""
    x, y = images
    network = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Flatten(), zoo.layers.LinfDistance(10)]
    )
    found = zoo.attacks.attack(network, x, y, "surrogate", eps=0.2, norm="linf", steps=2, stages=2)
    assert (found != x).any()


def ending_in(last, *first, dtype=None):
    images = keras.Input((8, 8, 1), dtype=dtype)
    network = keras.Sequential([*first, keras.layers.Flatten(), keras.layers.Dense(4)])
    return keras.Model(images, last(network(images)))


@pytest.mark.parametrize(
    ("make", "x", "error", "message"),
    [
        (lambda: keras.Sequential([keras.layers.Dense(3)]), None, ValueError, "is not built"),
        (sequential, np.zeros((2, 8, 8, 1), "uint8"), ValueError, "divide pixels of 0 to 255"),
        (sequential, np.full((2, 8, 8, 1), 2.0), ValueError, r"x must lie in \[0, 1\]"),
        (sequential, np.zeros((2, 4, 4, 1)), ValueError, r"x must have shape \(n, 8, 8, 1\)"),
        (
            lambda: keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]),
            None,
            ValueError,
            "must take images",
        ),
        (
            lambda: keras.Sequential(
                [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(1)]
            ),
            None,
            ValueError,
            "one logit for each of two classes",
        ),
        (
            lambda: keras.Sequential(
                [
                    keras.Input((8, 8, 1)),
                    keras.layers.Rescaling(1 / 255),
                    keras.layers.Flatten(),
                    keras.layers.Dense(3),
                ]
            ),
            None,
            ValueError,
            "takes pixels of 0 to 255",
        ),
        (
            lambda: ending_in(lambda x: x[:, :3], keras.layers.Rescaling(1 / 255)),
            None,
            ValueError,
            "takes pixels of 0 to 255",
        ),
        (
            lambda: ending_in(lambda x: x, keras.layers.Normalization(mean=125.0, variance=64**2)),
            None,
            ValueError,
            "takes pixels of 0 to 255",
        ),
        (
            lambda: ending_in(lambda x: keras.ops.concatenate([x, x])),
            None,
            ValueError,
            r"but 2 images give \(4, 4\)",
        ),
        (
            lambda: ending_in(lambda x: x, dtype="uint8"),
            None,
            ValueError,
            "input is uint8, to which Keras rounds images",
        ),
    ],
)
def test_what_is_no_classifier_of_images_is_named(make, x, error, message):
    x = np.full((2, 8, 8, 1), 0.5) if x is None else x
    with pytest.raises(error, match=message):
        zoo.attacks.attack(make(), x, [0, 1], "fgsm", eps=0.1, norm="linf")


@pytest.mark.integration
def test_one_sigmoid_is_two_classes(images):
    x, _ = images
    model = sequential()
    model.pop()
    model.add(keras.layers.Dense(1, activation="sigmoid"))
    logits = as_classifier(model, x).logits(x)[:, 1]
    model.layers[-1].bias.assign([-np.median(logits)])
    y = (model.predict(x, verbose=0)[:, 0] > 0.5).astype(int)
    assert len(set(y)) == 2
    report = zoo.evaluate(model, x, y, eps=[0.01, 0.5], norm="linf", attacks="pgd")
    assert report.clean == 1.0
    np.testing.assert_array_equal(report.certificate.prediction, y)
    found = zoo.attacks.attack(model, x, y, "pgd", eps=0.5, norm="linf")
    assert ((model.predict(found, verbose=0)[:, 0] > 0.5) != y).any()


@pytest.fixture
def mixed_precision():
    before = keras.config.dtype_policy()
    yield lambda: keras.config.set_dtype_policy("mixed_float16")
    keras.config.set_dtype_policy(before)


@pytest.mark.parametrize("ending", ["logits", "softmax activation", "softmax layer"])
def test_a_model_of_float32_under_another_policy(images, ending, mixed_precision):
    """The policy is for the models that are made next."""
    x, y = images
    model = sequential(ending)
    expected = zoo.attacks.attack(sequential(ending), x, y, "fgsm", eps=0.1, norm="linf")
    mixed_precision()
    found = zoo.attacks.attack(model, x, y, "fgsm", eps=0.1, norm="linf")
    np.testing.assert_array_equal(found, expected)
    assert len(zoo.certify(model, x[:2], norm="linf", method="interval", nearest=True)) == 2


def test_settings_are_checked_for_any_model(images):
    x, _ = images
    zoo.attacks.check_settings("pgd", "linf", model=functional("softmax layer"))
    with pytest.raises(ValueError, match="surrogate attack needs a model with layers of"):
        zoo.attacks.check_settings("surrogate", "linf", model=sequential())
    own = Own()
    with pytest.raises(ValueError, match="call it with a batch of images first"):
        zoo.attacks.check_settings("pgd", "linf", model=own)
    own(x)
    zoo.attacks.check_settings("pgd", "linf", model=own)
    with pytest.raises(TypeError, match="got str"):
        zoo.attacks.check_settings("pgd", "linf", model="linf-dist-digits")


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_attacked_model_saves_and_loads_its_weights(images, tmp_path, ending):
    x, y = images
    model = functional(ending)
    model.save_weights(tmp_path / "before.weights.h5")
    zoo.attacks.attack(model, x, y, "fgsm", eps=0.1, norm="linf")
    model.save_weights(tmp_path / "after.weights.h5")
    model.load_weights(tmp_path / "before.weights.h5")
    functional(ending).load_weights(tmp_path / "after.weights.h5")
