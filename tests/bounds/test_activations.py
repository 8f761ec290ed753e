"""Lines around activations, and the error of float32 in them."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.bounds.activations import ACTIVATIONS, Clipped, Curved, Piecewise, elu
from zoo.ops.precision import double_precision

KINDS = dict(ACTIVATIONS)
# All kinds by name, those of layers with settings too.
EXTRA = {
    **{function.__name__: kind for function, kind in ACTIVATIONS},
    "steep below zero": Piecewise(3.0),
    "falling below zero": Piecewise(-0.5),
    "elu with a large alpha": elu(2.5),
    "elu with a small alpha": elu(0.3),
    "clipped from above": Clipped(None, 2.0),
}
ENDS = st.one_of(st.floats(-3, 3), st.floats(-60, 60), st.just(0.0))


@given(
    st.sampled_from([function.__name__ for function in KINDS]),
    ENDS,
    st.one_of(st.floats(0, 5), st.floats(0, 1e-5), st.just(0.0), st.floats(0, 100)),
)
def test_lines_lie_on_their_side_and_touch(name, lower, width):
    (kind,) = [kind for function, kind in ACTIVATIONS if function.__name__ == name]
    upper = lower + width
    x = np.linspace(lower, upper, 401)
    with double_precision():
        ends = [keras.ops.convert_to_tensor(np.array([end]), "float64") for end in (lower, upper)]
        lines = [[float(n[0]) for n in line] for line in kind.lines(*ends)]
        y = keras.ops.convert_to_numpy(kind.value(keras.ops.convert_to_tensor(x, "float64")))
    (a, b), (c, d) = lines
    assert (a * x + b <= y).all()
    assert (y <= c * x + d).all()
    # Each comes close to the function somewhere.
    assert (y - (a * x + b)).min() < 1e-4 + 0.01 * width
    assert (c * x + d - y).min() < 1e-4 + 0.01 * width
    if not isinstance(kind, Curved):
        assert a >= 0
        assert c >= 0


@pytest.mark.integration
@given(
    st.sampled_from(["tanh", "sigmoid", "softsign", "selu", "elu with a large alpha"]),
    st.floats(-8, 8),
    st.floats(0.01, 16),
)
def test_no_tangent_of_an_s_shaped_function_leaves_less_area(name, lower, width):
    """Over an interval, a line's area is its value in the middle times the width."""
    kind, upper = EXTRA[name], lower + width
    middle = (lower + upper) / 2
    with double_precision():
        ends = [keras.ops.convert_to_tensor(np.array([end]), "float64") for end in (lower, upper)]
        below, above = [[float(n[0]) for n in line] for line in kind.lines(*ends)]
        for sign, line in ((1, above), (-1, below)):
            start = -lower if sign < 0 else upper
            # The points where sign * value(sign * x) is concave, up to the end of the interval.
            points = np.linspace(max(0.0, -upper if sign < 0 else lower), max(0.0, start), 301)
            tangents = keras.ops.convert_to_tensor(sign * points, "float64")
            slopes = keras.ops.convert_to_numpy(kind.derivative(tangents))
            values = keras.ops.convert_to_numpy(kind.value(tangents))
            first = upper if sign < 0 else lower
            at_first = float(kind.value(keras.ops.convert_to_tensor(first, "float64")))
            from_below = sign * (values + slopes * (first - sign * points) - at_first)
            on_its_side = (from_below >= 0) & (points > 0)
            areas = sign * (values + slopes * (middle - sign * points))[on_its_side]
            assert sign * (line[0] * middle + line[1]) <= areas.min(initial=np.inf) + 1e-6


@pytest.mark.integration
@given(st.sampled_from(sorted(EXTRA)), ENDS, st.floats(0, 30))
def test_values_lie_in_the_interval_and_slopes_below_the_constant(name, lower, width):
    kind, upper = EXTRA[name], lower + width
    x = np.linspace(lower, upper, 2001)
    with double_precision():
        ends = [keras.ops.convert_to_tensor(np.array([end]), "float64") for end in (lower, upper)]
        low, high = (float(end[0]) for end in kind.interval(*ends))
        (a, b), (c, d) = [[float(n[0]) for n in line] for line in kind.lines(*ends)]
        y = keras.ops.convert_to_numpy(kind.value(keras.ops.convert_to_tensor(x, "float64")))
    assert low <= y.min() + 1e-15
    assert y.max() - 1e-15 <= high
    # The interval is tight.
    assert y.min() - low <= 1e-4 + 1e-3 * width
    assert high - y.max() <= 1e-12 * (1 + abs(high))
    assert (a * x + b <= y).all()
    assert (y <= c * x + d).all()
    if width > 1e-3:
        slopes = np.abs(np.diff(y)) / np.diff(x)
        assert slopes.max() <= kind.lipschitz * (1 + 1e-6) + 1e-9


@pytest.mark.integration
@pytest.mark.parametrize("function", KINDS, ids=lambda f: f.__name__)
def test_float32_is_within_its_bound(function):
    """Of Keras's own function, compiled and not."""
    kind = KINDS[function]
    x = np.concatenate([np.linspace(-90, 90, 200_001), np.linspace(-1, 1, 200_001)])
    x = np.concatenate([x, 10.0 ** -np.linspace(0, 30, 1001)]).astype("float32")
    model = keras.Sequential([keras.Input((1,)), keras.layers.Activation(function)])
    with double_precision():
        exact = keras.ops.convert_to_tensor(x.astype("float64"), "float64")
        exact = keras.ops.convert_to_numpy(kind.value(exact))
    allowed = np.broadcast_to(kind.rounding(np.abs(x).astype("float64")), x.shape)
    found = [
        keras.ops.convert_to_numpy(function(keras.ops.convert_to_tensor(x))),
        model.predict(x[:, None], batch_size=100_000, verbose=0)[:, 0],
    ]
    for values in found:
        assert (np.abs(values - exact) <= allowed).all()


def test_a_slope_below_zero_is_that_of_float32():
    assert Piecewise(0.2).slope == np.float32(0.2)


@pytest.mark.parametrize("name", EXTRA)
def test_values_of_float64_are_not_rounded_to_float32(name):
    kind = EXTRA[name]
    x = np.linspace(-4.0, 4.0, 401)
    # The values of a few steps around each x differ by far less than float32 can tell.
    step = 1e-7
    with double_precision():
        tensors = [keras.ops.convert_to_tensor(x + k * step, "float64") for k in range(3)]
        values = [keras.ops.convert_to_numpy(kind.value(tensor)) for tensor in tensors]
    assert all(value.dtype == np.float64 for value in values)
    bends = np.abs(values[0] - 2 * values[1] + values[2])
    kinks = bends > 1e-12
    assert kinks.sum() <= 2
