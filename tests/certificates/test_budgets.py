"""Certificates that are decided at given budgets, without a search for radii."""

import dataclasses
import json
import math
from fractions import Fraction

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import zoo
from tests.models.test_linf_dist_mlp import random_hybrid
from zoo.certificates import Certificate, CertifiedBatch, largest_certified, network_bounds
from zoo.certificates.bisection import largest_of_budgets
from zoo.certificates.certificate import at_budgets
from zoo.epsilon import Epsilon
from zoo.models import LinfDistNet

budgets_around = st.lists(
    st.one_of(
        st.floats(0, 1.25, width=32), st.decimals(0, 1, places=2).map(str), st.just("8/255")
    ).map(Epsilon),
    min_size=1,
    max_size=4,
)


@given(
    radius=st.lists(
        st.one_of(st.floats(0, 1, width=32), st.integers(0, 100).map(lambda n: n / 100)),
        min_size=1,
        max_size=8,
    ),
    budgets=budgets_around,
)
def test_accuracy_and_curve_compare_a_radius_with_the_exact_budget(radius, budgets):
    """Also where a radius is the float32 next to a decimal, above or below it."""
    radius = np.array(radius, np.float32)
    labels = np.zeros(len(radius), int)
    certificate = Certificate(labels, radius, radius, "linf", "interval", 3)
    steps, accuracy = certificate.curve(labels)
    for eps in [*budgets, *map(Epsilon, steps), *(Epsilon(str(r)) for r in radius)]:
        exact = [Fraction(float(r)) > eps.exact for r in radius]
        assert certificate.certified(eps).tolist() == exact
        place = np.flatnonzero([Fraction(float(step)) <= eps.exact for step in steps])[-1]
        assert certificate.accuracy(labels, eps) == pytest.approx(accuracy[place], abs=1e-12)
    decided = Certificate(
        labels, at_budgets(radius, budgets), radius, "linf", "interval", 3,
        decided_at=tuple(map(str, budgets)),
    )  # fmt: skip
    assert (decided.radius <= radius).all()
    for eps in budgets:
        assert decided.certified(eps).tolist() == certificate.certified(eps).tolist()


@pytest.mark.integration
@given(
    true=arrays("float64", 6, elements=st.floats(0, 1.1)),
    fraction=arrays("float64", 6, elements=st.floats(0, 1)),
    budgets=budgets_around,
)
def test_budgets_are_decided_as_the_whole_search_would(true, fraction, budgets):
    tried = []

    def is_certified(rows, eps):
        assert (eps > start[rows]).all()
        tried.append(rows)
        return eps <= true[rows]

    start = fraction * true
    whole = largest_certified(lambda eps: eps <= true, start, tolerance=1e-3)
    found = largest_of_budgets(is_certified, start, budgets, tolerance=1e-3)
    np.testing.assert_array_equal(found, at_budgets(whole, budgets))
    assert len(tried) <= len(budgets)


def around(radius):
    """Budgets on both sides of some radii, the largest and the least distances among them."""
    middle = float(np.quantile(radius, 0.5))
    return [float(np.quantile(radius, 0.2)), str(round(middle, 3)), 1.5 * middle, 1e4]


@pytest.mark.integration
@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("linf-dist-digits", "interval"),
        ("linf-dist-digits", "lipschitz"),
        ("l2nnn-digits", "pairwise"),
        ("lc-lmt-digits", "pairwise"),
        ("crt-digits", "curvature"),
        ("crt-digits", "curvature-local"),
    ],
)
def test_every_approach_decides_as_its_radius_does(digits, name, method):
    model = zoo.load(name)
    images = digits.images[: 6 if method == "curvature-local" else 60]
    whole = model.certify(images, method=method)
    budgets = around(whole.radius)
    found = model.certify(images, method=method, eps=budgets)
    assert found.decided_at == tuple(map(str, map(Epsilon, budgets)))
    np.testing.assert_array_equal(found.prediction, whole.prediction)
    np.testing.assert_array_equal(found.margin, whole.margin)
    for eps in budgets:
        np.testing.assert_array_equal(found.certified(eps), whole.certified(eps))
    for size in (1, 4) if method != "curvature-local" else ():
        again = model.certify(images[:6], method=method, eps=budgets, batch_size=size)
        np.testing.assert_array_equal(again.radius, found.radius[:6])
    one = model.certify(images, method=method, eps=budgets[0])
    np.testing.assert_array_equal(one.certified(budgets[0]), whole.certified(budgets[0]))


