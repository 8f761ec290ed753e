"""The convolution of distances against patches taken out one by one."""

import importlib
import itertools

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.backend import BACKEND, value_and_gradients
from zoo.ops import linf_interval_conv, lp_distance_conv

FORMS = ("numba", "portable")
INF = float("inf")
# Strides, padding, groups.
LAYOUTS = [
    ((1, 1), "valid", 1),
    ((1, 1), "same", 2),
    ((2, 3), "valid", 2),
    ((2, 1), "same", 1),
    ((3, 4), "same", 1),
]


def patches_of(x, kernel_size, strides, padding):
    """Float32 patches ``(batch, output height, output width, *kernel_size, channels)``."""
    starts, size = [], x.shape[1:3]
    for n, k, s in zip(size, kernel_size, strides, strict=True):
        count = -(-n // s) if padding == "same" else len(range(0, n - k + 1, s))
        before = max(0, (count - 1) * s + k - n) // 2 if padding == "same" else 0
        starts.append([i * s - before for i in range(count)])
    patches = np.zeros((len(x), *map(len, starts), *kernel_size, x.shape[3]), x.dtype)
    for (a, y), (b, z) in itertools.product(*map(enumerate, starts)):
        for i, j in np.ndindex(*kernel_size):
            if 0 <= y + i < size[0] and 0 <= z + j < size[1]:
                patches[:, a, b, i, j] = x[:, y + i, z + j]
    return patches


def each_filter(function, patches, w, groups):
    """``function`` of the patches and one filter at a time, side by side."""
    inputs, filters = w.shape[2], w.shape[3] // groups
    columns = []
    for f in range(w.shape[3]):
        own = slice(f // filters * inputs, (f // filters + 1) * inputs)
        columns.append(function(*(p[..., own] for p in patches), w[..., f]))
    return np.stack(columns, -1)


def reference(x, w, p, strides, padding, groups):
    def distance(patch, row):
        a = np.abs(patch - row).reshape(*patch.shape[:3], -1)
        largest = a.max(axis=-1)
        if np.isinf(p):
            return largest
        return largest * ((a / largest[..., None]) ** p).sum(axis=-1) ** (1 / p)

    return each_filter(distance, [patches_of(x, w.shape[:2], strides, padding)], w, groups)


def draw(seed, groups=1, batch=3, size=(7, 6), kernel=(3, 2)):
    random = np.random.default_rng(seed)
    x = random.normal(size=(batch, *size, 2 * groups)).astype("float32")
    return x, random.normal(size=(*kernel, 2, 3 * groups)).astype("float32")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("p", [8.0, 20.0, INF])
@pytest.mark.parametrize(("strides", "padding", "groups"), LAYOUTS)
def test_agrees_with_patches_one_by_one(form, p, strides, padding, groups):
    x, w = draw(0, groups)
    layout = {"strides": strides, "padding": padding, "groups": groups}
    u = keras.ops.convert_to_numpy(lp_distance_conv(x, w, p, **layout, implementation=form))
    if np.isinf(p):
        np.testing.assert_array_equal(u, reference(x, w, p, **layout))
    else:
        expected = reference(x.astype("float64"), w.astype("float64"), p, **layout)
        np.testing.assert_allclose(u, expected, rtol=1e-4)


@pytest.mark.parametrize("padding", ["valid", "same"])
@given(
    size=st.tuples(st.integers(4, 9), st.integers(4, 9)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.integers(1, 5),
)
def test_alignment_is_that_of_keras(padding, size, kernel, stride):
    x, _ = draw(0, batch=1, size=size)
    # Each filter of this convolution picks one entry of the patch.
    count = kernel[0] * kernel[1] * 2
    picks = np.eye(count, dtype="float32").reshape(*kernel, 2, count)
    patches = keras.ops.conv(x, picks, stride, padding, data_format="channels_last")
    # Nothing else is as far from -100 as the entry compared with it.
    w = picks * -100
    u = lp_distance_conv(
        x, w, INF, strides=(stride, stride), padding=padding, implementation="numba"
    )
    np.testing.assert_allclose(*map(keras.ops.convert_to_numpy, (u, patches + 100)), atol=1e-4)


@pytest.mark.parametrize(("strides", "padding", "groups"), [LAYOUTS[2], LAYOUTS[4]])
def test_gradient_is_the_slope(strides, padding, groups):
    x, w = draw(1, groups, batch=1, size=(4, 5))
    p, layout = 8.0, {"strides": strides, "padding": padding, "groups": groups}
    _, gradients = value_and_gradients(
        lambda x, w: lp_distance_conv(x, w, p, **layout, implementation="numba") ** 2, x, w
    )
    arguments, step = [x.astype("float64"), w.astype("float64")], 1e-6
    random = np.random.default_rng(0)
    for which, gradient in enumerate(gradients):
        for _ in range(20):
            direction = random.normal(size=gradient.shape)
            sums = []
            for sign in (1, -1):
                moved = list(arguments)
                moved[which] = arguments[which] + sign * step * direction
                sums.append((reference(*moved, p, **layout) ** 2).sum())
            slope = (sums[0] - sums[1]) / (2 * step)
            assert (gradient * direction).sum() == pytest.approx(slope, rel=1e-3, abs=1e-3)


@pytest.mark.integration
@pytest.mark.parametrize("p", [64.0, INF])
@pytest.mark.parametrize("tile", [1, 14_000])  # bytes: a row of an image, two images
def test_tiles_and_forms_agree(p, tile, monkeypatch):
    x, w = draw(2, groups=2, batch=5)

    def compute(form):
        return value_and_gradients(
            lambda x, w: (
                lp_distance_conv(
                    x, w, p, strides=(2, 1), padding="same", groups=2, implementation=form
                )
                ** 2
            ),
            x,
            w,
        )

    whole, whole_gradients = compute("numba")
    monkeypatch.setattr(importlib.import_module("zoo.ops.lp_distance_conv"), "TILE_BYTES", tile)
    for form in FORMS:
        tiled, gradients = compute(form)
        np.testing.assert_allclose(tiled, whole, rtol=1e-4)
        for found, expected in zip(gradients, whole_gradients, strict=True):
            np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-3)


def test_tiles_are_bounded():
    module = importlib.import_module("zoo.ops.lp_distance_conv")
    for size, channels, filters in [(16, 32, 64), (224, 64, 64), (8, 3, 4096), (300, 512, 8)]:
        geometry = module.Geometry.of(
            (None, size, size, channels), (3, 3, channels, filters), (1, 1), "same", 1
        )
        images, rows = geometry.tile()
        positions = images * rows * geometry.output[1]
        assert images == 1 or rows == size
        assert 4 * positions * geometry.inputs <= module.TILE_BYTES
        assert 4 * positions * filters <= module.TILE_BYTES


@pytest.mark.parametrize("form", FORMS)
def test_an_empty_batch(form):
    x, w = draw(0, batch=0)
    u, (dx, dw) = value_and_gradients(
        lambda x, w: lp_distance_conv(x, w, 8.0, implementation=form), x, w
    )
    assert u.shape == (0, 5, 5, 3)
    assert dx.shape == x.shape
    np.testing.assert_array_equal(dw, np.zeros(w.shape))


@pytest.mark.integration
@pytest.mark.skipif(BACKEND != "tensorflow", reason="JAX knows the batch size")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("p", [8.0, INF])
def test_a_batch_of_unknown_size(form, p):
    import tensorflow as tf

    _, w = draw(0)

    @tf.function(input_signature=[tf.TensorSpec((None, 7, 6, 2))])
    def compute(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            u = lp_distance_conv(x, w, p, padding="same", implementation=form)
        assert u.shape == (None, 7, 6, 3)
        return u, tape.gradient(u, x)

    for batch in (0, 1, 37):  # the last one in several blocks of the portable form
        x, _ = draw(1, batch=batch)
        u, dx = compute(x)
        expected, (expected_dx,) = value_and_gradients(
            lambda x: lp_distance_conv(x, w, p, padding="same", implementation="numba"), x
        )
        np.testing.assert_allclose(u, expected, rtol=1e-4)
        np.testing.assert_allclose(dx, expected_dx, atol=1e-4)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="eager execution with tapes is TensorFlow's")
def test_works_eagerly_on_variables():
    x, w = draw(0)
    assert lp_distance_conv(x, keras.Variable(w), INF).shape == (3, 5, 5, 3)


@given(
    seed=st.integers(0, 10_000),
    layout=st.sampled_from(LAYOUTS),
    width=st.floats(0, 3, width=32),
)
def test_interval_holds_and_is_attained(seed, layout, width):
    strides, padding, groups = layout
    x, w = draw(seed, groups, batch=2, size=(4, 5))
    random = np.random.default_rng(seed)
    lower = x - np.float32(width) * random.uniform(size=x.shape).astype("float32")
    upper = x + np.float32(width) * random.uniform(size=x.shape).astype("float32")
    low, high = (
        keras.ops.convert_to_numpy(end)
        for end in linf_interval_conv(
            lower,
            upper,
            w,
            strides=strides,
            padding=padding,
            groups=groups,
            implementation="numba",
        )
    )
    for where in [*random.uniform(size=(5, *x.shape)), *random.integers(0, 2, (5, *x.shape))]:
        z = (lower + where * (upper - lower)).astype("float32").clip(lower, upper)
        u = reference(z, w, INF, strides, padding, groups)
        assert (low <= u).all()
        assert (u <= high).all()

    # The pixels of a patch are independent, so its nearest and farthest corners are images.
    ends = [patches_of(end, w.shape[:2], strides, padding) for end in (lower, upper)]

    def nearest(low, high, row):
        return np.abs(np.clip(row, low, high) - row).max(axis=(3, 4, 5))

    def farthest(low, high, row):
        return np.maximum(np.abs(low - row), np.abs(high - row)).max(axis=(3, 4, 5))

    np.testing.assert_array_equal(low, each_filter(nearest, ends, w, groups))
    np.testing.assert_array_equal(high, each_filter(farthest, ends, w, groups))


@pytest.mark.parametrize(("strides", "padding", "groups"), LAYOUTS[1:3])
def test_forms_agree_exactly_on_intervals(strides, padding, groups, monkeypatch):
    monkeypatch.setattr(importlib.import_module("zoo.ops.lp_distance_conv"), "TILE_BYTES", 14_000)
    x, w = draw(0, groups, batch=5)
    ends = [
        linf_interval_conv(
            x,
            x + 0.5,
            w,
            strides=strides,
            padding=padding,
            groups=groups,
            implementation=form,
        )
        for form in FORMS
    ]
    for a, b in zip(*ends, strict=True):
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (a, b)))


