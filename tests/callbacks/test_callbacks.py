"""The callbacks of a plain ``fit``, and what it learns with them."""

import math

import keras
import numpy as np
import pytest

import zoo


class Exponents(keras.callbacks.Callback):
    """Notes the exponent of every batch."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(self.model.p)


def fit(model, images, **options):
    noted = Exponents()
    callbacks = [*options.pop("callbacks", []), noted]
    labels = np.arange(len(images)) % 3
    model.fit(images, labels, batch_size=5, verbose=0, callbacks=callbacks, **options)
    return noted.seen


def test_a_plain_fit_raises_the_exponent_to_infinity(small_model, small_images):
    small_model.compile()
    seen = fit(small_model, small_images, epochs=5)
    assert seen == sorted(seen)
    assert seen[0] == 64
    assert 64 < seen[len(seen) // 2] < math.inf
    assert seen[-1] == small_model.p == math.inf
    # It begins anew, in a later call too.
    assert fit(small_model, small_images, epochs=7, initial_epoch=5)[0] == 64


def test_a_schedule_or_an_exponent_of_the_users_own_is_kept(small_model, small_images):
    small_model.compile()
    schedule = zoo.callbacks.PSchedule(8, 32, end=0.5)
    assert fit(small_model, small_images, epochs=2, callbacks=[schedule])[0] == 8
    small_model.p = 24
    assert set(fit(small_model, small_images, epochs=1)) == {24}


def test_callbacks_may_be_given_by_position(small_model, small_images):
    noted = Exponents()
    small_model.compile()
    small_model.fit(small_images, np.arange(20) % 3, 5, 2, 0, [noted])
    assert noted.seen[0] == 64
    history = small_model.fit(small_images, np.arange(20) % 3, 5, 1, 0, [noted], 0.25).history
    assert "val_loss" in history
    with pytest.raises(TypeError, match="unexpected keyword"):
        small_model.fit(small_images, epoch=3)


def test_a_generator_has_an_exponent_for_each_epoch(small_model, small_images):
    def batches():
        while True:
            yield small_images[:5], np.zeros(5, int)

    noted = Exponents()
    small_model.compile()
    small_model.fit(batches(), steps_per_epoch=2, epochs=3, verbose=0, callbacks=noted)
    assert noted.seen[0] == 64
    assert small_model.p == math.inf


@pytest.mark.parametrize("arguments", [{"first": 4}, {"first": 64, "last": 32}, {"end": 0}])
def test_a_schedule_out_of_range_is_refused(arguments):
    with pytest.raises(ValueError, match=r"p must grow|end must lie"):
        zoo.callbacks.PSchedule(**arguments)


@pytest.mark.parametrize(
    ("name", "eps", "clean", "certified"),
    [("linf-dist-digits", "0.1", 0.75, 0.6), ("lc-lmt-digits", "0.3", 0.85, 0.6)],
)
def test_fine_tuning_without_settings_learns(digits, name, eps, clean, certified):
    """Half of the digits with a new head: chance is 20 %."""
    train = zoo.data.load("digits", "train")
    few, tested = train.labels < 5, digits.labels < 5
    model = zoo.load(name, num_classes=5, epsilon=eps)
    model.compile()
    model.fit(train.images[few], train.labels[few], epochs=10, verbose=0)
    found = model.certify(digits.images[tested])
    assert (found.prediction == digits.labels[tested]).mean() > clean
    assert found.accuracy(digits.labels[tested], eps) > certified


def test_certified_accuracy_is_in_the_logs_and_stops_the_training(small_images):
    labels = np.arange(20) % 3
    parts = [keras.layers.Flatten(), keras.layers.Dense(3)]
    model = zoo.models.LipschitzMarginNet(keras.Sequential([keras.Input((4, 4, 1)), *parts]))
    model.compile(keras.optimizers.Adam(0.0))
    certified = zoo.callbacks.CertifiedAccuracy((small_images, labels), [0.01, "8/255"])
    stop = keras.callbacks.EarlyStopping("val_certified_8/255", mode="max", patience=1)
    history = model.fit(
        small_images, labels, epochs=9, verbose=0, callbacks=[certified, stop]
    ).history
    certificate = model.certify(small_images)
    # Nothing is learned at a rate of zero, so the second epoch is no better than the first.
    assert history["val_certified_8/255"] == [certificate.accuracy(labels, "8/255")] * 2
    assert history["val_certified_0.01"] == [certificate.accuracy(labels, 0.01)] * 2


def test_certified_accuracy_checks_its_arguments():
    with pytest.raises(TypeError, match="pair of images and labels, got ndarray"):
        zoo.callbacks.CertifiedAccuracy(np.zeros(3), 0.1)
    with pytest.raises(ValueError, match="eps must be"):
        zoo.callbacks.CertifiedAccuracy((np.zeros(3), np.zeros(3)), "much")
