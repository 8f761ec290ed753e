"""The callbacks of a plain ``fit``, and what it learns with them."""

import math
import warnings

import keras
import numpy as np
import pytest

import zoo
from tests.backend import slow_to_compile
from tests.models.test_checked_calls import MAKERS
from zoo.callbacks.certified_accuracy import fell


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


@pytest.mark.integration
def test_a_plain_fit_raises_the_exponent_to_infinity(small_model, small_images):
    small_model.compile()
    seen = fit(small_model, small_images, epochs=5)
    assert seen == sorted(seen)
    assert seen[0] == 8
    assert 64 < seen[len(seen) // 2] < math.inf
    assert seen[-1] == small_model.p == math.inf
    # A later call begins anew with a larger exponent, and goes on where an interrupted one stopped.
    again = fit(small_model, small_images, epochs=5)
    assert again[0] == 64
    assert fit(small_model, small_images, epochs=5, initial_epoch=3) == again[12:]


def test_a_loaded_model_starts_with_an_exponent_for_which_it_classifies(small_images, tmp_path):
    model = zoo.load("linf-dist-digits", weights=False)
    assert [schedule.first for schedule in model.default_callbacks([])] == [8]
    model = zoo.load("linf-dist-digits")
    assert [schedule.first for schedule in model.default_callbacks([])] == [64]


@pytest.mark.integration
def test_an_interrupted_first_training_keeps_its_schedule(small_model, small_images, tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    small_model.compile()
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(KeyboardInterrupt):
        fit(small_model, small_images, epochs=4, callbacks=[backup, Stop()])
    resumed = fit(small_model, small_images, epochs=4, callbacks=[backup])
    other = zoo.models.LinfDistNet((4, 4, 1), 3, width=8, depth=2)
    other.compile()
    assert resumed == fit(other, small_images, epochs=4)[8:]
    # It is complete now.
    assert [schedule.first for schedule in small_model.default_callbacks([])] == [64]


@pytest.mark.integration
def test_an_untrained_network_learns_without_settings(digits):
    train = zoo.data.load("digits", "train")
    model = zoo.models.LinfDistNet((8, 8, 1), 10, width=32, depth=3)
    model.compile()
    model.fit(train.images, train.labels, epochs=15, batch_size=64, verbose=0)
    certificate = model.certify(digits.images, method="lipschitz")
    assert certificate.accuracy(digits.labels, 0) > 0.5
    assert certificate.accuracy(digits.labels, 0.1) > 0.3


@pytest.mark.parametrize("loss", ["mixture", "hinge", "cross_entropy"])
def test_every_trainable_weight_has_a_gradient(small_images, loss):
    model = zoo.models.LinfDistNet((4, 4, 1), 3, width=8, depth=2, loss=loss)
    model.compile()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Gradients do not exist")
        fit(model, small_images, epochs=1)


@pytest.mark.integration
def test_a_fit_that_is_resumed_from_a_backup_goes_on_with_the_exponent(
    small_model, small_images, tmp_path
):
    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 3:
                raise KeyboardInterrupt

    small_model.compile()
    fit(small_model, small_images, epochs=1)
    whole = fit(small_model, small_images, epochs=5)
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(KeyboardInterrupt):
        fit(small_model, small_images, epochs=5, callbacks=[backup, Stop()])
    assert fit(small_model, small_images, epochs=5, callbacks=[backup]) == whole[12:]


def test_a_schedule_or_an_exponent_of_the_users_own_is_kept(small_model, small_images):
    small_model.compile()
    schedule = zoo.callbacks.PSchedule(8, 32, end=0.5)
    assert fit(small_model, small_images, epochs=2, callbacks=[schedule])[0] == 8
    small_model.p = 24
    assert set(fit(small_model, small_images, epochs=1)) == {24}


@pytest.mark.integration
def test_callbacks_may_be_given_by_position(small_model, small_images):
    noted = Exponents()
    small_model.compile()
    small_model.fit(small_images, np.arange(20) % 3, 5, 2, 0, [noted])
    assert noted.seen[0] == 8
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
    assert noted.seen[0] == 8
    assert small_model.p == math.inf


@pytest.mark.parametrize(
    "arguments",
    [{"first": 4}, {"first": 64, "last": 32}, {"last": float("inf")}, {"end": 0}],
)
def test_a_schedule_out_of_range_is_refused(arguments):
    with pytest.raises(ValueError, match=r"p must grow|end must be"):
        zoo.callbacks.PSchedule(**arguments)


@pytest.mark.integration
def test_fine_tuning_without_settings_learns(digits):
    """Half of the digits with a new head: chance is 20 %."""
    train = zoo.data.load("digits", "train")
    few, tested = train.labels < 5, digits.labels < 5
    model = zoo.load("linf-dist-digits", num_classes=5, epsilon=0.1)
    model.compile()
    model.fit(train.images[few], train.labels[few], epochs=10, verbose=0)
    found = model.certify(digits.images[tested])
    assert (found.prediction == digits.labels[tested]).mean() > 0.75
    assert found.accuracy(digits.labels[tested], 0.1) > 0.6


def test_certified_accuracy_is_in_the_logs_and_stops_the_training(small_images):
    labels = np.arange(20) % 3
    model = zoo.models.LipschitzMarginNet(dense_network())
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


@pytest.mark.parametrize("make", [MAKERS["l2"], MAKERS["crt"]])
def test_a_training_that_diverges_keeps_its_history_and_its_best_weights(make, small_images):
    labels = np.arange(20) % 3
    model = make()
    model.compile(keras.optimizers.SGD(0.0))

    class Diverge(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                weights = self.model.get_weights()
                self.model.set_weights([np.full_like(weight, np.nan) for weight in weights])

    certified = zoo.callbacks.CertifiedAccuracy((small_images, labels), 0.001)
    name = "val_certified_0.001"
    stop = keras.callbacks.EarlyStopping(name, mode="max", patience=1, restore_best_weights=True)
    with pytest.warns(UserWarning, match="epoch 2: the model has NaN or infinite weights"):
        history = model.fit(
            small_images, labels, epochs=4, verbose=0, callbacks=[Diverge(), certified, stop]
        ).history
    assert history[name][1] == 0.0
    assert len(history[name]) == 2
    assert np.isfinite(model.certify(small_images).radius).all()


def dense_network():
    layers = [keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(3)]
    return keras.Sequential(layers)


def test_certified_accuracy_checks_its_arguments(small_model, small_images):
    with pytest.raises(TypeError, match="pair of images and labels or a data set.*got ndarray"):
        zoo.callbacks.CertifiedAccuracy(np.zeros(3), 0.1)
    with pytest.raises(ValueError, match="eps must be"):
        zoo.callbacks.CertifiedAccuracy((np.zeros(3), np.zeros(3)), "much")
    with pytest.raises(ValueError, match="data must give labels too"):
        zoo.callbacks.CertifiedAccuracy(iter([small_images]), 0.1)
    with pytest.raises(ValueError, match="data has no images"):
        zoo.callbacks.CertifiedAccuracy((small_images[:0], np.zeros(0, int)), 0.1)
    # What the model does not take shows before the first epoch.
    small_model.compile()
    for data, options, message in [
        ((small_images * 255, np.zeros(20, int)), {}, "divide pixels"),
        ((small_images, np.full(20, 3)), {}, r"y must lie in 0\.\.2"),
        ((small_images, np.zeros(20, int)), {"norm": "l2"}, "no certificate for norm='l2'"),
    ]:
        certified = zoo.callbacks.CertifiedAccuracy(data, 0.1, **options)
        certified.set_model(small_model)
        with pytest.raises(ValueError, match=message):
            certified.on_train_begin()


@pytest.mark.integration
@slow_to_compile
def test_a_classifier_of_two_classes_with_one_output(small_images):
    """Its last layer is one sigmoid, so it has more classes than outputs."""
    layers = [keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(1, "sigmoid")]
    model = keras.Sequential(layers)
    model.compile(keras.optimizers.SGD(0.0), "binary_crossentropy")
    labels = np.arange(20) % 2
    certified = zoo.callbacks.CertifiedAccuracy((small_images, labels), "1/255", norm="linf")
    with pytest.warns(UserWarning, match="certificate is of the"):
        history = model.fit(small_images, labels, verbose=0, callbacks=[certified]).history
    with pytest.warns(UserWarning, match="certificate is of the"):
        certificate = zoo.certify(model, small_images, norm="linf")
    expected = certificate.accuracy(labels, "1/255")
    assert history["val_certified_1/255"] == [expected]
    assert expected > 0


@pytest.mark.parametrize("ordinary", [False, pytest.param(True, marks=slow_to_compile)])
def test_a_data_set_is_certified_in_one_pass_and_names_files(small_images, tmp_path, ordinary):
    """For an ordinary Keras model too; the fraction may be part of the name of a file."""
    model = dense_network()
    own = model.predict(small_images, verbose=0).argmax(axis=1)
    if ordinary:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    else:
        model, loss = zoo.models.LipschitzMarginNet(model), None
    order = np.random.default_rng(1).permutation(20)
    batches = ((small_images[part], own[part]) for part in np.split(order, 4))
    certified = zoo.callbacks.CertifiedAccuracy(batches, "1/100", norm="l2")
    model.compile(keras.optimizers.SGD(0.0), loss)
    keep = keras.callbacks.ModelCheckpoint(str(tmp_path / "{val_certified_1/100:.3f}.keras"))
    history = model.fit(small_images, own, verbose=0, callbacks=[certified, keep]).history
    expected = zoo.certify(model, small_images, norm="l2").accuracy(own, "1/100")
    assert expected > 0
    assert history["val_certified_1/100"] == [expected]
    assert [file.name for file in tmp_path.iterdir()] == [f"{expected:.3f}.keras"]


def test_tensorboard_has_the_certified_accuracy(small_images, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    import tensorflow as tf

    model, labels = zoo.models.LipschitzMarginNet(dense_network()), np.arange(20) % 3
    model.compile(keras.optimizers.SGD(0.0))
    certified = zoo.callbacks.CertifiedAccuracy((small_images, labels), "8/255")
    board = keras.callbacks.TensorBoard(tmp_path)
    history = model.fit(
        small_images, labels, verbose=0, epochs=2, callbacks=[certified, board]
    ).history
    events = accumulator.EventAccumulator(str(tmp_path / "validation"), {"tensors": 0}).Reload()
    found = [
        tf.make_ndarray(event.tensor_proto) for event in events.Tensors("epoch_certified_8/255")
    ]
    np.testing.assert_allclose(found, history["val_certified_8/255"], rtol=1e-6)


def test_a_fall_while_training_is_warned_of(small_images):
    model = zoo.models.LipschitzMarginNet(dense_network(), epsilon="7/8")
    own = model.certify(small_images).prediction
    certified = zoo.callbacks.CertifiedAccuracy((small_images, own), [0, 0.0001])
    certified.set_model(model)
    good = model.get_weights()
    for last, warned in ((good, False), ([-w for w in good], True)):
        model.set_weights(good)
        certified.on_train_begin()
        certified.on_epoch_end(0)
        model.set_weights(last)
        certified.on_epoch_end(1)
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            certified.on_train_end()
        assert len(found) == (2 if warned else 0)
    assert "val_certified_0 was 100.0% after epoch 1" in str(found[0].message)
    assert "The loss trains for epsilon=7/8" in str(found[0].message)


@pytest.mark.parametrize(
    ("best", "last", "count", "warned"),
    [
        (0.9, 0.86, 10_000, False),
        (0.9, 0.84, 10_000, True),  # more than 0.05
        (0.9, 0.8, 20, False),
        (0.9, 0.7, 20, True),  # more than two standard deviations of 20 images, 0.134
    ],
)
def test_what_counts_as_a_fall(best, last, count, warned):
    assert fell(best, last, count) == warned


@pytest.mark.integration
def test_the_name_and_the_method_of_the_certified_accuracy_can_be_chosen(digits):
    model = zoo.load("linf-dist-digits")
    data = digits.images[:100], digits.labels[:100]
    both = [model.certify(data[0], method=method) for method in ("auto", "lipschitz")]
    gained = (both[0].radius - both[1].radius) * (both[0].prediction == data[1])
    image = np.argmax(gained)
    # For this image, only one of the methods certifies the budget.
    budget = float(both[0].radius[image] + both[1].radius[image]) / 2
    options = {"prefix": "train_", "method": "lipschitz"}
    certified = zoo.callbacks.CertifiedAccuracy(data, budget, **options)
    certified.set_model(model)
    certified.on_train_begin()
    certified.on_epoch_end(0, logs := {})
    other, expected = (certificate.accuracy(data[1], budget) for certificate in both)
    assert other != expected
    assert logs == {f"train_certified_{budget}": expected}


def inheriting(epsilon):
    model = zoo.models.LipschitzMarginNet(dense_network(), epsilon=epsilon)
    model.inherits_epsilon = True
    model.compile(keras.optimizers.SGD(0.0))
    return model


@pytest.mark.integration
def test_a_budget_that_cannot_be_met_is_warned_of(small_images):
    import tensorflow as tf

    model = inheriting(3)
    own = model.certify(small_images).prediction
    data = tf.data.Dataset.from_tensor_slices((small_images, own)).batch(8)
    for arguments in (
        {"x": small_images, "y": own},
        {"x": data},
        {"x": data, "validation_data": (small_images, np.eye(3)[own])},
    ):
        with pytest.warns(UserWarning, match=r"100% are classified rightly, and 0% are certified"):
            model.fit(**arguments, verbose=0)
    model.inherits_epsilon = False
    modest, lossy = inheriting(0.0001), inheriting(3)
    lossy.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        for calm in (model, modest, lossy):
            calm.fit(small_images, calm.certify(small_images).prediction, verbose=0)


def test_a_training_is_complete_where_the_model_cannot_be_certified(small_images, monkeypatch):
    def certify(self, *args, **options):
        raise ValueError("zoo needs float32, but matrix products may use TF32")

    model = inheriting(3)
    monkeypatch.setattr(type(model), "certify", certify)
    with pytest.warns(UserWarning, match="was trained, but cannot be certified as it is: .*TF32"):
        history = model.fit(small_images, np.arange(20) % 3, verbose=0)
    assert len(history.history["loss"]) == 1


def test_who_inherits_a_budget():
    assert zoo.load("lc-lmt-digits", num_classes=5).inherits_epsilon
    assert not zoo.load("lc-lmt-digits", num_classes=5, epsilon=0.2).inherits_epsilon
    assert not zoo.load("lc-lmt-digits").inherits_epsilon


@pytest.mark.parametrize("name", ["linf-dist-digits", "lc-lmt-digits", "crt-digits"])
def test_the_chosen_budget_is_that_of_the_loss(name):
    model = zoo.load(name, num_classes=5, epsilon="1/8")
    assert model.training_epsilon == float(model.epsilon) == 1 / 8
    assert model.training_budget == zoo.epsilon.Epsilon("1/8")


@pytest.mark.integration
def test_a_training_that_restores_weights_leaves_no_finite_exponent(small_model, small_images):
    small_model.compile(metrics=["accuracy"])
    restore = keras.callbacks.EarlyStopping("accuracy", patience=9, restore_best_weights=True)
    fit(small_model, small_images, epochs=3, callbacks=[restore])
    assert small_model.p == math.inf
    assert fit(small_model, small_images, epochs=2)[0] == 64


class Interrupted(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if batch == 1:
            raise KeyboardInterrupt


@pytest.mark.integration
def test_a_training_after_an_interrupted_one_raises_the_exponent(small_model, small_images):
    small_model.compile()
    with pytest.raises(KeyboardInterrupt):
        fit(small_model, small_images, epochs=2, callbacks=[Interrupted()])
    assert small_model.p < math.inf
    seen = fit(small_model, small_images, epochs=2)
    assert seen[0] < seen[-1]
    assert small_model.p == math.inf


def test_callbacks_of_the_zoo_end_after_those_of_the_user(small_model, small_images):
    class Restores(keras.callbacks.Callback):
        def on_train_end(self, logs=None):
            order.append("restored")

    class Watches(keras.callbacks.Callback):
        def on_train_end(self, logs=None):
            order.append("watched")

    order: list[str] = []
    small_model.compile()
    small_model.default_callbacks = lambda callbacks: [Watches()]
    fit(small_model, small_images, callbacks=[Restores()])
    assert order == ["restored", "watched"]
