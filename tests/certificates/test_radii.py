"""Margin and bisection."""

import ml_dtypes
import numpy as np
import pytest
import scipy.optimize
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import zoo
from zoo.certificates import (
    LogitCertificate,
    largest_certified,
    lipschitz_radius,
    pairwise_radius,
    round_down,
)
from zoo.certificates.bisection import largest_by_margin


@given(arrays("float64", (5, 4), elements=st.floats(-3, 3)), st.floats(0.1, 5))
def test_no_lipschitz_change_overtakes(logits, lipschitz):
    """The worst change of size radius: the label's logit falls, every other rises."""
    radius = lipschitz_radius(logits, lipschitz)
    for f, r in zip(logits, radius, strict=True):
        worst = f + lipschitz * r
        worst[f.argmax()] = f.max() - lipschitz * r
        assert worst[f.argmax()] >= worst.max() - 1e-9


def test_every_class_counts():
    assert lipschitz_radius(np.array([[3.0, 0.0, 2.0]]))[0] == 0.5


def test_error_shrinks_the_radius():
    logits = np.array([[1.0, 0.0], [0.001, 0.0]])
    np.testing.assert_allclose(lipschitz_radius(logits, error=0.01), [0.48, 0.0])


def test_nothing_is_said_about_what_is_not_finite():
    logits = np.array([[np.nan, 1.0], [np.inf, 1.0], [np.inf, np.inf], [1.0, 1.0]])
    np.testing.assert_array_equal(lipschitz_radius(logits), 0)


@given(
    features=arrays("float64", (5, 3), elements=st.floats(-3, 3)),
    kernel=arrays("float64", (3, 4), elements=st.floats(-2, 2)),
    lipschitz=st.floats(0.1, 5),
)
def test_no_move_of_the_features_overtakes(features, kernel, lipschitz):
    """The shortest way to each other class is straight along the difference of their weights."""
    logits = features @ kernel
    radius = pairwise_radius(logits, kernel, lipschitz)
    for z, f, r in zip(features, logits, radius, strict=True):
        c = f.argmax()
        reach = []
        for j in set(range(4)) - {c}:
            direction = kernel[:, j] - kernel[:, c]
            length = np.linalg.norm(direction)
            if length == 0 or not np.isfinite(r):
                assert length == 0 or np.isfinite(r)
                continue
            moved = (z + lipschitz * r * direction / length) @ kernel
            assert moved[j] <= moved[c] + 1e-6
            reach.append(moved[c] - moved[j])
        # And it is tight: some class does meet.
        assert not reach or r == 0 or min(reach) < 1e-6
    # Where every logit is 1-Lipschitz by itself, pairs say at least as much as half the margin.
    unit = kernel / np.linalg.norm(kernel, axis=0).clip(1e-9)
    half_margin = lipschitz_radius(features @ unit)
    assert (pairwise_radius(features @ unit, unit) >= half_margin * (1 - 1e-8)).all()


def test_pairwise_radius_at_its_edges():
    kernel = np.array([[1.0, 1.0, 0.0]])
    logits = np.array([[2.0, 1.0, 1.5], [1.0, 1.0, 0.0], [np.nan, 1.0, 0.0], [np.inf, 0.0, 0.0]])
    np.testing.assert_array_equal(pairwise_radius(logits, kernel) > 0, [True, False, False, False])
    alike = np.ones((1, 3))
    assert pairwise_radius(logits[:1], alike)[0] == np.inf
    assert pairwise_radius(logits[:1], alike, error=0.2)[0] == 0
    assert len(pairwise_radius(np.zeros((0, 3)), kernel)) == 0


@given(
    true=arrays("float64", 6, elements=st.floats(0, 1)),
    fraction=arrays("float64", 6, elements=st.floats(0, 1)),
)
def test_bisection_finds_the_radius_from_below(true, fraction):
    start = fraction * true
    found = largest_certified(lambda eps: eps <= true, start, tolerance=1e-4)
    assert found.dtype == np.float32
    assert (found <= true).all()
    assert (found >= true - 2e-4).all()
    assert (found >= start - 1e-7).all()


@given(
    true=arrays("float64", 6, elements=st.floats(0, 1)),
    fraction=arrays("float64", 6, elements=st.floats(0, 1)),
)
def test_bisection_treats_images_by_themselves(true, fraction):
    together = largest_certified(lambda eps: eps <= true, fraction * true)
    for i in range(6):
        (alone,) = largest_certified(lambda eps, i=i: eps <= true[i], (fraction * true)[i : i + 1])
        assert alone == together[i]


@pytest.mark.timeout(10)
def test_a_tolerance_finer_than_float32_ends():
    (found,) = largest_certified(lambda eps: eps <= 0.7, np.zeros(1), tolerance=1e-12)
    assert 0.699999 < found <= 0.7


def test_bisection_returns_only_what_was_proved():
    """Also when the certificate is not monotone."""
    proved = []

    def is_certified(eps):
        answer = np.sin(eps * 50) > 0
        proved.extend(eps[answer])
        return answer

    for radius in largest_certified(is_certified, np.zeros(9)):
        assert radius == 0 or radius in proved


def test_logits_of_another_precision_are_refused(digits):
    model = zoo.load("lc-lmt-digits")
    x = digits.images[:20]
    certificate, logits = model.logit_certificate(), model.logits(x)
    exact = certificate.radius(logits, x)
    np.testing.assert_array_equal(certificate.radius(logits.astype("float64"), x), exact)
    assert certificate.radius(logits[:0], x[:0]).shape == (0,)
    for dtype in ("float16", "int8", "int64", "bool", ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn):
        with pytest.raises(ValueError, match="logits must be float32 or float64"):
            certificate.radius(logits.astype(dtype), x)


