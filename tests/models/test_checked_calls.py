"""One rule for images and labels, wherever they come in: for Keras's calls as for the zoo's own."""

import keras
import numpy as np
import pytest

import zoo
from tests.backend import BACKEND

IMAGE = (4, 4, 1)
LABELS = np.arange(8) % 3


MAKERS = {
    "linf": lambda: zoo.models.LinfDistNet(IMAGE, 3, width=8, depth=2),
    "mlp": lambda: zoo.models.LinfDistMLP(IMAGE, 3, width=8, depth=1, hidden_units=4),
    "l2": lambda: zoo.models.L2NonexpansiveNet(IMAGE, 3, network="dense", width=0.01),
    "lmt": lambda: zoo.models.LipschitzMarginNet(
        {"name": "mlp", "image_shape": IMAGE, "num_classes": 3, "hidden": [8]}
    ),
    "crt": lambda: zoo.models.CurvatureNet(
        {"name": "mlp", "image_shape": IMAGE, "num_classes": 3, "hidden": [8]}
    ),
    "db": lambda: zoo.models.DoubleBackpropNet(
        {"name": "c", "image_shape": IMAGE, "num_classes": 3, "hidden": [8]}
    ),
}


@pytest.fixture(scope="module")
def models():
    found = {name: make() for name, make in MAKERS.items()}
    for model in found.values():
        model.compile(keras.optimizers.SGD(0.0))
    return found


def doors(model):
    """Every call that takes images, as a function of them."""
    return {
        "predict": lambda x: model.predict(x, verbose=0),
        "predict_on_batch": model.predict_on_batch,
        "evaluate": lambda x: model.evaluate(x, LABELS, verbose=0),
        "test_on_batch": lambda x: model.test_on_batch(x, LABELS),
        "fit": lambda x: model.fit(x, LABELS, verbose=0),
        "train_on_batch": lambda x: model.train_on_batch(x, LABELS),
        "validation": lambda x: model.fit(
            np.zeros((8, *IMAGE)), LABELS, validation_data=(x, LABELS), verbose=0
        ),
        "certify": model.certify,
        "attack": lambda x: model.attack(x, LABELS, "fgsm", eps=0.1),
    }


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint16", "int8", "bool"])
def test_integers_other_than_uint8_are_refused_everywhere(models, dtype):
    x = np.ones((8, *IMAGE), dtype)
    for call in doors(models["lmt"]).values():
        with pytest.raises((TypeError, ValueError), match=f"uint8, got dtype {dtype}"):
            call(x)


@pytest.mark.parametrize("name", MAKERS)
def test_tensors_of_integers_are_refused_by_every_model(models, name):
    with pytest.raises((TypeError, ValueError), match="uint8, got dtype int32"):
        models[name](keras.ops.ones((8, *IMAGE), "int32"))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.full((8, *IMAGE), 255.0, "float32"), "divide pixels"),
        (np.full((8, *IMAGE), -0.5), "lie in"),
        (np.full((8, *IMAGE), np.nan), "NaN"),
        (np.zeros((8, 4, 4)), "shape"),
    ],
)
def test_floats_outside_0_1_are_refused_everywhere(models, x, message):
    for call in doors(models["lmt"]).values():
        with pytest.raises(ValueError, match=message):
            call(x)


@pytest.mark.integration
@pytest.mark.parametrize("name", MAKERS)
def test_bytes_are_the_same_images_at_every_door(models, name):
    model = models[name]
    pixels = np.random.default_rng(0).integers(0, 256, size=(8, *IMAGE)).astype("uint8")
    images = pixels.astype("float32") / np.float32(255)
    expected = model.predict(images, verbose=0)
    np.testing.assert_allclose(model.predict(pixels, verbose=0), expected, atol=1e-5)
    np.testing.assert_allclose(model.predict_on_batch(pixels), expected, atol=1e-5)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(model(pixels)), expected, atol=1e-5)
    method = "interval" if name == "db" else "auto"  # the others take JAX long to compile
    certificate = model.certify(pixels, method=method)
    np.testing.assert_array_equal(certificate.prediction, expected.argmax(axis=1))
    for call in (model.evaluate, model.test_on_batch):
        options = {"verbose": 0} if call == model.evaluate else {}
        of_bytes, of_images = (
            call(x, LABELS, return_dict=True, **options) for x in (pixels, images)
        )
        assert of_bytes["loss"] == pytest.approx(of_images["loss"], rel=1e-4)


