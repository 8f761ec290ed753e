"""The ℓ∞-distance network: construction, training, fine-tuning."""

import keras
import numpy as np
import pytest

import zoo
from zoo.models import LinfDistNet


def test_config_round_trip(small_model):
    again = LinfDistNet.from_config(small_model.get_config())
    assert again.get_config() == small_model.get_config()
    assert [w.shape for w in again.weights] == [w.shape for w in small_model.weights]


def test_depth_counts_all_layers():
    model = LinfDistNet((28, 28, 1), 10, width=16, depth=5)
    kernels = [layer.kernel.shape for layer in model.distance_layers]
    assert kernels == [(16, 784), (16, 16), (16, 16), (16, 16), (10, 16)]


@pytest.mark.parametrize("name", ["kernel", "bias"])
def test_a_weight_that_was_replaced_is_refused(name):
    """Keras keeps the old one among the layer's weights, but the layer computes with the new."""
    model = LinfDistNet((1, 1, 1), 2, width=1, depth=1)
    setattr(model.head, name, keras.ops.full(getattr(model.head, name).shape, 2.0**23))
    with pytest.raises(zoo.UnsupportedLayerError, match=f"the {name} of LinfDistance"):
        model.certify(np.full((1, 1, 1, 1), 0.4, np.float32))


@pytest.mark.integration
def test_plain_compile_and_fit_train(digits):
    train = zoo.data.load("digits", "train")
    model = LinfDistNet((8, 8, 1), 10, width=64, depth=2, mean=0.3, std=0.37, epsilon=0.2)
    model.p = 10.0
    model.cross_entropy_weight = 0.05
    model.compile(keras.optimizers.Adam(0.03))
    history = model.fit(train.images, train.labels, epochs=8, verbose=0, batch_size=64)
    losses = history.history["loss"]
    assert losses[-1] < 0.7 * losses[0]
    assert history.history["accuracy"][-1] > 0.5


@pytest.mark.integration
def test_fine_tuning_keeps_the_guarantee(digits):
    model = zoo.load("linf-dist-digits")
    before = model.certify(digits.images)
    train = zoo.data.load("digits", "train")
    model.compile(keras.optimizers.Adam(1e-3))
    model.fit(train.images, train.labels, epochs=1, verbose=0)
    after = model.certify(digits.images)
    assert (after.radius != before.radius).any()
    report = model.evaluate_robustness(
        digits.images[:100], digits.labels[:100], eps=0.1, params={"pgd": {"steps": 5}}
    )
    (row,) = report.rows
    assert report.clean >= row["attacked"]["all"] >= row["certified"] > 0.4


def test_user_loss_replaces_the_default(small_model, small_images):
    small_model.compile("sgd", loss=zoo.losses.ClippedHinge(0.2))
    assert isinstance(small_model.loss, zoo.losses.ClippedHinge)
    small_model.fit(small_images, np.zeros(20, int), verbose=0)