def test_images_beside_logits_are_checked_as_in_certify(digits, tmp_path):
    x = digits.images[:20]
    pixels = np.round(x * 255).astype("uint8")
    for name in ("lc-lmt-digits", "l2nnn-digits", "linf-dist-digits"):
        model = zoo.load(name)
        model.logit_certificate().save(tmp_path / "certificate.npz")
        certificate, logits = LogitCertificate.load(tmp_path / "certificate.npz"), model.logits(x)
        radii = certificate.radius(logits, pixels)
        np.testing.assert_allclose(radii, certificate.radius(logits, x), atol=1e-3)
        for images, message in (
            (255 * x, "divide pixels"),
            (x[:5], "20 images, one per row, got 5"),
            (x[..., 0], "shape"),
            (pixels.astype("int32"), "int32"),
        ):
            with pytest.raises(ValueError, match=message):
                certificate.radius(logits, images)
        with pytest.raises(ValueError, match="the model has 10 classes"):
            certificate.radius(logits[:, :5], x)


@given(st.floats(0, 1e6))
def test_rounding_is_never_up(radius):
    found = round_down(radius)
    assert found.dtype == np.float32
    assert float(found) <= radius
    assert float(np.nextafter(found, np.float32(np.inf))) > radius


@example(at_zero=2.0, slope=1000.0, bend=0.0, kink=0.0)
@given(
    at_zero=st.floats(0.01, 10),
    slope=st.floats(0.01, 1000),
    bend=st.floats(0, 1e5),
    kink=st.floats(0, 1),
)
def test_the_search_by_margin_ends_close_below_the_root(at_zero, slope, bend, kink):
    asked = []

    def margin(_, eps):
        values = at_zero - slope * eps - bend * np.maximum(eps - kink, 0) ** 2
        asked.extend(zip(eps, values, strict=True))
        return values

    found = largest_by_margin(margin, np.array([at_zero]), first=1e-3, upper=1.0, steps=12)[0]
    proved = [eps for eps, value in asked if value > 0]
    assert found == max(proved, default=0.0)
    root = scipy.optimize.brentq(lambda e: margin(None, np.array([e]))[0] if e else at_zero, 0, 1e4)
    if root > 1e-3:
        assert found >= 0.9 * min(root, 1.0)


@pytest.mark.parametrize(
    ("margin", "root", "calls"),
    [
        (lambda eps: 1.0 - eps / 0.003, 0.003, 8),  # the zero is just above the first budget
        (lambda eps: np.ones_like(eps), 1.0, 4),  # nothing falls
        (lambda eps: 1.001 - 50 * np.maximum(eps - 0.01, 0), 0.03, 10),  # at first nothing falls
    ],
)
def test_the_search_by_margin_does_not_end_too_early(margin, root, calls):
    asked = []

    def counted(_, eps):
        asked.append(float(eps[0]))
        return margin(eps)

    found = largest_by_margin(counted, np.ones(1), first=1e-3, upper=1.0, steps=10)[0]
    assert 0.7 * root < found <= root * (1.0 + 1e-3)
    assert len(asked) <= calls


def test_the_search_by_margin_tries_a_small_upper_end_once():
    asked = []

    def margin(_, eps):
        asked.append(float(eps[0]))
        return np.ones(1)

    assert largest_by_margin(margin, np.ones(1), first=1e-3, upper=5e-4)[0] == 5e-4
    assert asked == [5e-4]


def test_the_search_by_margin_certifies_nothing_from_nothing():
    found = largest_by_margin(
        lambda places, _: np.full(len(places), np.nan),
        np.array([1.0, 0.0, np.nan]),
        first=1e-3,
        upper=1.0,
    )
    np.testing.assert_array_equal(found, 0.0)


@pytest.mark.parametrize("beyond", [9e-4, 1e-4])
def test_the_search_by_margin_goes_on_where_a_bound_is_infinite(beyond):
    """The first trial leaves float32's range."""
    found = largest_by_margin(
        lambda _, eps: np.where(eps > beyond, -np.inf, 1.0 - 10 * eps),
        np.ones(1),
        first=1e-3,
        upper=1.0,
        steps=10,
    )[0]
    assert 0.8 * beyond < found <= beyond


def test_the_search_by_margin_leaves_images_out_that_are_done():
    """Each image is searched as if it were alone, and not beyond .4 % of its radius."""
    roots, powers = np.array([0.01, 0.2, 0.03]), np.array([1.0, 3.0, 1.5])

    def search(chosen):
        asked = np.zeros(len(chosen), int)

        def margin(places, eps):
            asked[places] += 1
            return 1.0 - (eps / roots[chosen][places]) ** powers[chosen][places]

        found = largest_by_margin(margin, np.ones(len(chosen)), first=1e-3, upper=1.0, steps=12)
        return found, asked

    together, asked = search(np.arange(3))
    alone = [search(np.array([i])) for i in range(3)]
    np.testing.assert_array_equal(together, [found[0] for found, _ in alone])
    np.testing.assert_array_equal(asked, [count[0] for _, count in alone])
    assert (asked < 12).all()
    np.testing.assert_allclose(together, roots, rtol=4e-3, atol=0)
    assert (together <= roots).all()
