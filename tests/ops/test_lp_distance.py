"""Both forms of the ℓp distance against float64 NumPy."""

import importlib

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.backend import BACKEND, value_and_gradients
from zoo.ops import lp_distance
from zoo.ops.lp_distance import FAST_EXPONENTS, INFINITE

FORMS = ("numba", "portable")
INF = float("inf")


def reference(x, w, p, g):
    """Distance and gradients of ``sum(g · u)`` in float64, straight from the definition."""
    d = x[:, None].astype(np.float64) - w[None]
    a = np.abs(d)
    r = a.max(axis=-1, keepdims=True)
    if np.isinf(p):
        u = r[..., 0]
        share = (a == r) / (a == r).sum(axis=-1, keepdims=True)
    else:
        ratio = np.divide(a, r, out=np.zeros_like(a), where=r > 0)
        u = r[..., 0] * (ratio**p).sum(axis=-1) ** (1 / p)
        to_u = np.divide(a, u[..., None], out=np.zeros_like(a), where=u[..., None] > 0)
        share = to_u ** (p - 1)
    term = np.sign(d) * share * g[..., None]
    return u, term.sum(axis=1), -term.sum(axis=0)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("p", [2.0, 3.7, 8.0, 20.0, 100.0, 1000.0, INF])
@pytest.mark.parametrize("shape", [(37, 100, 23), (1, 1, 1), (3, 64, 130), (20, 200, 1)])
def test_agrees_with_float64(form, p, shape):
    batch, inputs, units = shape
    random = np.random.default_rng(0)
    x, w, g = (
        random.normal(size=s).astype("float32")
        for s in [(batch, inputs), (units, inputs), (batch, units)]
    )
    u, (dx, dw) = value_and_gradients(
        lambda x, w: lp_distance(x, w, p, implementation=form) * g, x, w
    )
    expected_u, expected_dx, expected_dw = reference(x, w, p, g)
    np.testing.assert_allclose(u, expected_u * g, rtol=1e-3)
    for found, expected in ((dx, expected_dx), (dw, expected_dw)):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


@pytest.mark.integration
@pytest.mark.parametrize("p", [8.0, 12.0, 24.0, 32.0, 192.0, 1024.0])
def test_fast_exponents_agree_with_float64(p):
    """More than 32 chunks of inputs, so that their record takes two words, and odd sizes."""
    assert p in FAST_EXPONENTS
    random = np.random.default_rng(0)
    x, w, g = (random.normal(size=s).astype("float32") for s in [(5, 2113), (3, 2113), (5, 3)])
    x[:, ::7] *= 4.0  # few large differences: at large p most chunks are skipped
    u, found = value_and_gradients(
        lambda x, w: lp_distance(x, w, p, implementation="numba") * g, x, w
    )
    expected_u, *expected = reference(x, w, p, g)
    np.testing.assert_allclose(u, expected_u * g, rtol=1e-4)
    for f, e in zip(found, expected, strict=True):
        np.testing.assert_allclose(f, e, rtol=1e-3, atol=1e-4 * np.abs(e).max())


@pytest.mark.parametrize("form", FORMS)
def test_infinity_is_exact(form):
    random = np.random.default_rng(1)
    x = random.normal(size=(33, 129)).astype("float32")
    w = random.normal(size=(17, 129)).astype("float32")
    u = keras.ops.convert_to_numpy(lp_distance(x, w, INF, implementation=form))
    np.testing.assert_array_equal(u, np.abs(x[:, None] - w[None]).max(axis=-1))


@given(
    scale=st.floats(-30, 30),
    p=st.floats(2, 1000),
    seed=st.integers(0, 2**31),
    inputs=st.integers(1, 150),
)
def test_no_scale_overflows(scale, p, seed, inputs):
    random = np.random.default_rng(seed)
    x = (random.normal(size=(2, inputs)) * 10.0**scale).astype("float32")
    w = (random.normal(size=(3, inputs)) * 10.0**scale).astype("float32")
    u = keras.ops.convert_to_numpy(lp_distance(x, w, p, implementation="numba"))
    expected, _, _ = reference(x, w, p, np.ones((2, 3)))
    np.testing.assert_allclose(u, expected, rtol=1e-3)


@pytest.mark.parametrize("p", [8.0, 50.0])
def test_subnormal_distances_stay_finite(p):
    """The reciprocal of such a number may be infinite.

    The kernel is called directly, because the threads of a backend flush such numbers to zero.
    """
    kernels = pytest.importorskip("zoo.ops.lp_distance_numba")
    x, w = np.array([[1e-39, 0.0]], "float32"), np.zeros((1, 2), "float32")
    u, counted = kernels.forward(x, w, p)
    assert u[0, 0] in (x[0, 0], 0.0)
    for gradient in kernels.backward(x, w, p, u, counted, np.ones_like(u)):
        np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("p", [2.0, 20.0, 1000.0, INF])
def test_equal_rows_have_distance_and_gradient_zero(form, p):
    rows = np.random.default_rng(0).normal(size=(3, 70)).astype("float32")
    u, (dx, dw) = value_and_gradients(
        lambda x, w: keras.ops.diagonal(lp_distance(x, w, p, implementation=form)), rows, rows
    )
    for zero in (u, dx, dw):
        np.testing.assert_array_equal(zero, 0)


