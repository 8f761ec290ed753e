"""Schedules and batches."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import zoo
from training.batches import Batches
from training.clock import Clock
from training.run import _decay, _optimizer
from training.schedules import EpsilonSchedule, LearningRateSchedule, PSchedule
from zoo.ops.lp_distance import FAST_EXPONENTS


def test_p_grows_exponentially_and_ends_at_infinity():
    schedule = PSchedule(8, 1000, 2, 10, Clock(12, 100))
    assert schedule.p(0) == schedule.p(1.99) == schedule.p(2) == 8
    assert schedule.p(6) == 96  # the nearest to sqrt(8 * 1000) on the ladder
    for position in np.linspace(2, 9.99, 200):
        exact = 8 * 125 ** ((position - 2) / 8)
        # Half a rung at most, and a rung is a half or a third.
        assert max(schedule.p(position) / exact, exact / schedule.p(position)) <= 1.5**0.5 + 1e-9
    assert schedule.p(9.99) == 1024
    assert schedule.p(10) == schedule.p(50) == float("inf")


@given(st.floats(0, 13), st.floats(0, 13))
def test_p_never_falls_and_stays_on_the_ladder(position, other):
    schedule = PSchedule(8, 1000, 2, 10, Clock(12, 100))
    earlier, later = sorted((position, other))
    assert schedule.p(later) >= schedule.p(earlier)
    assert schedule.p(position) in (*FAST_EXPONENTS, float("inf"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((7, 10, 0, 5), "from at least 8"), ((16, 8, 0, 5), "grow"), ((8, 9, 5, 5), "come after")],
)
def test_bad_schedules_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        PSchedule(*arguments, Clock(5, 1))


def test_the_learning_rate_falls_like_a_keras_cosine():
    schedule = LearningRateSchedule(0.03, Clock(4, 10))
    cosine = keras.optimizers.schedules.CosineDecay(0.03, 40)
    for step in range(41):
        assert schedule.learning_rate(step / 10) == pytest.approx(float(cosine(step)), abs=1e-7)


def test_the_learning_rate_drops_where_the_recipe_says():
    clock = Clock(6, 10)
    settings = {"learning_rate": 0.5, "drops": [2, 5]}
    by_callback = LearningRateSchedule(0.5, clock, settings["drops"])
    by_keras = _decay(settings, clock)
    for step in range(60):
        expected = 0.5 if step < 20 else 0.05 if step < 50 else 0.005
        assert by_callback.learning_rate(step / 10) == pytest.approx(expected)
        if step not in (20, 50):  # Keras drops one step later
            assert float(by_keras(step)) == pytest.approx(expected)


def test_the_optimizer_is_the_recipes():
    settings = {"learning_rate": 0.1, "optimizer": "sgd", "momentum": 0.7}
    sgd = _optimizer(settings, Clock(1, 1))
    assert isinstance(sgd, keras.optimizers.SGD)
    assert (sgd.momentum, sgd.nesterov) == (0.7, True)
    settings = {"learning_rate": 0.1, "beta_2": 0.99, "weight_decay": 0.5}
    adam = _optimizer(settings, Clock(1, 1))
    assert isinstance(adam, keras.optimizers.Adam)
    assert (adam.beta_1, adam.beta_2, adam.weight_decay) == (0.9, 0.99, 0.5)


def test_a_limited_clock_tells_the_share_of_the_time(monkeypatch):
    now = Now()
    monkeypatch.setattr("training.clock.time", now)
    clock = Clock(40, 10, minutes=2)
    assert (clock.position, clock.is_over) == (0, False)
    now.seconds += 60
    clock.on_train_batch_begin(0)
    assert (clock.position, clock.is_over) == (20, False)
    now.seconds += 1000
    clock.resume(3, 4, seconds=90)  # what happened in between does not count
    assert (clock.position, clock.is_over) == (30, False)
    now.seconds += 31
    clock.on_train_batch_begin(0)
    assert (clock.position, clock.is_over) == (40, True)


class Now:
    """In the place of the module ``time``."""

    seconds = 5.0

    def monotonic(self):
        return self.seconds


@pytest.mark.integration
def test_schedules_reach_the_compiled_step(small_images):
    """Assigned between two batches, on either backend."""
    model = zoo.models.LinfDistNet((4, 4, 1), 3, width=4, depth=2, cross_entropy_weight=0.5)
    seen = []

    class Watch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append((model.p, model.cross_entropy_weight, model.training_epsilon, logs["loss"]))

    model.compile(keras.optimizers.SGD(0.0))
    batches = Batches(small_images, np.zeros(20, int), batch_size=20, seed=0)
    clock = Clock(4, 1)
    model.fit(
        batches,
        epochs=4,
        verbose=0,
        callbacks=[
            clock,
            batches.follow(clock),
            PSchedule(8, 32, 0, 2, clock, cross_entropy_weight=(0.5, 0.125)),
            EpsilonSchedule(0.4, 4, clock),
            LearningRateSchedule(0.0, clock),
            Watch(),
        ],
    )
    p, weight, epsilon, loss = zip(*seen, strict=True)
    np.testing.assert_allclose(p, [8, 16, np.inf, np.inf], rtol=1e-5)
    np.testing.assert_allclose(weight, [0.5, 0.25, 0.125, 0.125], rtol=1e-5)
    np.testing.assert_allclose(epsilon, [0.1, 0.2, 0.3, 0.4], rtol=1e-5)
    assert len(set(loss)) == 4


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_the_learning_rate_reaches_the_compiled_step(small_images, rate):
    model = zoo.models.LinfDistNet((4, 4, 1), 3, width=4, depth=2)
    model.compile(keras.optimizers.SGD(1.0 - rate))
    before = [keras.ops.convert_to_numpy(w).copy() for w in model.trainable_variables]
    clock = Clock(1, 1)
    batches = Batches(small_images, np.zeros(20, int), batch_size=20, seed=0)
    model.fit(batches, verbose=0, callbacks=[clock, LearningRateSchedule(rate, clock)])
    after = [keras.ops.convert_to_numpy(w) for w in model.trainable_variables]
    assert any((a != b).any() for a, b in zip(before, after, strict=True)) == bool(rate)


@pytest.mark.integration
def test_p_changes_within_an_epoch():
    model = zoo.models.LinfDistNet((4, 4, 1), 3, width=4, depth=1)
    losses = []

    class Watch(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            self.model.reset_metrics()

        def on_train_batch_end(self, batch, logs=None):
            losses.append(logs["loss"])

    x = np.ones((4, 4, 4, 1), "float32")
    model.compile(keras.optimizers.SGD(0.0), loss=lambda y, f: -f[:, 0])
    batches = Batches(np.concatenate([x, x, x]), np.zeros(12, int), batch_size=4, seed=0)
    clock = Clock(1, 3)
    model.fit(
        batches, epochs=1, verbose=0, callbacks=[clock, PSchedule(8, 500, 0, 1, clock), Watch()]
    )
    # The ℓp norm of one vector falls as p grows.
    assert losses[0] > losses[1] * 1.01 > losses[2]


def test_batches_repeat_themselves():
    images = np.random.default_rng(0).integers(0, 256, (50, 6, 6, 1)).astype("uint8")
    labels = np.arange(50)
    a, b = (Batches(images, labels, batch_size=8, seed=3, shift=1, flip=True) for _ in range(2))
    a.start(0)
    first = [a[i] for i in range(len(a))]
    a.start(5)
    b.start(5)
    for i in range(len(a)):
        np.testing.assert_array_equal(a[i][0], b[i][0])
        np.testing.assert_array_equal(a[i][1], b[i][1])
    seen = np.concatenate([y for _, y in first])
    assert len(set(seen)) == 48  # no image twice in an epoch
    assert (a[0][1] != first[0][1]).any()  # another epoch, another order
    b.start(5, 4)
    assert len(b) == len(a) - 4
    np.testing.assert_array_equal(b[1][0], a[5][0])


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_augmentation_moves_and_mirrors_whole_images(dtype):
    images = np.random.default_rng(0).integers(0, 256, (40, 5, 5, 1)).astype("uint8")
    floats = images / np.float32(255)
    images = floats if dtype == "float32" else images
    labels = np.arange(40)
    batches = Batches(images.copy(), labels, batch_size=40, seed=0, shift=1, flip=True)
    x, y = batches[0]
    np.testing.assert_array_equal(batches.images, images)  # the set itself stays as it is
    assert x.dtype == np.float32
    kinds = set()
    for image, label in zip(x, y, strict=True):
        padded = np.pad(floats[label], [(1, 1), (1, 1), (0, 0)], mode="edge")
        candidates = {
            (top, left, flip): padded[top : top + 5, left : left + 5][:, :: -1 if flip else 1]
            for top in range(3) for left in range(3) for flip in (False, True)
        }  # fmt: skip
        matches = [k for k, c in candidates.items() if np.array_equal(c, image)]
        assert matches
        kinds.add(matches[0])
    assert len(kinds) > 9


def test_too_few_images_are_named():
    with pytest.raises(ValueError, match="3 images do not fill a batch of 8"):
        Batches(np.zeros((3, 2, 2, 1)), np.zeros(3), batch_size=8, seed=0)