class Batches(keras.utils.PyDataset):
    """Batches of images in 0 to 255, as image loaders give them."""

    def __init__(self, images, labels):
        super().__init__()
        self.images, self.labels = images, labels

    def __len__(self):
        return 2

    def __getitem__(self, index):
        chosen = slice(4 * index, 4 * index + 4)
        return self.images[chosen], self.labels[chosen]


def data_sets(images, labels):
    yield Batches(images, labels)
    import tensorflow as tf

    yield tf.data.Dataset.from_tensor_slices((images, labels)).batch(4)


def test_a_data_set_is_read_once_and_every_batch_is_checked(models):
    import tensorflow as tf

    model, read = models["lmt"], []

    def images():
        for index in range(8):
            read.append(index)
            yield np.full(IMAGE, 0.5 if index < 6 else 2.0, "float32"), index % 3

    spec = (tf.TensorSpec(IMAGE, tf.float32), tf.TensorSpec((), tf.int32))
    data = tf.data.Dataset.from_generator(images, output_signature=spec)
    model.fit(data.take(6).batch(2), verbose=0)
    assert len(read) <= (8 if BACKEND == "tensorflow" else 12)  # Keras peeks at it on JAX
    with pytest.raises(ValueError, match="a batch of the data set does not"):
        model.fit(data.batch(2), verbose=0)


def batches_of(images, labels):
    """A generator without end, as image loaders give them."""
    while True:
        for first in range(0, len(images), 4):
            yield images[first : first + 4], labels[first : first + 4]


@pytest.mark.parametrize(
    ("bright", "labels", "message"),
    [
        (200.0, LABELS, "divide pixels in 0..255 by 255"),
        (0.5, np.where(np.arange(8) < 7, LABELS, 3), r"y must lie in 0\.\.2"),
        (0.5, np.full((8, 3), 1 / 3), "rows that are not one-hot"),
    ],
)
def test_every_batch_of_python_code_is_checked(bright, labels, message):
    """The mistake is in the second batch, which Keras reads while it trains."""
    model, images = MAKERS["lmt"](), np.full((8, *IMAGE), 0.5, "float32")
    images[4:] = bright
    model.compile(keras.optimizers.SGD(0.0))
    for data in (batches_of(images, labels), Batches(images, labels)):
        with pytest.raises(ValueError, match=message):
            model.fit(data, steps_per_epoch=2, verbose=0)


