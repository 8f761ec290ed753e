"""The three-term loss and the weight regularizer, from their definitions."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.losses.test_worst_case import LABELS, LOGITS, cross_entropy, per_image
from zoo.losses import ConfidenceGap, RowSumRegularizer
from zoo.ops import input_gradient

SCALES = st.floats(0.1, 3)


@given(LOGITS, LABELS, SCALES, SCALES, SCALES, st.floats(0, 2), st.floats(0, 2))
def test_loss_is_the_sum_of_its_terms(logits, labels, u, v, z, gamma, omega):
    u = u * np.array([1.0, 0.5, 2.0, 1.5], "float32")
    loss = ConfidenceGap(u, v, z, gamma, omega, reduction=None)
    logits64 = logits.astype("float64")
    exponentials = np.exp(z * logits64)
    own = exponentials[np.arange(len(labels)), labels]
    others = np.log1p(-own / exponentials.sum(axis=1)) / z
    expected = cross_entropy(u * logits, labels) + gamma * cross_entropy(v * logits, labels)
    found = per_image(loss, labels, logits)
    np.testing.assert_allclose(found, expected + omega * others, rtol=1e-3, atol=1e-3)


def test_third_term_stays_finite_and_goes_on_widening_the_gap():
    """Where the cross-entropies are zero already: logits of which softmax makes exactly one."""
    loss = ConfidenceGap(reduction=None)
    close, far = (
        per_image(loss, np.array([0]), np.array([[gap, 0.0]], "float32"))[0] for gap in (200, 300)
    )
    assert np.isfinite([close, far]).all()
    np.testing.assert_allclose(far - close, -10, rtol=1e-4)


def test_variables_are_trained():
    inputs = keras.Input((2,))
    layer = keras.layers.Dense(2, use_bias=False)
    model = keras.Model(inputs, layer(inputs))
    u = model.add_weight(name="u", shape=(2,), initializer="ones")
    v = model.add_weight(name="v", shape=(), initializer="ones")
    model.compile(keras.optimizers.SGD(0.5), ConfidenceGap(u, v))
    x = np.random.default_rng(0).normal(size=(32, 2))
    model.fit(x, (x[:, 0] > 0).astype(int), verbose=0)
    assert float(v) != 1
    assert (keras.ops.convert_to_numpy(u) != 1).all()
    config = model.loss.get_config()
    loaded = ConfidenceGap.from_config(config)
    assert loaded.get_config() == config
    labels, logits = np.array([0, 1]), np.array([[1.0, 0.0], [0.0, 3.0]], "float32")
    np.testing.assert_allclose(loaded(labels, logits), model.loss(labels, logits), rtol=1e-5)


@given(st.integers(0, 10_000), st.integers(1, 2), st.integers(1, 5), st.floats(0, 2))
def test_regularizer_is_the_excess_of_the_better_gram_matrix(seed, inputs, units, weight):
    kernel = np.random.default_rng(seed).normal(size=(2, 1, inputs, units))
    matrix = kernel.reshape(-1, units)
    excesses = [
        np.maximum(np.abs(gram).sum(axis=1) - 1, 0).sum()
        for gram in (matrix.T @ matrix, matrix @ matrix.T)
    ]
    found = float(RowSumRegularizer(weight)(kernel.astype("float32")))
    np.testing.assert_allclose(found, weight * min(excesses), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(40, 3), (3, 40)])
def test_lopsided_kernels_pay_for_their_smaller_gram_matrix(shape):
    kernel = np.random.default_rng(0).normal(size=shape)
    gram = kernel.T @ kernel if shape[1] < shape[0] else kernel @ kernel.T
    expected = np.maximum(np.abs(gram).sum(axis=1) - 1.0, 0.0).sum()
    found = float(RowSumRegularizer(1.0)(kernel.astype("float32")))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("change", [{"z": 0}, {"gamma": -1}, {"omega": -0.1}])
def test_bad_arguments_are_named(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        ConfidenceGap(**change)


def test_the_third_term_has_a_gradient_however_far_the_label_leads():
    """Otherwise a network whose logits grow without limit would no longer be trained by it."""
    loss = ConfidenceGap(np.ones(3, "float32"), 1.0)
    logits = np.array([[1e12, 0.0, 1.0]], "float32")
    gradient = input_gradient(lambda x: loss._log_others(np.array([0]), x), logits)
    gradient = keras.ops.convert_to_numpy(gradient)[0]
    np.testing.assert_allclose(gradient, [-1, 0.2689, 0.7311], atol=1e-3)