@pytest.mark.integration
@settings(max_examples=12)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_hybrid_decides_as_its_radius_does(seed):
    random = np.random.default_rng(seed)
    model = random_hybrid(random)
    x = random.uniform(size=(8, 1, 3, 1)).astype("float32")
    for method in ("interval", "lipschitz"):
        whole = model.certify(x, method=method)
        budgets = [*whole.radius[:3].astype(float), 0.01, 0.2]
        found = model.certify(x, method=method, eps=budgets)
        np.testing.assert_array_equal(
            found.radius, at_budgets(whole.radius, [Epsilon(eps) for eps in budgets])
        )


def test_intervals_pass_once_for_each_budget(digits, monkeypatch):
    model, passed = zoo.load("linf-dist-digits"), []
    bounds = LinfDistNet.feature_bounds

    def counted(self, x, eps):
        passed.append(len(x))
        return bounds(self, x, eps)

    monkeypatch.setattr(LinfDistNet, "feature_bounds", counted)
    radius = model.certify(digits.images[:50], method="lipschitz").radius
    eps = [float(np.quantile(radius, 0.5)), float(np.quantile(radius, 0.9))]
    model.certify(digits.images[:50], eps=eps)
    assert len(passed) <= 2
    assert min(passed) < 50


@pytest.mark.integration
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_bounds_of_any_network_are_computed_at_the_budget(digits, norm):
    model = zoo.load("double-backprop-digits")
    images, method = digits.images[:20], "crown-interval"
    whole = model.certify(images, norm=norm, method=method)
    eps = round(float(np.quantile(whole.radius, 0.6)), 4)
    budgets = [eps / 2, eps]
    found = model.certify(images, norm=norm, method=method, eps=budgets)
    alone = zoo.certify(model.network, images, norm=norm, method=method, eps=budgets, batch_size=3)
    np.testing.assert_array_equal(alone.radius, found.radius)
    # The search for a radius stops a little before the largest budget that is proved.
    assert (found.certified(eps) >= whole.certified(eps)).all()
    wider = 0.9 * whole.radius > eps
    assert (found.certified(eps) <= (whole.radius > 0.9 * eps)).all()
    assert found.certified(eps)[wider].all()
    for budget in budgets:
        attacked = model.attack(images, found.prediction, "pgd", eps=budget, norm=norm)
        kept = np.argmax(model.logits(attacked), axis=1) == found.prediction
        assert kept[found.certified(budget)].all()


def test_rows_that_are_repeated_for_a_backend_decide_nothing(monkeypatch):
    """JAX repeats the first image until their number is a power of two."""

    def repeated(places):
        return np.concatenate([places, np.repeat(places[:1], 3)])

    parts = [keras.layers.Flatten(), keras.layers.Dense(6, "relu"), keras.layers.Dense(3)]
    network = keras.Sequential([keras.Input((4, 4, 1)), *parts])
    x = np.random.default_rng(0).uniform(size=(7, 4, 4, 1)).astype("float32")
    options = {"norm": "linf", "method": "interval"}
    radius = zoo.certify(network, x, **options).radius
    options["eps"] = [float(np.quantile(radius, q)) for q in (0.2, 0.5, 0.8)]
    monkeypatch.setattr(network_bounds, "padded_places", lambda places: places)
    expected = zoo.certify(network, x, **options).radius
    assert len(set(expected)) > 2
    monkeypatch.setattr(network_bounds, "padded_places", repeated)
    np.testing.assert_array_equal(zoo.certify(network, x, **options).radius, expected)


def test_no_budget_beyond_the_range_is_certified():
    """As a radius is never above the range, not even of a constant network."""
    network = keras.Sequential(
        [keras.Input((2, 2, 1)), keras.layers.Flatten(), keras.layers.Dense(2)]
    )
    network.set_weights([np.zeros((4, 2), "float32"), np.array([1, 0], "float32")])
    x = np.full((1, 2, 2, 1), 0.5, "float32")
    assert zoo.certify(network, x, norm="linf", eps=[0.9, 1]).radius[0] == Epsilon(0.9).beyond
    wide = zoo.certify(network, 200 * x, norm="linf", eps=[200, 255], valid_range=(0, 255))
    assert wide.radius[0] == Epsilon(200).beyond


def test_a_certificate_of_a_subclass_decides_for_itself(small_model, small_images):
    class Cautious(type(small_model)):
        def certified_radius(self, x, norm, method):
            found = super().certified_radius(x, norm, method)
            return CertifiedBatch(found.logits, np.zeros_like(found.radius))

    model = Cautious.from_config(small_model.get_config())
    assert not model.certify(small_images, eps=0).certified(0).any()