def test_predictions_need_no_labels():
    """Keras does not read them, so that they may be anything."""
    model, images = MAKERS["lmt"](), np.full((8, *IMAGE), 0.5, "float32")
    model.compile(keras.optimizers.SGD(0.0))
    expected = model.predict(images, verbose=0)
    for data in (batches_of(images, LABELS + 3), *data_sets(images, LABELS - 1)):
        found = model.predict(data, steps=2, verbose=0)
        np.testing.assert_allclose(found, expected, atol=1e-6)
    if BACKEND == "tensorflow":
        import tensorflow as tf

        names = tf.data.Dataset.from_tensor_slices((images, ["file"] * 8)).batch(8)
        np.testing.assert_allclose(model.predict(names, verbose=0), expected, atol=1e-6)
        with pytest.raises(ValueError, match="y must be integer labels, got dtype string"):
            model.fit(names, verbose=0)
        bright = tf.data.Dataset.from_tensor_slices((images * 200, {"a": LABELS})).batch(8)
        with pytest.raises(ValueError, match="divide pixels in 0..255 by 255"):
            model.predict(bright, verbose=0)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_training_that_fails_at_once_leaves_the_weights(error):
    calls = []

    def loss(y, logits):
        calls.append(None)
        # On JAX, Keras calls it once before the first step.
        if len(calls) == (2 if BACKEND == "jax" else 1):
            raise error("in the first step")
        return keras.losses.sparse_categorical_crossentropy(y, logits, from_logits=True)

    model, images = MAKERS["lmt"](), np.full((8, *IMAGE), 0.5, "float32")
    model.compile("adam", loss, metrics=[zoo.metrics.CertifiedAccuracy(0.01)])
    before = model.certify(images).radius
    with pytest.raises(error, match="in the first step"):
        model.fit(images, LABELS, verbose=0)
    np.testing.assert_array_equal(model.certify(images).radius, before)
    if BACKEND == "tensorflow":  # a program whose first trace failed is not traced again
        model.compile("adam", loss, metrics=[zoo.metrics.CertifiedAccuracy(0.01)])
    data = (images, LABELS)
    history = model.fit(*data, validation_data=data, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert "val_certified_0.01" in history


def test_a_wrapped_py_dataset_remains_the_users_own():
    """Its own methods are called, with its own settings."""
    told = []

    class Mine(Batches):
        def on_epoch_end(self):
            told.append(self)

    model, data = MAKERS["lmt"](), Mine(np.full((8, *IMAGE), 0.5, "float32"), LABELS)
    data.workers = 2
    model.compile(keras.optimizers.SGD(0.0))
    model.fit(data, epochs=2, verbose=0)
    assert set(told) == {data}


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8"])
def test_class_numbers_of_another_type_are_labels(models, dtype):
    x = np.full((8, *IMAGE), 0.5, "float32")
    models["lmt"].fit(x, LABELS.astype(dtype), verbose=0)
    with pytest.raises(ValueError, match="integer labels"):
        models["lmt"].fit(x, LABELS + 0.5, verbose=0)


def test_data_sets_are_checked(models):
    model = models["lmt"]
    dark, bright = (np.full((8, *IMAGE), value, "float32") for value in (0.5, 200.0))
    for data in data_sets(dark, LABELS):
        model.fit(data, validation_data=data, verbose=0)
        model.predict(data, verbose=0)
    for data in data_sets(bright, LABELS):
        for call in (model.evaluate, model.predict, model.fit):
            with pytest.raises(ValueError, match="divide pixels in 0..255 by 255"):
                call(data, verbose=0)
    for data in data_sets(dark, LABELS + 3):
        with pytest.raises(ValueError, match="y must lie in"):
            model.fit(data, verbose=0)
    for data in data_sets(dark, np.eye(3)[LABELS] * 0.9 + 0.1 / 3):
        with pytest.raises(ValueError, match="one-hot"):
            model.fit(data, verbose=0)


@pytest.mark.parametrize("name", MAKERS)
def test_labels_without_a_class_are_refused(models, name):
    model, x = models[name], np.full((8, *IMAGE), 0.5, "float32")
    for call in (
        lambda y, n: model.fit(x[:n], y[:n], batch_size=1, verbose=0),
        lambda y, n: model.evaluate(x[:n], y[:n], verbose=0),
        lambda y, n: model.train_on_batch(x[:n], y[:n]),
    ):
        for count in (1, 8):
            for label in (-1, 3):
                with pytest.raises(ValueError, match=r"y must lie in 0\.\.2"):
                    call(np.full(8, label), count)
            with pytest.raises(ValueError, match="one integer label per image"):
                call(np.zeros((8, 4)), count)


@pytest.mark.integration
@pytest.mark.parametrize("loss", [None, "zoo"])
def test_one_hot_labels_are_labels_for_every_loss_of_the_zoo(loss):
    model = MAKERS["linf"]()
    x = np.random.default_rng(0).uniform(size=(8, *IMAGE)).astype("float32")
    model.compile(keras.optimizers.SGD(0.0), loss and zoo.losses.WorstCaseHinge(0.1))
    found = []
    for y in (LABELS, LABELS[:, None], np.eye(3, dtype="float32")[LABELS]):
        found.append(model.evaluate(x, y, batch_size=4, verbose=0))
        found += [model.evaluate(data, verbose=0) for data in data_sets(x, y)]
    for one in found[1:]:
        np.testing.assert_allclose(one, found[0], rtol=1e-5)


@pytest.mark.skipif(BACKEND == "jax", reason="tf.numpy_function needs TensorFlow")
@pytest.mark.parametrize("size", [1, 4])
def test_labels_of_unknown_rank_are_labels(size):
    """Python code in a data set hides the shapes of what it returns."""
    import tensorflow as tf

    model = MAKERS["lmt"]()
    model.compile(keras.optimizers.SGD(0.0))
    x = np.full((8, *IMAGE), 0.5, "float32")
    expected = model.evaluate(x, LABELS, batch_size=size, verbose=0)

    def data(y):
        def hidden(image, label):
            (label,) = tf.numpy_function(lambda a: [a], [label], [label.dtype])
            return image, label

        return tf.data.Dataset.from_tensor_slices((x, y)).batch(size).map(hidden)

    for y in (LABELS, np.eye(3, dtype="float32")[LABELS]):
        np.testing.assert_allclose(model.evaluate(data(y), verbose=0), expected, rtol=1e-5)
    for y in (LABELS + 3, np.full((8, 2), 1.0)):
        with pytest.raises(ValueError, match="y must lie in"):
            model.evaluate(data(y), verbose=0)


@pytest.mark.integration
def test_labels_of_shape_batch_by_one_are_labels():
    model, x, found = MAKERS["lmt"](), np.full((8, *IMAGE), 0.5, "float32"), []
    for labels in (LABELS, LABELS[:, None]):
        model.compile(keras.optimizers.SGD(0.0))
        found.append(model.test_on_batch(x, labels))
    np.testing.assert_allclose(*found, rtol=1e-3)


def test_a_loss_of_ones_own_may_take_other_labels():
    model, x = MAKERS["lmt"](), np.full((8, *IMAGE), 0.5, "float32")
    model.compile(keras.optimizers.SGD(0.0), keras.losses.CategoricalCrossentropy(from_logits=True))
    model.fit(x, np.eye(3)[LABELS], verbose=0)


@pytest.mark.parametrize("policy", ["mixed_float16", "float64"])
def test_other_dtype_policies_are_refused_with_what_is_needed(policy):
    keras.config.set_dtype_policy(policy)
    try:
        models = {name: make() for name, make in MAKERS.items()}
    finally:
        keras.config.set_dtype_policy("float32")
    x, dtype = np.full((8, *IMAGE), 0.5, "float32"), policy.removeprefix("mixed_")
    for model in models.values():
        model.compile(keras.optimizers.SGD(0.0))
        for call in (
            lambda m: m.certify(x),
            lambda m: m.logits(x),
            lambda m: m.attack(x, LABELS, "fgsm", eps=0.1),
            lambda m: m.fit(x, LABELS, verbose=0),
            lambda m: m.predict(x, verbose=0),
        ):
            with pytest.raises(ValueError, match=f"float32.*{dtype}|{dtype}.*float32"):
                call(model)


def test_a_network_of_bytes_is_not_wrapped():
    network = keras.Sequential(
        [
            keras.Input(IMAGE),
            keras.layers.Rescaling(1 / 127.5, -1.0),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
        ]
    )
    for kind in (zoo.models.LipschitzMarginNet, zoo.models.DoubleBackpropNet):
        with pytest.raises(ValueError, match="rescaling.*pixels of 0 to 255.*Leave that out"):
            kind(network)


def test_logits_are_of_images_in_every_form():
    model, images = zoo.load("linf-dist-digits"), zoo.data.load("digits").take(3)
    expected = model.logits(images.images)
    for x in (images, list(images.images), images.to_tf_data(2)):
        np.testing.assert_array_equal(model.logits(x), expected)


@pytest.mark.parametrize("name", MAKERS)
def test_a_model_of_nan_is_reported(name):
    """NumPy reads class 0 from NaN, so that the accuracy would look like a measurement."""
    model, x = MAKERS[name](), np.zeros((8, *IMAGE))
    model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
    if name in ("l2", "crt"):  # their constants do not exist
        with pytest.raises(ValueError, match="NaN"):
            model.certify(x)
        return
    with pytest.warns(UserWarning, match="NaN for 8 of 8 images"):
        certificate = model.certify(x, batch_size=3)
    assert (certificate.radius == 0).all()
    with pytest.warns(UserWarning, match="NaN for 8 of 8 images"):
        model.evaluate_robustness(x, LABELS, eps=0.1, attacks=["fgsm"])


def test_layers_of_other_dtypes_are_refused():
    layers = [keras.layers.Flatten(), keras.layers.Dense(4, "tanh", dtype="float16")]
    network = keras.Sequential([keras.Input(IMAGE), *layers, keras.layers.Dense(3)])
    for kind in (
        zoo.models.CurvatureNet,
        zoo.models.DoubleBackpropNet,
        zoo.models.LipschitzMarginNet,
        lambda network: zoo.certify(network, np.zeros((1, *IMAGE)), norm="linf"),
    ):
        with pytest.raises(ValueError, match="'dense.*' computes in float16; give it"):
            kind(network)


def test_no_images_are_an_error_of_one_line(small_model, small_images):
    small_model.compile()
    with pytest.raises(ValueError, match="no images to predict"):
        small_model.predict(small_images[:0])
    with pytest.raises(ValueError, match="no images to evaluate"):
        small_model.evaluate(small_images[:0], np.zeros(0, int))
