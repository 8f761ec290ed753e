"""Certified accuracy as a metric: never above what the certificate says, and only where it may."""

import keras
import numpy as np
import pytest

import zoo
from tests.backend import BACKEND
from tests.models.test_checked_calls import IMAGE, MAKERS

LOGITS_SUFFICE = ["linf", "l2", "lmt"]


def make(name, classes=3):
    keras.utils.set_random_seed(1)
    model = MAKERS[name]()
    assert model.num_classes == classes
    return model


@pytest.fixture
def images():
    return np.random.default_rng(0).uniform(size=(40, *IMAGE)).astype("float32")


def predicted(model, images):
    return model.certify(images).prediction


@pytest.mark.parametrize("name", LOGITS_SUFFICE)
def test_it_is_the_certificate_of_the_logits(name, images):
    model = make(name)
    y = predicted(model, images)
    y[:5] = (y[:5] + 1) % 3
    radius = model.logit_certificate().radius(model.logits(images))
    # Between two radii, so that rounding decides nothing.
    middle = np.sort(radius[radius > 0])
    eps = float((middle[len(middle) // 2] + middle[len(middle) // 2 - 1]) / 2)
    by_hand = float(np.mean((radius > eps) & (np.arange(40) >= 5)))
    assert 0 < by_hand < 0.8
    model.compile(metrics=["accuracy", zoo.metrics.CertifiedAccuracy(eps)])
    # The first evaluation knows the certificate too.
    for labels in (y, y[:, None], np.eye(3)[y]):
        found = model.evaluate(images, labels, batch_size=16, verbose=0, return_dict=True)
        assert found[f"certified_{eps}"] == pytest.approx(by_hand)
        assert found["accuracy"] == pytest.approx(35 / 40)
    assert by_hand <= model.certify(images).accuracy(y, eps)
    on_batch = model.test_on_batch(images, y, return_dict=True)
    assert f"certified_{eps}" in on_batch


@pytest.mark.integration
@pytest.mark.parametrize("name", LOGITS_SUFFICE)
def test_required_gaps_agree_with_radii(name, images):
    """On both sides of every radius: 1e-4 nearer the metric certifies, at the radius never."""
    model = make(name)
    certificate, logits = model.logit_certificate(), model.logits(images)
    radius, own = certificate.radius(logits), logits.argmax(axis=1)
    for index in np.flatnonzero(radius > 1e-3):
        for factor, expected in ((1 - 1e-3, 1.0), (1.0, 0.0)):
            metric = zoo.metrics.CertifiedAccuracy(float(radius[index]) * factor)
            metric.use(certificate)
            metric.update_state(own[[index]], logits[[index]])
            assert float(metric.result()) == expected


def test_budgets_beyond_the_box_and_broken_weights_certify_nothing(images):
    model = make("lmt")
    certificate, logits = model.logit_certificate(), model.logits(images) * 1e9
    assert np.isinf(certificate.required_gaps(4.0)).all()
    model.set_weights([np.full_like(w, np.nan) for w in model.get_weights()])
    metric = zoo.metrics.CertifiedAccuracy(0.0)
    metric.use(model.logit_certificate())
    metric.update_state(logits.argmax(axis=1), logits)
    assert float(metric.result()) == 0


@pytest.mark.integration
def test_it_follows_the_weights_while_training(images):
    """After each epoch it is the certified accuracy of the weights that the epoch ended with."""
    model = make("lmt")
    certificate, y = model.certify(images), predicted(model, images)
    eps = float(np.median(certificate.radius))
    seen = [certificate.accuracy(y, eps)]

    class Certify(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.sync_jax_state()
            logits = self.model.logits(images)
            kept = self.model.logit_certificate().radius(logits) > np.float32(eps)
            seen.append(float(np.mean(kept & (logits.argmax(axis=1) == y))))

    name = f"certified_{eps}"
    model.compile(keras.optimizers.Adam(0.05), metrics=[zoo.metrics.CertifiedAccuracy(eps)])
    history = model.fit(
        images, y, validation_data=(images, y), epochs=3, verbose=0, callbacks=[Certify()]
    ).history
    assert history[f"val_{name}"] == pytest.approx(seen[1:])
    assert len(set(seen)) > 1
    # Training has no certified accuracy: its logits are of weights that change meanwhile.
    assert name not in history
    assert name not in model.train_on_batch(images, y, return_dict=True)


class OwnStep:
    """A training step of the user's own, which calls no other one."""

    def train_step(self, data):
        x, y = data
        return self.compute_metrics(x, y, self(x, training=True))


class Mixed(OwnStep, zoo.models.LipschitzMarginNet):
    pass


@pytest.mark.skipif(BACKEND != "tensorflow", reason="JAX's steps have other arguments")
def test_a_training_step_of_ones_own_has_no_certified_accuracy_either(images):
    model = Mixed(make("lmt").network)
    model.compile("sgd", metrics=["accuracy", zoo.metrics.CertifiedAccuracy(0.1)])
    y = np.zeros(40, int)
    history = model.fit(images, y, validation_data=(images, y), verbose=0).history
    assert "val_certified_0.1" in history
    assert "certified_0.1" not in history


@pytest.mark.parametrize(
    "metric",
    [
        "categorical_accuracy",
        keras.metrics.categorical_accuracy,
        keras.metrics.TopKCategoricalAccuracy(2),
        keras.metrics.F1Score(),
    ],
)
def test_metrics_of_one_hot_labels_are_refused(metric):
    model = make("lmt")
    with pytest.raises(ValueError, match="needs one-hot labels, but a model of the zoo turns"):
        model.compile(metrics=["accuracy", metric])
    model.compile("sgd", "categorical_crossentropy", metrics=["accuracy", metric])
    model.compile(metrics=["accuracy", keras.metrics.SparseTopKCategoricalAccuracy(2)])


def test_it_follows_weights_that_a_callback_exchanges_for_an_evaluation(images):
    """As keras.callbacks.SwapEMAWeights does, before the first batch."""
    model = make("lmt")
    y = predicted(model, images)
    eps = float(np.median(model.certify(images).radius))
    before = model.get_weights()
    # Larger weights have larger margins, which the certificate of the smaller ones overrates.
    others = [3.0 * w for w in before]

    class Exchange(keras.callbacks.Callback):
        def on_test_begin(self, logs=None):
            self.model.set_weights(others)

        def on_test_end(self, logs=None):
            self.model.set_weights(before)

    model.compile(metrics=[zoo.metrics.CertifiedAccuracy(eps)])
    found = model.evaluate(images, y, verbose=0, return_dict=True, callbacks=[Exchange()])
    model.set_weights(others)
    assert found[f"certified_{eps}"] <= model.certify(images).accuracy(y, eps) < 1
    expected = model.evaluate(images, y, verbose=0, return_dict=True)
    assert found[f"certified_{eps}"] == expected[f"certified_{eps}"]


def test_infinite_logits_are_not_certified():
    metric = zoo.metrics.CertifiedAccuracy(0.1)
    metric.use(zoo.certificates.LogitCertificate("linf", (2, 2, 1), lipschitz=1.0, num_classes=2))
    metric.update_state(np.array([0, 0]), np.array([[np.inf, 0.0], [0.0, -np.inf]], "float32"))
    assert float(metric.result()) == 0


@pytest.mark.parametrize("name", ["mlp", "crt", "db"])
def test_other_certificates_are_no_metric(name):
    with pytest.raises(ValueError, match="more than logits.*zoo.callbacks.CertifiedAccuracy"):
        make(name).compile(metrics=[zoo.metrics.CertifiedAccuracy(0.1)])


def test_an_ordinary_model_has_no_certificate(images):
    model = keras.Sequential([keras.Input(IMAGE), keras.layers.Flatten(), keras.layers.Dense(3)])
    model.compile("sgd", "mse", metrics=[zoo.metrics.CertifiedAccuracy("1/10")])
    with pytest.raises(ValueError, match="'certified_1/10' has no certificate"):
        model.evaluate(images, np.zeros(40, int), verbose=0)


def test_one_metric_for_one_number_of_classes():
    metric = zoo.metrics.CertifiedAccuracy(0.1)
    make("linf").compile(metrics=[metric])
    with pytest.raises(ValueError, match="belongs to a model of 3 classes"):
        zoo.models.LinfDistNet(IMAGE, 4, width=8, depth=2).compile(metrics=[metric])
    with pytest.raises(ValueError, match="eps must be"):
        zoo.metrics.CertifiedAccuracy("much")


@pytest.mark.integration
def test_callbacks_of_keras_read_it_and_a_loaded_model_has_it(images, tmp_path):
    model = make("lmt")
    y = predicted(model, images)
    model.compile(keras.optimizers.SGD(0.0), metrics=[zoo.metrics.CertifiedAccuracy("1/100")])
    # Without a mode: Keras knows by the metric that more is better.
    stop = keras.callbacks.EarlyStopping("val_certified_1/100", patience=1)
    template = str(tmp_path / "{epoch}-{val_certified_1/100:.3f}.keras")
    keep = keras.callbacks.ModelCheckpoint(template, "val_certified_1/100", save_best_only=True)
    history = model.fit(
        images, y, validation_data=(images, y), epochs=5, verbose=0, callbacks=[stop, keep]
    ).history["val_certified_1/100"]
    assert len(history) == 2
    (file,) = tmp_path.iterdir()
    assert file.name == f"1-{history[0]:.3f}.keras"
    loaded = keras.models.load_model(file)
    found = loaded.evaluate(images, y, verbose=0, return_dict=True)
    assert found["certified_1/100"] == pytest.approx(history[0])


def test_a_model_that_diverged_certifies_nothing(images):
    model = make("l2")
    model.compile(metrics=[zoo.metrics.CertifiedAccuracy(0.001)])
    y = predicted(model, images)
    assert model.evaluate(images, y, verbose=0, return_dict=True)["certified_0.001"] > 0
    model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
    assert model.evaluate(images, y, verbose=0, return_dict=True)["certified_0.001"] == 0