@pytest.mark.parametrize("form", FORMS)
def test_ties_at_infinity_share_the_gradient(form):
    x, w = np.array([[1.0, -1.0, 0.5, 1.0]], "float32"), np.zeros((1, 4), "float32")
    _, (dx, dw) = value_and_gradients(
        lambda x, w: lp_distance(x, w, INF, implementation=form), x, w
    )
    np.testing.assert_allclose(dx, [[1 / 3, -1 / 3, 0, 1 / 3]])
    np.testing.assert_allclose(dw, -dx)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("p", [8.0, INF])
def test_nan_is_not_hidden(form, p):
    x = np.array([[np.nan, 1.0], [0.0, 1.0]], "float32")
    u = lp_distance(x, np.zeros((1, 2), "float32"), p, implementation=form)
    np.testing.assert_array_equal(np.isnan(keras.ops.convert_to_numpy(u)), [[True], [False]])


@pytest.mark.parametrize("form", FORMS)
def test_an_empty_batch(form):
    u = lp_distance(np.zeros((0, 5), "float32"), np.zeros((3, 5)), 8.0, implementation=form)
    assert tuple(u.shape) == (0, 3)


@pytest.mark.parametrize("form", FORMS)
def test_gradient_is_the_slope(form):
    random = np.random.default_rng(2)
    x, w = random.normal(size=(2, 5)), random.normal(size=(3, 5))
    p = 6.0
    _, (dx, _) = value_and_gradients(
        lambda x, w: lp_distance(x, w, p, implementation=form),
        x.astype("float32"),
        w.astype("float32"),
    )
    step = 1e-6
    for index in np.ndindex(x.shape):
        ahead, behind = x.copy(), x.copy()
        ahead[index] += step
        behind[index] -= step
        ones = np.ones((2, 3))
        rise = reference(ahead, w, p, ones)[0].sum() - reference(behind, w, p, ones)[0].sum()
        assert dx[index] == pytest.approx(rise / (2 * step), rel=1e-3, abs=1e-4)


def test_portable_form_in_blocks_agrees(monkeypatch):
    module = importlib.import_module("zoo.ops.lp_distance")
    random = np.random.default_rng(3)
    x, w = (random.normal(size=s).astype("float32") for s in ((6, 11), (7, 11)))

    def compute():
        return value_and_gradients(
            lambda x, w: lp_distance(x, w, 9.0, implementation="portable"), x, w
        )

    whole, whole_gradients = compute()
    monkeypatch.setattr(module, "_BLOCK_TRIPLES", 200)  # several blocks, the last one ragged
    blocked, blocked_gradients = compute()
    np.testing.assert_allclose(blocked, whole, rtol=1e-6)
    for found, expected in zip(blocked_gradients, whole_gradients, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="eager execution with tapes is TensorFlow's")
def test_works_eagerly_on_variables():
    x = np.random.default_rng(0).normal(size=(2, 5)).astype("float32")
    kernel = keras.Variable(x[:1] + 1.0)
    u = lp_distance(x, kernel, INF)
    assert u.shape == (2, 1)


@pytest.mark.parametrize(
    ("x", "w", "p", "options", "message"),
    [
        ((2, 3), (4, 5), 8.0, {}, r"got \(2, 3\) and \(4, 5\)"),
        ((2, 3, 1), (4, 3), 8.0, {}, "expects x of shape"),
        ((2, 3), (4, 3), 1.5, {}, "p >= 2, got p = 1.5"),
        ((2, 3), (4, 3), float("nan"), {}, "p >= 2, got p = nan"),
        ((2, 3), (4, 3), 8.0, {"implementation": "cuda"}, "'cuda'"),
    ],
)
def test_bad_arguments_are_named(x, w, p, options, message):
    with pytest.raises(ValueError, match=message):
        lp_distance(np.zeros(x), np.zeros(w), p, **options)


@pytest.mark.parametrize("implementation", FORMS)
@pytest.mark.parametrize("p", [1e5, 1e6, 1e7, 1e10])
def test_a_large_exponent_has_the_gradient_of_the_largest_difference(implementation, p):
    random = np.random.default_rng(0)
    x, w = (random.normal(size=(8, 50)).astype("float32") for _ in range(2))
    _, (gradient, _) = value_and_gradients(
        lambda x, w: lp_distance(x, w, p, implementation=implementation), x, w
    )
    # Each of the 8 distances of a row has a gradient of one entry of ±1, all others being smaller.
    assert (np.abs(gradient).sum(axis=1) <= 8 * 1.01).all()


@pytest.mark.parametrize("implementation", FORMS)
def test_a_tensor_that_stands_for_infinity_shares_gradients_among_ties(implementation):
    x, w = np.zeros((1, 4), "float32"), np.float32([[1.0, -1.0, 1.0, 0.5]])
    p = keras.ops.convert_to_tensor(np.float32(INFINITE))
    value, (gradient, _) = value_and_gradients(
        lambda x, w: lp_distance(x, w, p, implementation=implementation), x, w
    )
    assert value == 1.0
    np.testing.assert_allclose(gradient, [[-1 / 3, 1 / 3, -1 / 3, 0.0]], rtol=1e-6)
