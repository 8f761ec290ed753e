"""The penalty on input gradients: its value, its gradient, what it costs nothing to remove."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from tests.backend import value_and_gradients
from zoo.losses import JacobianL1
from zoo.ops import input_jacobian


def network(seed, activation="tanh"):
    keras.utils.set_random_seed(seed)
    parts = [layers.Conv2D(3, 2, activation=activation), layers.Flatten(), layers.Dense(4)]
    return keras.Sequential([keras.Input((3, 3, 2)), *parts])


def by_differences(function, x, step=1e-3):
    """Jacobian of each sample, by central differences in float64's place."""
    columns = []
    for index in np.ndindex(x.shape[1:]):
        change = np.zeros_like(x)
        change[(slice(None), *index)] = step
        ends = [keras.ops.convert_to_numpy(function(x + s * change)) for s in (1, -1)]
        columns.append((ends[0].astype("float64") - ends[1]) / (2 * step))
    return np.stack(columns, axis=-1)


@pytest.mark.integration
@settings(max_examples=10)
@given(st.integers(0, 1000), st.sampled_from(["logits", "probabilities"]))
def test_the_full_norm_against_finite_differences(seed, outputs):
    model = network(seed % 5)
    x = np.random.default_rng(seed).uniform(size=(3, 3, 3, 2)).astype("float32")

    def function(x):
        logits = model(x)
        return logits if outputs == "logits" else keras.ops.softmax(logits)

    expected = np.abs(by_differences(function, x)).sum(axis=(1, 2))
    found = keras.ops.convert_to_numpy(JacobianL1("full", outputs)(model, x))
    np.testing.assert_allclose(found, expected, rtol=2e-2)


def test_the_summed_form_against_finite_differences():
    model, x = network(0), np.random.default_rng(0).uniform(size=(3, 3, 3, 2)).astype("float32")
    expected = np.abs(by_differences(model, x).sum(axis=1)).sum(axis=1)
    found = keras.ops.convert_to_numpy(JacobianL1("summed")(model, x))
    np.testing.assert_allclose(found, expected, rtol=2e-2)


@pytest.mark.parametrize("form", ["full", "summed"])
def test_gradients_with_respect_to_weights_against_finite_differences(form):
    """The second derivative: of a norm of gradients."""
    random = np.random.default_rng(1)
    # No derivative changes its sign nearby: the norm is smooth.
    kernel, head = (random.uniform(0.2, 1, size=shape) for shape in ((5, 6), (6, 3)))
    head *= [3, -1, 1]
    x = random.uniform(size=(4, 5)).astype("float32")

    def penalty(kernel, head):
        def function(x):
            return keras.ops.matmul(keras.ops.tanh(keras.ops.matmul(x, kernel)), head)

        return keras.ops.sum(JacobianL1(form)(function, x))

    weights = [w.astype("float32") for w in (kernel, head)]
    _, gradients = value_and_gradients(penalty, *weights)
    for place, gradient in enumerate(gradients):
        direction = random.normal(size=gradient.shape).astype("float32")
        ends = []
        for sign in (1, -1):
            moved = list(weights)
            moved[place] = weights[place] + sign * np.float32(1e-2) * direction
            ends.append(float(penalty(*moved)))
        expected = (ends[0] - ends[1]) / 2e-2
        assert np.sum(gradient * direction) == pytest.approx(expected, rel=0.02, abs=0.02)


def test_the_summed_form_can_be_removed_without_changing_a_probability():
    """Why the cheap form says little: every logit minus the mean of all."""
    model, x = network(2), np.random.default_rng(2).uniform(size=(3, 3, 3, 2)).astype("float32")

    def centered(x):
        logits = model(x)
        return logits - keras.ops.mean(logits, axis=-1, keepdims=True)

    before, after = (
        keras.ops.convert_to_numpy(JacobianL1("summed")(f, x)) for f in (model, centered)
    )
    assert before.min() > 0.1
    assert after.max() < 1e-5
    full = keras.ops.convert_to_numpy(JacobianL1("full")(centered, x))
    assert full.min() > 0.1


def test_one_pass_for_all_classes():
    """The network runs forward once, however many classes there are."""
    calls = []

    def function(x):
        calls.append(x.shape)
        return keras.ops.matmul(x, np.ones((3, 7), "float32"))

    outputs, jacobian = input_jacobian(function, np.ones((5, 3), "float32"))
    assert calls == [(5, 3)]
    assert tuple(outputs.shape) == (5, 7)
    assert tuple(jacobian.shape) == (5, 7, 3)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="form must be one of"):
        JacobianL1("diagonal")
    with pytest.raises(ValueError, match="outputs must be one of"):
        JacobianL1("full", "loss")
    with pytest.raises(ValueError, match="always zero"):
        JacobianL1("summed", "probabilities")
