"""Curvature within a ball: sampled Hessians lie between its bounds, radii below brute force."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.certificates.test_curvature import (
    ACTIVATIONS,
    MIXED,
    bounds_of_terms,
    hessian,
    network,
    prepared,
)
from zoo.bounds.activations import known_activation
from zoo.bounds.curvature import GlobalCurvature, eigenvalue_bounds
from zoo.bounds.local_curvature import within
from zoo.certificates.curvature import radii
from zoo.certificates.local_curvature import enlarged

KINDS = [known_activation(keras.activations.get(name)) for name in ACTIVATIONS]


@pytest.mark.parametrize("activation", KINDS, ids=ACTIVATIONS)
@settings(max_examples=30)
@given(low=st.floats(-4, 4), width=st.floats(0, 5))
def test_ranges_of_derivatives_are_what_a_grid_finds(activation, low, width):
    activation = activation.derivatives
    z = np.linspace(low, low + width, 1001)
    ranges = activation.ranges(z[:1], z[-1:])
    for derivative, (least, most) in zip(activation.functions, ranges, strict=True):
        values = derivative(z)
        assert least[0] <= values.min() <= least[0] + 1e-5
        assert most[0] >= values.max() >= most[0] - 1e-5
    (_, steepest), (flattest, most_bent) = ranges
    assert steepest <= activation.steepest + 1e-9
    assert activation.bend[0] - 1e-9 <= flattest <= most_bent <= activation.bend[1] + 1e-9


@pytest.mark.parametrize("activation", KINDS, ids=ACTIVATIONS)
def test_derivatives_are_those_of_the_value(activation):
    value, activation = activation.value, activation.derivatives
    z, step = np.linspace(-5, 5, 101), 1e-6
    slope, bend = activation.functions
    quotient = (activation.exact(z + step) - activation.exact(z - step)) / (2 * step)
    np.testing.assert_allclose(slope(z), quotient, atol=1e-8)
    np.testing.assert_allclose(bend(z), (slope(z + step) - slope(z - step)) / (2 * step), atol=1e-8)
    tensor = keras.ops.convert_to_tensor(z.astype("float32"))
    np.testing.assert_allclose(value(tensor), activation.exact(z), atol=1e-5)


@pytest.mark.integration
@settings(max_examples=8)
@given(
    seed=st.integers(0, 10_000),
    hidden=st.sampled_from([(6,), (5, 4), (4, 4, 3)]),
    activation=st.sampled_from([*ACTIVATIONS, MIXED]),
    ball=st.floats(0.05, 2.0),
)
def test_no_hessian_in_the_ball_exceeds_its_bounds(seed, hidden, activation, ball):
    random = np.random.default_rng(seed)
    smooth = prepared(network(random, 4, hidden, activation, scale=3.0))
    norms, head = smooth.norms(), smooth.kernels[-1]
    center = random.uniform(size=4)
    combination = head[:, 0] - head[:, 1]
    ranges = within(smooth, center, ball, norms)
    low, high = eigenvalue_bounds(smooth, combination, ranges)
    for sign, bound in ((1, high), (-1, -low)):
        _, collected = bounds_of_terms(smooth, sign * combination, ranges)
        np.testing.assert_allclose(bound, collected, rtol=1e-8, atol=1e-9)
    bounds = GlobalCurvature(smooth).of_all()
    assert bounds.lower[0, 1] - 1e-6 <= low <= 0 <= high <= bounds.upper[0, 1] + 1e-6
    directions = random.normal(size=(20, 4))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    for x in center + ball * random.uniform(size=(20, 1)) ** 0.25 * directions:
        eigenvalues = np.linalg.eigvalsh(hessian(smooth, x, 0, 1))
        assert low - 1e-4 <= eigenvalues[0]
        assert eigenvalues[-1] <= high + 1e-4


@pytest.mark.integration
@settings(max_examples=5)
@given(
    seed=st.integers(0, 10_000),
    hidden=st.sampled_from([(6,), (5, 4)]),
    activation=st.sampled_from(ACTIVATIONS),
)
def test_two_pixels_against_brute_force(seed, hidden, activation):
    random = np.random.default_rng(seed)
    model = network(random, 2, hidden, activation, scale=4.0)
    x = random.uniform(size=(4, 2)).astype("float32")
    predicted = np.argmax(keras.ops.convert_to_numpy(model(x)), axis=1)
    smooth = prepared(model)
    found = radii(smooth, GlobalCurvature(smooth).of_all(), x, predicted)
    more = enlarged(smooth, x, predicted, found)
    assert (more.radius >= found.radius).all()
    assert (more.radius <= more.nearest).all()
    grid = np.stack(np.meshgrid(*[np.linspace(-2, 3, 401)] * 2), axis=-1).reshape(-1, 2)
    classes = np.argmax(keras.ops.convert_to_numpy(model(grid.astype("float32"))), axis=1)
    for i in range(len(x)):
        distance = np.linalg.norm(grid.astype("float32").astype("float64") - x[i], axis=1)
        assert (distance[classes != predicted[i]] > more.radius[i].min()).all()


@pytest.mark.integration
def test_a_strongly_bent_network_gains():
    """Where the bound everywhere is of bends that no nearby image meets."""
    random = np.random.default_rng(3)
    model = network(random, 6, (30,), "tanh", scale=6.0)
    x = random.uniform(size=(8, 6)).astype("float32")
    predicted = np.argmax(keras.ops.convert_to_numpy(model(x)), axis=1)
    smooth = prepared(model)
    found = radii(smooth, GlobalCurvature(smooth).of_all(), x, predicted)
    more = enlarged(smooth, x, predicted, found)
    assert more.radius.min(axis=1).mean() > 1.1 * found.radius.min(axis=1).mean()
    # Together, or one by one: the same.
    alone = enlarged(
        smooth,
        x[:1],
        predicted[:1],
        radii(smooth, GlobalCurvature(smooth).of_all(), x[:1], predicted[:1]),
    )
    np.testing.assert_allclose(alone.radius.min(), more.radius[0].min(), rtol=1e-2)
