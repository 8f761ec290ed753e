"""The GPU kernels, interpreted on the CPU, and that they lower to Triton without a GPU."""

import contextlib
import functools
import re
import sys
import types

import numpy as np
import pytest

from tests.backend import BACKEND, value_and_gradients
from zoo.layers import LinfDistance
from zoo.ops import linf_interval, lp_distance
from zoo.ops.lp_distance import chosen_implementation

INF = float("inf")
on_jax = pytest.mark.skipif(BACKEND != "jax", reason="Pallas is part of JAX")


def rows(seed, *shapes):
    random = np.random.default_rng(seed)
    return [random.normal(size=shape).astype("float32") for shape in shapes]


@functools.cache
def compiled(form):
    """Distance and gradients as one program for all p: p is traced."""
    import jax

    def weighted(x, w, p, g):
        u = lp_distance(x, w, p, implementation=form)
        return (u * g).sum(), u

    return jax.jit(jax.value_and_grad(weighted, argnums=(0, 1), has_aux=True))


@on_jax
@pytest.mark.parametrize("shape", [(1, 1, 1), (37, 50, 23), (9, 200, 10)])
def test_agrees_with_the_portable_form(shape):
    batch, inputs, units = shape
    x, w, g = rows(0, (batch, inputs), (units, inputs), (batch, units))
    for p in (2.0, 8.0, 33.3, 1000.0, INF):
        (_, u), found = compiled("pallas")(x, w, p, g)
        (_, expected_u), expected = compiled("portable")(x, w, p, g)
        np.testing.assert_allclose(u, expected_u, rtol=1e-5)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * np.abs(b).max())


@on_jax
def test_large_tiles_agree(monkeypatch):
    from zoo.ops import lp_distance_pallas as kernels

    monkeypatch.setattr(kernels, "_ENOUGH_TILES", 1)
    assert kernels._tile(70, 65) == kernels._TILES[0]
    test_agrees_with_the_portable_form((70, 66, 65))


@on_jax
def test_a_known_infinite_p_is_exact():
    x, w = rows(1, (33, 29), (17, 29))
    u = lp_distance(x, w, INF, implementation="pallas")
    np.testing.assert_array_equal(u, np.abs(x[:, None] - w[None]).max(axis=-1))


@on_jax
def test_equal_rows_have_distance_and_gradient_zero():
    (x,) = rows(2, (3, 21))
    for p in (2.0, 1000.0, INF):
        (_, u), gradients = compiled("pallas")(x, x, p, np.eye(3, dtype="float32"))
        for zero in (np.diagonal(u), *gradients):
            np.testing.assert_array_equal(zero, 0)


@on_jax
def test_ties_at_infinity_share_the_gradient():
    x, w = np.array([[1.0, -1.0, 0.5, 1.0]], "float32"), np.zeros((1, 4), "float32")
    _, (dx, dw) = value_and_gradients(
        lambda x, w: lp_distance(x, w, INF, implementation="pallas"), x, w
    )
    np.testing.assert_allclose(dx, [[1 / 3, -1 / 3, 0, 1 / 3]])
    np.testing.assert_allclose(dw, -dx)


@on_jax
@pytest.mark.parametrize("p", [8.0, INF])
def test_nan_is_not_hidden(p):
    x = np.array([[np.nan, 1.0], [0.0, 1.0]], "float32")
    u = lp_distance(x, np.zeros((1, 2), "float32"), p, implementation="pallas")
    np.testing.assert_array_equal(np.isnan(u), [[True], [False]])


@on_jax
def test_no_scale_overflows():
    x, w, g = rows(3, (9, 200), (10, 200), (9, 10))
    (_, u), _ = compiled("pallas")(x, w, 100.0, g)
    for scale in (np.float32(1e-30), np.float32(1e30)):
        (_, scaled), gradients = compiled("pallas")(x * scale, w * scale, 100.0, g)
        np.testing.assert_allclose(scaled, u * scale, rtol=1e-5)
        assert all(np.isfinite(gradient).all() for gradient in gradients)


@on_jax
def test_an_empty_batch():
    x, w = np.zeros((0, 5), "float32"), np.zeros((3, 5), "float32")
    u, (dx, dw) = value_and_gradients(
        lambda x, w: lp_distance(x, w, 8.0, implementation="pallas"), x, w
    )
    assert u.shape == (0, 3)
    assert dx.shape == (0, 5)
    np.testing.assert_array_equal(dw, np.zeros((3, 5)))


