"""Bounds of the ℓ∞ distance over a box."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from zoo.ops import linf_interval

FORMS = ("numba", "portable")
entries = st.floats(-4, 4, width=32)


@pytest.mark.parametrize("form", FORMS)
@given(
    center=arrays("float32", (2, 5), elements=entries),
    half=arrays("float32", (2, 5), elements=st.floats(0, 2, width=32)),
    w=arrays("float32", (3, 5), elements=entries),
    seed=st.integers(0, 1000),
)
def test_bounds_hold_and_are_attained(form, center, half, w, seed):
    lower, upper = center - half, center + half
    low, high = (
        keras.ops.convert_to_numpy(end)
        for end in linf_interval(lower, upper, w, implementation=form)
    )

    def distance(z):
        return np.abs(z[:, None] - w[None]).max(axis=-1)

    # Anywhere in the box, corners included ...
    random = np.random.default_rng(seed)
    for where in [*random.uniform(size=(20, 2, 5)), *random.integers(0, 2, size=(20, 2, 5))]:
        u = distance((lower + where * (upper - lower)).astype("float32").clip(lower, upper))
        assert (low <= u).all()
        assert (u <= high).all()
    # ... and attained, by the nearest and the farthest point.
    for o in range(len(w)):
        nearest = np.clip(np.broadcast_to(w[o], lower.shape), lower, upper)
        farthest = np.where(np.abs(lower - w[o]) > np.abs(upper - w[o]), lower, upper)
        np.testing.assert_array_equal(low[:, o], distance(nearest)[:, o])
        np.testing.assert_array_equal(high[:, o], distance(farthest)[:, o])


def test_forms_agree_exactly():
    random = np.random.default_rng(0)
    lower = random.normal(size=(40, 130)).astype("float32")
    upper = lower + random.uniform(0, 1, size=lower.shape).astype("float32")
    w = random.normal(size=(30, 130)).astype("float32")
    ends = [linf_interval(lower, upper, w, implementation=form) for form in FORMS]
    for a, b in zip(*ends, strict=True):
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (a, b)))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "shapes",
    [
        ((4, 5), (1, 5), (3, 5)),
        ((1, 8), (1, 8), (3, 5)),
        ((1, 5), (1, 5), (1, 4)),
        ((5,), (5,), (3, 5)),
    ],
)
def test_shapes_that_do_not_fit(form, shapes):
    with pytest.raises(ValueError, match="linf_interval expects lower and upper of one shape"):
        linf_interval(*(np.zeros(shape, "float32") for shape in shapes), implementation=form)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("sign", [1, -1])
def test_nan_is_not_hidden(form, sign):
    """A NaN has a sign too."""
    box = np.array([[np.copysign(np.nan, sign), 1.0]], "float32")
    _, high = linf_interval(box, box, np.zeros((1, 2), "float32"), implementation=form)
    assert np.isnan(keras.ops.convert_to_numpy(high)).all()