def test_other_budgets_are_refused(digits, tmp_path):
    images, labels = digits.images[:12], digits.labels[:12]
    model = zoo.load("lc-lmt-digits")
    found = model.certify(images, eps=["8/255", 0.3])
    assert found.accuracy(labels, 0.3) == model.certify(images).accuracy(labels, "0.3")
    assert found.accuracy(labels, Fraction(8, 255)) >= found.accuracy(labels, "3/10")
    for wrong in (0.1, "8/256", 0):
        with pytest.raises(ValueError, match=r"decided at eps 8/255, 0\.3 and tells nothing"):
            found.certified(wrong)
    for refused in (lambda: found.curve(labels), lambda: found.plot(labels)):
        with pytest.raises(ValueError, match="certify without eps"):
            refused()
    with pytest.raises(ValueError, match="got none"):
        model.certify(images, eps=[])
    with pytest.raises(ValueError, match="of one decided_at"):
        Certificate.concatenate([found, model.certify(images)])


def test_what_was_decided_stays_with_the_certificate(digits, tmp_path):
    images = digits.images[:12]
    found = zoo.load("lc-lmt-digits").certify(images, eps=["8/255", 0.3])
    found.save(tmp_path / "certificate.npz")
    both = Certificate.concatenate([found, Certificate.load(tmp_path / "certificate.npz")])
    assert both.decided_at == ("8/255", "0.3")
    assert both[12:].certified(0.3).tolist() == found.certified(0.3).tolist()
    assert json.loads(json.dumps(found.to_dict()))["decided_at"] == ["8/255", "0.3"]
    assert "decided at 8/255, 0.3" in repr(found)
    assert "radius" not in str(found.table(eps=0.3)).split("\n")[0]
    shown = found._repr_html_()
    assert "certified at 0.3" in shown
    assert "median radius" not in shown


@pytest.mark.integration
@pytest.mark.parametrize("name", ["linf-dist-digits", "crt-digits"])
def test_an_evaluation_without_radii_has_the_same_numbers(digits, name):
    model = zoo.load(name)
    given = {"x": digits.images[:30], "y": digits.labels[:30], "attacks": ["fgsm"]}
    given["eps"] = [0.05, "0.3"]
    whole, fast = (model.evaluate_robustness(**given, radii=radii) for radii in (True, False))
    assert fast.to_dict() == whole.to_dict()
    assert fast.certificate.decided_at == ("0.05", "0.3")
    with pytest.raises(ValueError, match="radii must be True"):
        model.evaluate_robustness(**given, radii=False, nearest=True)


def test_the_callback_certifies_as_certify_does(digits):
    model = zoo.load("linf-dist-digits")
    images, labels = digits.images[:20], digits.labels[:20]
    callback = zoo.callbacks.CertifiedAccuracy((images, labels), [0.05, "8/255"])
    callback.set_model(model)
    logs = {}
    callback.on_epoch_end(0, logs)
    whole = model.certify(images)
    assert logs == {
        f"val_certified_{eps}": whole.accuracy(labels, eps) for eps in ("0.05", "8/255")
    }
    assert not math.isnan(logs["val_certified_0.05"])


def test_radii_of_an_own_method_are_rounded_down_and_nan_is_none():
    """`certified_radius` of a subclass may return float64, and NaN where the logits are NaN."""

    class Own(zoo.models.LinfDistNet):
        def certified_radius(self, x, norm, method):
            found = super().certified_radius(x, norm, method)
            per_class = np.full((2, 3), 0.1 - 1e-12)
            per_class[1] = np.nan  # an entry alone would not count if its class is predicted
            return dataclasses.replace(
                found, radius=np.array([0.1 - 1e-12, np.nan]), per_class=per_class
            )

    model = Own((4, 4, 1), 3, width=4, depth=2)
    images = np.full((2, 4, 4, 1), 0.5, "float32")
    for found in (model.certify(images), model.certify(images, eps=0.05)):
        np.testing.assert_array_equal(found.certified(0.05), [True, False])
    certificate = model.certify(images)
    assert certificate.radius[0] < 0.1 - 1e-12
    assert (certificate.per_class.min(axis=1) == certificate.radius).all()
    assert (certificate.per_class[np.isfinite(certificate.per_class)] < 0.1 - 1e-12).all()
    assert float(np.float32(0.1 - 1e-12)) > 0.1  # what rounding to nearest would give