@on_jax
def test_interval_agrees_with_the_portable_form():
    lower, half, w = rows(4, (19, 30), (19, 30), (33, 30))
    box = lower, lower + np.abs(half)
    found = linf_interval(*box, w, implementation="pallas")
    expected = linf_interval(*box, w, implementation="portable")
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


@on_jax
def test_the_layer_takes_it():
    layer = LinfDistance(3, implementation="pallas")
    (x,) = rows(5, (4, 12))
    u = layer(x)
    np.testing.assert_array_equal(u, np.abs(x[:, None] - layer.get_weights()[0]).max(axis=-1))


@on_jax
@pytest.mark.parametrize("shape", [(512, 784, 512), (1024, 513, 1025), (7, 3, 10)])
def test_lowers_for_a_gpu(shape):
    """Every operation in the kernels has a counterpart in Triton; no GPU is needed to see that."""
    import jax

    pytest.importorskip("jaxlib.triton", reason="this jaxlib has no Triton dialect")
    batch, inputs, units = shape
    x, w, g = (
        jax.ShapeDtypeStruct(s, "float32")
        for s in ((batch, inputs), (units, inputs), (batch, units))
    )

    def everything(x, w, p, g):
        def weighted(x, w):
            return (lp_distance(x, w, p, implementation="pallas") * g).sum()

        return jax.grad(weighted, (0, 1))(x, w), linf_interval(x, x, w, implementation="pallas")

    try:
        with as_if_on_a_gpu():
            traced = jax.jit(everything).trace(x, w, jax.ShapeDtypeStruct((), "float32"), g)
            text = traced.lower(lowering_platforms=("cuda",)).as_text()
    except RuntimeError as error:
        if "compilation handler" not in str(error):
            raise
        pytest.skip("this JAX compiles Triton while lowering, and its CUDA plugin is missing")
    kernels = text.count("__gpu$xla.gpu.triton") + text.count("triton_kernel_call")
    # Distance, ties, interval, and the gradient twice, which may be shared between equal shapes.
    assert kernels >= 4
    largest = max(batch * inputs, units * inputs, batch * units)
    assert largest_array(text) < 64 * largest  # never batch x units x inputs


def as_if_on_a_gpu():
    """A context in which newer JAX knows which GPU it lowers for; older JAX does not ask."""
    from jax import sharding

    if not hasattr(sharding, "AbstractDevice"):
        return contextlib.nullcontext()
    gpu = sharding.AbstractDevice(device_kind="NVIDIA H200", num_cores=None, platform="gpu")
    return sharding.use_abstract_mesh(sharding.AbstractMesh((1,), ("gpu",), abstract_device=gpu))


def largest_array(text):
    """The most elements of an array in a program's text."""

    shapes = re.findall(r"tensor<((?:\d+x)+)f32>", text)
    return max(np.prod([int(n) for n in shape[:-1].split("x")]) for shape in shapes)


@on_jax
@pytest.mark.parametrize(
    ("version", "expected"), [("PJRT C API\ncuda 12090", "pallas"), ("rocm 60443", "portable")]
)
def test_what_auto_means_on_a_gpu(monkeypatch, version, expected):
    import jax

    client = types.SimpleNamespace(platform_version=version)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(jax, "devices", lambda: [types.SimpleNamespace(client=client)])
    assert chosen_implementation("auto") == expected


@on_jax
def test_a_jax_without_triton_uses_the_portable_form(monkeypatch):
    import jax

    import zoo.ops

    client = types.SimpleNamespace(platform_version="cuda 12090")
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(jax, "devices", lambda: [types.SimpleNamespace(client=client)])
    assert chosen_implementation("auto") == "pallas"
    monkeypatch.delattr(zoo.ops, "lp_distance_pallas")
    monkeypatch.setitem(sys.modules, "zoo.ops.lp_distance_pallas", None)  # its import fails
    assert chosen_implementation("auto") == "portable"


@pytest.mark.skipif(BACKEND == "jax", reason="there it works")
@pytest.mark.parametrize("function", [lp_distance, linf_interval])
def test_another_backend_says_so(function):
    x = np.zeros((2, 3), "float32")
    last = (x, 8.0) if function is lp_distance else (x, x)
    with pytest.raises(ValueError, match="'pallas' needs the jax backend.*'portable' works"):
        function(x, *last, implementation="pallas")
