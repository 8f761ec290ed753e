"""`certify(…, timeout=…)`: what is proved in time is kept, and nothing else is claimed."""

import itertools
import warnings

import keras
import numpy as np
import pytest
from keras import layers

import zoo
from tests.bounds.test_exact import Network
from zoo.certificates import Certificate
from zoo.certificates.pairs import EXACT, METHODS
from zoo.utils import deadline


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on by one second whenever it is looked at."""
    ticks = itertools.count()
    monkeypatch.setattr(deadline, "monotonic", lambda: float(next(ticks)))


def network():
    return Network((3, 6, 4, 3), np.random.default_rng(0)).model()


def images(count=4):
    return np.random.default_rng(1).uniform(size=(count, 3)).astype("float32")


@pytest.mark.integration
@pytest.mark.parametrize("method", [*METHODS, EXACT])
def test_radii_grow_with_the_time_up_to_those_without_a_limit(method, clock, monkeypatch):
    model, x = network(), images()
    # As if memory allowed no more than two images at a time.
    monkeypatch.setattr(zoo.certificates.network_bounds, "_BLOCK", 2 * 3 * 6)
    whole = zoo.certify(model, x, norm="linf", method=method)
    assert whole.finished is None
    before, counts = np.zeros(len(x)), []
    for seconds in (1, 8, 15, 35, 10_000):
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            found = zoo.certify(model, x, norm="linf", method=method, timeout=seconds)
        np.testing.assert_array_equal(found.prediction, whole.prediction)
        assert (before <= found.radius).all()
        assert (found.radius <= whole.radius).all()
        np.testing.assert_array_equal(found.radius[found.finished], whole.radius[found.finished])
        left = int((~found.finished).sum())
        ours = [str(w.message) for w in said if "seconds were up" in str(w.message)]
        expected = f"the {seconds} seconds were up before {left} of 4 images"
        assert [text[: len(expected)] for text in ours] == [expected] * bool(left)
        before = found.radius
        counts.append(left)
    assert counts[0] == 4
    assert counts[-1] == 0
    assert len(set(counts)) > 2


@pytest.mark.integration
def test_an_image_whose_search_has_ended_is_finished(clock):
    """Images that are bounded together need different numbers of steps."""
    model, x = network(), images(8)
    whole, left = zoo.certify(model, x, norm="linf", method="crown"), set()
    for seconds in range(4, 12, 2):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = zoo.certify(model, x, norm="linf", method="crown", timeout=seconds)
        np.testing.assert_array_equal(found.radius[found.finished], whole.radius[found.finished])
        left.add(int((~found.finished).sum()))
    assert left - {0, 8}


@pytest.mark.integration
def test_crown_comes_first_for_all_images_of_the_exact_method(clock):
    """Images that no program had time for have the radius of CROWN."""
    model, x = network(), images()
    crown = zoo.certify(model, x, norm="linf", method="crown").radius
    with pytest.warns(UserWarning, match="seconds were up"):
        found = zoo.certify(model, x, norm="linf", method="exact", timeout=30)
    assert not found.finished.all()
    assert (found.radius >= crown).all()
    np.testing.assert_array_equal(found.radius[-1], crown[-1])


@pytest.mark.integration
@pytest.mark.parametrize("method", ["crown", "exact"])
def test_budgets_and_classes_that_are_not_reached_are_not_certified(method, clock):
    model, x = network(), images()
    budgets = [0.001, 0.01, 0.02]
    whole = zoo.certify(model, x, norm="linf", method=method, eps=budgets)
    for seconds in (1, 3, 10_000):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = zoo.certify(model, x, norm="linf", method=method, eps=budgets, timeout=seconds)
        assert (found.radius <= whole.radius).all()
        np.testing.assert_array_equal(found.radius[found.finished], whole.radius[found.finished])
        # An image without a positive margin is finished at once.
        assert found.finished.all() == (seconds == 10_000)
    with pytest.warns(UserWarning, match="before 4 of 4"):
        found = zoo.certify(model, x, norm="linf", method="crown", per_class=True, timeout=15)
    whole = zoo.certify(model, x, norm="linf", method="crown", per_class=True)
    assert (found.per_class <= whole.per_class).all()
    np.testing.assert_array_equal(found.per_class.min(axis=1), found.radius)


def test_models_of_the_zoo_certify_batch_by_batch(digits, digits_model, clock):
    x = digits.images[:8]
    whole = digits_model.certify(x, per_class=True)
    with pytest.warns(UserWarning, match="the 3 seconds were up before 4 of 8 images"):
        found = digits_model.certify(x, batch_size=2, timeout=3, per_class=True)
    assert found.finished.tolist() == [True] * 4 + [False] * 4
    np.testing.assert_array_equal(found.prediction, whole.prediction)
    np.testing.assert_array_equal(found.radius, np.where(found.finished, whole.radius, 0))
    np.testing.assert_array_equal(found.per_class[:4], whole.per_class[:4])
    np.testing.assert_array_equal(found.per_class.min(axis=1), found.radius)
    for options in ({}, {"per_class": True}):
        with pytest.warns(UserWarning, match="before 8 of 8"):
            nothing = zoo.certify(digits_model, x, norm="linf", timeout=0.5, **options)
        assert not nothing.radius.any()
        np.testing.assert_array_equal(nothing.prediction, whole.prediction)
    assert not nothing.never([0, 1], 1e-6)[nothing.prediction > 1].any()


def test_methods_that_tell_of_the_nearest_input_know_none_of_what_is_not_finished(digits, clock):
    model = zoo.load("crt-digits")
    with pytest.warns(UserWarning, match="before 2 of 4"):
        found = model.certify(digits.images[:4], batch_size=2, timeout=1.5)
    assert np.isfinite(found.nearest[:2]).any()
    assert np.isposinf(found.nearest[2:]).all()


@pytest.mark.parametrize("timeout", [0, -1, np.inf, np.nan, "soon", True])
def test_what_is_no_time_is_named(timeout, digits, digits_model):
    with pytest.raises(ValueError, match="timeout must be a positive number, got"):
        zoo.certify(network(), images(), norm="linf", timeout=timeout)
    with pytest.raises(ValueError, match="timeout must be a positive number, got"):
        digits_model.certify(digits.images[:1], timeout=timeout)


def test_no_images_are_finished_in_no_time():
    found = zoo.certify(network(), images(0), norm="linf", timeout=60)
    assert found.finished.shape == (0,)
    assert found.finished.dtype == bool


def test_a_certificate_keeps_what_is_finished(tmp_path):
    arrays = np.array([1, 0]), np.array([0.2, 0.0], "float32"), np.array([0.3, 0.1], "float32")
    found = Certificate(*arrays, "linf", "exact", 2, finished=np.array([True, False]))
    found.save(tmp_path / "saved.npz")
    again = Certificate.load(tmp_path / "saved.npz")
    both = Certificate.concatenate([again[1], found])
    assert both.finished.tolist() == [False, True, False]
    assert both.to_dict()["finished"] == [False, True, False]
    assert "finished" in str(both.table())
    without = Certificate(*arrays, "linf", "exact", 2)
    assert "finished" not in without.to_dict()
    assert "finished" not in str(without.table())
    with pytest.raises(ValueError, match="some of the certificates have finished"):
        Certificate.concatenate([found, without])
    np.savez(
        tmp_path / "wrong.npz",
        **{**dict(np.load(tmp_path / "saved.npz")), "finished": np.array([1.0, 0.0])},
    )
    with pytest.raises(ValueError, match="finished has shape"):
        Certificate.load(tmp_path / "wrong.npz")


def test_an_attack_after_the_time_is_not_left_out():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((3, 3, 1)), layers.Flatten(), layers.Dense(4, "tanh"), layers.Dense(2)]
    )
    x = np.random.default_rng(0).uniform(size=(2, 3, 3, 1)).astype("float32")
    # An image whose logits are equal, as those of dead ReLUs are, is finished at once.
    assert (np.ptp(model.predict(x, verbose=0), axis=1) > 0).all()
    with pytest.warns(UserWarning, match="before 2 of 2"):
        found = zoo.certify(model, x, norm="linf", timeout=1e-9, nearest=True)
    assert found.nearest.shape == (2,)
