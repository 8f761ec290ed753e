"""Sums in blocks: the same product, with far fewer roundings than terms."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.ops.blocked_matmul import blocked_matmul, blocks_of
from zoo.ops.float32 import UNIT_ROUNDOFF, sum_rounding


def assert_within_its_bound(product, x, kernel):
    exact = x.astype("float64") @ kernel
    assert product.shape == exact.shape
    bound = sum_rounding(blocks_of(len(kernel))[1]) * (np.abs(x).astype("float64") @ np.abs(kernel))
    assert (np.abs(keras.ops.convert_to_numpy(product) - exact) <= bound).all()


@given(
    inputs=st.integers(1, 300),
    units=st.integers(1, 5),
    leading=st.sampled_from([(1,), (4,), (2, 3)]),
    seed=st.integers(0, 1000),
)
def test_it_is_the_product(inputs, units, leading, seed):
    random = np.random.default_rng(seed)
    x = random.normal(size=(*leading, inputs)).astype("float32")
    kernel = random.normal(size=(inputs, units)).astype("float32")
    assert_within_its_bound(blocked_matmul(x, kernel), x, kernel)


@pytest.mark.integration
@pytest.mark.parametrize("inputs", [784, 6272])
def test_wide_layers_round_little_even_compiled(inputs):
    """Sums of one sign, where errors do not cancel; a compiler must not merge the blocks again."""
    random = np.random.default_rng(0)
    kernel = random.uniform(0.5, 1, size=(inputs, 8)).astype("float32")
    x = random.uniform(0.5, 1, size=(16, inputs)).astype("float32")
    images = keras.Input((inputs,))
    model = keras.Model(images, Product(kernel)(images))
    model.compile(jit_compile=True)
    assert_within_its_bound(model.predict(x, verbose=0), x, kernel)
    assert blocks_of(inputs)[1] <= 42


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("inputs", [3072, 6272])
def test_graph_optimizers_add_the_blocks_in_pairs(inputs, compiled):
    """Added one by one to the first block, each of the others would be lost in rounding."""
    blocks, roundings = blocks_of(inputs)
    x = np.zeros((1, inputs), "float32")
    x[0, [inputs * block // blocks for block in range(blocks)]] = 0.5626 * 2.0**-23
    x[0, 0] = 1.0
    image, other = keras.Input((inputs,)), keras.Input((1,))
    product = Product(np.ones((inputs, 1), "float32"))(image)
    model = keras.Model([image, other], keras.layers.Add()([other, product]))
    model.compile(jit_compile=compiled)
    found = model.predict([x, np.zeros((1, 1), "float32")], verbose=0)
    error = abs(found.item() - x.sum(dtype="float64"))
    assert error <= sum_rounding(roundings) * x.sum(dtype="float64")
    assert error < 3.0 * UNIT_ROUNDOFF


@pytest.mark.parametrize("inputs", [64, 784, 3072])
def test_compilers_do_not_start_the_sum_of_a_block_with_another_block(inputs):
    x = np.full((1, inputs), 0.99 * UNIT_ROUNDOFF, "float32")
    x[0, 0] = 1.0
    kernel = np.ones((inputs, 8), "float32")
    images = keras.Input((inputs,))
    model = keras.Model(images, Product(kernel)(images))
    model.compile(jit_compile=True)
    assert_within_its_bound(model.predict(x, verbose=0), x, kernel)


class Product(keras.layers.Layer):
    def __init__(self, kernel):
        super().__init__()
        self.kernel = kernel

    def call(self, inputs):
        return blocked_matmul(inputs, self.kernel)