@pytest.mark.integration
@pytest.mark.parametrize("loss", [None, "sparse_categorical_crossentropy"])
def test_a_whole_keras_file_goes_on_training(small_model, small_images, tmp_path, loss):
    small_model.compile("adam", loss=loss)
    small_model.fit(small_images, np.zeros(20, int), verbose=0)
    small_model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.logits(small_images), small_model.logits(small_images))
    losses = [
        model.fit(small_images, np.zeros(20, int), verbose=0).history["loss"]
        for model in (again, small_model)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.integration
def test_predict_and_evaluate(small_model, small_images):
    small_model.compile()
    logits = small_model.predict(small_images, verbose=0)
    # Compiled, the normalisation may be rounded differently; the certificate's slack covers that.
    error = small_model._rounding_error()
    np.testing.assert_allclose(logits, small_model.logits(small_images), rtol=0, atol=2 * error)
    labels = np.argmax(logits, axis=1)
    assert small_model.evaluate(small_images, labels, verbose=0, return_dict=True)["accuracy"] == 1


def test_p_is_one_attribute_of_all_layers(small_model):
    small_model.p = 12.5
    assert [layer.p for layer in small_model.distance_layers] == [12.5] * 3
    with pytest.raises(ValueError, match="p must be"):
        small_model.p = 1


def test_normalisation_is_inside():
    plain = LinfDistNet((2, 2, 3), 4, width=5, depth=2)
    normalised = LinfDistNet((2, 2, 3), 4, width=5, depth=2, mean=[0.1, 0.2, 0.3], std=0.5)
    normalised.set_weights(plain.get_weights())
    x = np.random.default_rng(0).uniform(size=(6, 2, 2, 3)).astype("float32")
    expected = 0.5 * keras.ops.convert_to_numpy(plain((x - np.float32([0.1, 0.2, 0.3])) / 0.5))
    np.testing.assert_allclose(normalised.logits(x), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 0}, "width must be a positive integer, got 0"),
        ({"depth": 1.5}, "depth must be a positive integer, got 1.5"),
        ({"std": 0}, "std must be a positive number, got 0"),
        ({"std": [0.1, 0.2, 0.3]}, "std must be a positive number"),
        ({"std": "a"}, "std must be a positive number, got 'a'"),
        ({"std": 1e9}, "std must lie in"),
        ({"mean": "a"}, "mean must be a number or one per channel"),
        ({"mean": [0.1, 0.2]}, "mean must be a number or one per channel"),
        ({"mean": float("nan")}, "mean must be finite"),
        ({"num_classes": 1}, "num_classes must be at least 2, got 1"),
        ({"image_shape": (4, 4)}, r"image_shape must be \(height, width, channels\)"),
        ({"epsilon": -1}, "epsilon must be positive, got -1"),
        ({"epsilon": 0}, "epsilon must be positive, got 0"),
        ({"cross_entropy_weight": -1}, "cross_entropy_weight must be a number that is not neg"),
        ({"implementation": "gpu"}, "'gpu'"),
    ],
)
def test_bad_arguments_are_named(change, message):
    arguments = {"image_shape": (4, 4, 1), "num_classes": 3, "width": 4, "depth": 2, **change}
    with pytest.raises(ValueError, match=message):
        LinfDistNet(**arguments)


def test_an_assigned_budget_reaches_the_loss_and_the_file(small_model, tmp_path):
    small_model.inherits_epsilon = True  # as after a load, which warns if this budget is too large
    small_model.epsilon = "1/4"
    assert not small_model.inherits_epsilon
    assert small_model.training_epsilon == 0.25
    small_model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert str(again.epsilon) == "1/4"
    assert again.training_epsilon == 0.25
    with pytest.raises(ValueError, match="epsilon must be positive, got 0"):
        small_model.epsilon = 0
    assert small_model.training_epsilon == 0.25


def test_images_of_another_size_are_refused(small_model):
    with pytest.raises(ValueError, match=r"expected images \(4, 4, 1\), got \(8, 8, 1\)"):
        small_model(np.zeros((2, 8, 8, 1), "float32"))


def test_uint8_images_mean_the_same_everywhere(small_model):
    x = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 1)).astype("uint8")
    logits = small_model.logits(x / np.float32(255))
    np.testing.assert_allclose(small_model.predict(x, verbose=0), logits, rtol=1e-5)


def test_numpy_means_are_saved(tmp_path):
    model = LinfDistNet((2, 2, 3), 4, width=5, depth=2, mean=np.float32([0.25, 0.5, 0.75]))
    zoo.save(model, tmp_path / "net")
    assert zoo.load(tmp_path / "net").mean == [0.25, 0.5, 0.75]


def test_a_model_without_a_certificate_says_so(small_images):
    class Plain(zoo.models.CertifiedModel):
        def call(self, inputs):
            return inputs

    with pytest.raises(ValueError, match="Plain has no certificate"):
        Plain((4, 4, 1), 3).certify(small_images)
