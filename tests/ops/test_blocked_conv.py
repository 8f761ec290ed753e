"""Convolutions in blocks of channels: the same sums, with fewer roundings than terms."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.ops.blocked_conv import blocked_conv, channel_blocks
from zoo.ops.float32 import UNIT_ROUNDOFF, sum_rounding
from zoo.ops.precision import double_precision


@given(window=st.integers(1, 49), channels=st.integers(1, 600))
def test_no_block_is_empty_and_a_product_is_rounded_at_most_as_often_as_in_one_sum(
    window, channels
):
    blocks, roundings = channel_blocks(window, channels)
    assert 1 <= blocks <= channels
    assert roundings <= window * channels


def test_graph_optimizers_add_the_blocks_in_pairs():
    """Added one by one to the first block, each of the others would be lost in rounding."""
    channels = 4096
    blocks, _ = channel_blocks(1, channels)
    x = np.zeros((1, 1, 1, channels), "float32")
    x[..., [channels * block // blocks for block in range(blocks)]] = 0.5626 * 2.0**-23
    x[..., 0] = 1.0
    images = keras.Input(x.shape[1:])
    layer = Convolution(np.ones((1, 1, channels, 1), "float32"), "valid")
    model = keras.Model(images, layer(images))
    model.compile(jit_compile=False)
    found = model.predict(x, verbose=0)
    assert abs(found.item() - x.sum(dtype="float64")) < 3.0 * UNIT_ROUNDOFF


class Convolution(keras.layers.Layer):
    def __init__(self, kernel, padding):
        super().__init__()
        self.kernel, self.padding = kernel, padding

    def call(self, inputs):
        return blocked_conv(inputs, self.kernel, (2, 1), self.padding)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("channels", [1, 5, 48])
def test_it_is_the_convolution(channels, padding, compiled):
    """Sums of one sign, where errors do not cancel; a compiler must not merge the blocks again."""
    random = np.random.default_rng(channels)
    x = random.uniform(0.5, 1, size=(2, 7, 6, channels)).astype("float32")
    kernel = random.uniform(0.5, 1, size=(3, 3, channels, 4)).astype("float32")
    layer = Convolution(kernel, padding)
    found = keras.ops.convert_to_numpy(layer(x))
    if compiled:
        images = keras.Input(x.shape[1:])
        model = keras.Model(images, layer(images))
        model.compile(jit_compile=True)
        found = model.predict(x, verbose=0)
    with double_precision():
        tensors = (keras.ops.convert_to_tensor(t, "float64") for t in (x, kernel))
        exact = keras.ops.conv(*tensors, (2, 1), padding, data_format="channels_last")
        exact = keras.ops.convert_to_numpy(exact)
    blocks, roundings = channel_blocks(9, channels)
    assert found.shape == exact.shape
    assert (np.abs(found - exact) <= sum_rounding(roundings) * exact).all()
    if channels == 48:
        assert blocks > 1
        assert roundings < 9 * channels / 3
