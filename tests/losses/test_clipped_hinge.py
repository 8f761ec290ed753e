"""The clipped hinge."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from zoo.losses import ClippedHinge


@given(
    logits=arrays("float32", (6, 4), elements=st.floats(-5, 5, width=32)),
    labels=arrays("int64", 6, elements=st.integers(0, 3)),
    epsilon=st.floats(0.01, 2),
)
def test_is_the_worst_clipped_class(logits, labels, epsilon):
    loss = ClippedHinge(epsilon, reduction=None)
    expected = [
        max(np.clip((f[j] - f[y] + 2 * epsilon) / (2 * epsilon), 0, 1) for j in range(4) if j != y)
        for f, y in zip(logits.astype("float64"), labels, strict=True)
    ]
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(loss(labels, logits)), expected, rtol=1e-4, atol=1e-4
    )


def test_config_round_trip():
    loss = ClippedHinge(0.25)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert again.get_config() == loss.get_config()
    assert again.epsilon == 0.25


def test_bad_epsilon_is_named():
    with pytest.raises(ValueError, match="epsilon must be positive, got 0"):
        ClippedHinge(0)
