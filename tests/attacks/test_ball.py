"""The projection is exact in floating point."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from zoo.attacks import project
from zoo.attacks.ball import random_start
from zoo.epsilon import Epsilon

pixels = arrays("float32", (4, 3, 2, 1), elements=st.floats(0, 1, width=32))
moved = arrays("float32", (4, 3, 2, 1), elements=st.floats(-3, 4, width=32))
budgets = st.sampled_from(["8/255", "2/255", "0.3", "1/3", "0", "1e-6", "1.58", "5"])


def size(x_adv, x, norm):
    change = (x_adv.astype("float64") - x.astype("float64")).reshape(len(x), -1)
    return np.abs(change).max(axis=1) if norm == "linf" else np.sqrt((change**2).sum(axis=1))


@pytest.mark.parametrize("norm", ["linf", "l2"])
@given(x=pixels, x_adv=moved, eps=budgets)
def test_in_the_ball_and_in_the_box(norm, x, x_adv, eps):
    projected = project(x_adv, x, eps, norm)
    assert projected.dtype == np.float32
    assert projected.min() >= 0
    assert projected.max() <= 1
    assert (size(projected, x, norm) <= float(Epsilon(eps).exact)).all()


@pytest.mark.parametrize("norm", ["linf", "l2"])
@given(x=pixels, eps=budgets)
def test_what_is_inside_stays(norm, x, eps):
    inside = project(1 - x, x, eps, norm)
    np.testing.assert_array_equal(project(inside, x, eps, norm), inside)


@given(x=pixels, x_adv=moved)
def test_linf_projection_is_the_nearest_point(x, x_adv):
    projected = project(x_adv, x, "0.1", "linf")
    expected = np.clip(np.clip(x_adv, x - 0.1, x + 0.1), 0, 1)
    np.testing.assert_allclose(projected, expected, atol=1e-6)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_random_starts_fill_the_ball(norm):
    x = np.full((400, 3, 1, 1), 0.5, "float32")
    start = random_start(x, Epsilon("0.2"), norm, np.random.default_rng(0))
    sizes = size(start, x, norm)
    assert sizes.max() <= 0.2
    # In three dimensions half of the ball's volume lies beyond 79 % of its radius.
    assert np.median(sizes) == pytest.approx(0.2 * 0.5 ** (1 / 3), rel=0.05)


@pytest.mark.timeout(10)
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_nothing_hangs_or_leaks_nan(norm):
    x = np.array([[0.1, 0.7]])  # float64 numbers that no float32 equals
    np.testing.assert_array_equal(project(x, x, 0, norm), x.astype("float32"))
    wild = np.array([[np.nan, np.inf]])
    np.testing.assert_array_equal(project(wild, x, 0.1, norm), x.astype("float32"))


def test_unknown_norm_is_named():
    with pytest.raises(ValueError, match="norm must be 'linf' or 'l2', got 'l1'"):
        project(np.zeros((1, 2)), np.zeros((1, 2)), 0.1, "l1")


def test_arrays_of_other_shapes_are_named():
    with pytest.raises(ValueError, match=r"one shape, got \(2, 3\) and \(4, 3\)"):
        project(np.zeros((2, 3)), np.zeros((4, 3)), 0.1, "linf")