@pytest.mark.parametrize(
    ("x", "w", "options", "message"),
    [
        ((2, 5, 5), (3, 3, 1, 1), {}, r"got \(2, 5, 5\) and \(3, 3, 1, 1\)"),
        ((2, 5, 5, 3), (3, 3, 2, 4), {}, "sees 2 channels, the images have 3"),
        ((2, 5, 5, 3), (3, 3, 1, 4), {"groups": 2}, "groups = 2 must divide the 3 channels"),
        ((2, 5, 5, 2), (3, 3, 1, 3), {"groups": 2}, "2 channels and the 3 filters"),
        ((2, 5, 2, 1), (3, 3, 1, 1), {}, "3 × 3 pixels does not fit into images of 5 × 2"),
        ((2, 5, 5, 1), (3, 3, 1, 1), {"padding": "causal"}, "got 'causal'"),
        ((2, 5, 5, 1), (3, 3, 1, 1), {"p": 1.5}, "p >= 2, got p = 1.5"),
        ((2, 5, 5, 1), (3, 3, 1, 1), {"implementation": "cuda"}, "'cuda'"),
    ],
)
def test_bad_arguments_are_named(x, w, options, message):
    with pytest.raises(ValueError, match=message):
        lp_distance_conv(np.zeros(x), np.zeros(w), **{"p": 8.0, **options})


def test_an_interval_needs_two_ends_of_one_shape():
    x, w = draw(0)
    with pytest.raises(ValueError, match="must have the same shape"):
        linf_interval_conv(x, x[:1], w)
