"""Arithmetic in fewer bits than float32 has is found out, and refused by name."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import zoo
from tests.backend import BACKEND
from zoo.ops import arithmetic
from zoo.ops.precision import double_precision


@pytest.fixture(autouse=True)
def _fresh_probes():
    """Probes are kept, with the operations that a test may have replaced."""
    arithmetic._probes.cache_clear()
    yield
    arithmetic._probes.cache_clear()


def rounded(array, bits):
    """A float32 array with that many bits of mantissa, the leading one included."""
    mantissa, exponent = np.frexp(np.asarray(array, np.float64))
    return np.ldexp(np.round(mantissa * 2.0**bits) / 2.0**bits, exponent).astype(np.float32)


@pytest.mark.parametrize("bits", [8, 11])  # bfloat16; TF32 and float16
@pytest.mark.parametrize("name", ["matmul", "conv"])
def test_products_of_rounded_operands_are_refused(monkeypatch, name, bits):
    exact = getattr(keras.ops, name)

    def coarse(x, w, *args, **kwargs):
        x, w = (rounded(keras.ops.convert_to_numpy(a), bits) for a in (x, w))
        return exact(x, w, *args, **kwargs)

    monkeypatch.setattr(arithmetic.ops, name, coarse)
    with pytest.raises(ValueError, match="needs float32.*eagerly is wrong by"):
        arithmetic.require_exact_arithmetic()


def test_three_products_in_bfloat16_are_refused(monkeypatch):
    """As JAX's BF16_BF16_F32_X3: all but the smallest products of two halves each."""
    exact = keras.ops.matmul

    def split(x, w):
        (a, b), (c, d) = (
            (rounded(v, 8), rounded(v - rounded(v, 8), 8))
            for v in map(keras.ops.convert_to_numpy, (x, w))
        )
        return exact(a, c) + exact(a, d) + exact(b, c)

    monkeypatch.setattr(arithmetic.ops, "matmul", split)
    with pytest.raises(ValueError, match="matrix product that is executed eagerly"):
        arithmetic.require_exact_arithmetic()


def test_convolutions_by_fourier_transform_are_refused(monkeypatch):
    def by_transform(images, kernel, **_):
        images, kernel = (np.asarray(a, np.float32) for a in (images, kernel))
        size, side = kernel.shape[0], images.shape[1]
        shape = (side + size, side + size)
        spectrum = np.fft.rfft2(images, shape, axes=(1, 2)).astype(np.complex64)
        filters = np.fft.rfft2(kernel[::-1, ::-1], shape, axes=(0, 1)).astype(np.complex64)
        product = np.einsum("byxc,yxco->byxo", spectrum, filters)
        whole = np.fft.irfft2(product, shape, axes=(1, 2)).astype(np.float32)
        return whole[:, size - 1 : side, size - 1 : side]

    monkeypatch.setattr(arithmetic.ops, "conv", by_transform)
    with pytest.raises(ValueError, match="convolution that is executed eagerly"):
        arithmetic.require_exact_arithmetic()


def test_float32_passes():
    arithmetic.require_exact_arithmetic()


@pytest.mark.skipif(BACKEND != "tensorflow", reason="a setting of TensorFlow")
def test_tensorflows_graph_optimiser_is_found_out(digits):
    import tensorflow as tf

    model, x = zoo.load("double-backprop-digits"), digits.images[:4]
    certificate = model.certify(x)
    before = tf.config.optimizer.get_experimental_options()
    tf.config.optimizer.set_experimental_options({"auto_mixed_precision_onednn_bfloat16": True})
    try:
        random = np.random.default_rng(0).uniform(1, 2, size=(64, 64)).astype("float32")
        product = tf.function(tf.matmul)(random, random).numpy()
        if np.abs(product / (random @ random) - 1).max() < 1e-4:
            pytest.skip("this processor has no bfloat16")
        with pytest.raises(ValueError, match="auto_mixed_precision_onednn_bfloat16 = True"):
            model.certify(x)
        with pytest.raises(ValueError, match="auto_mixed_precision_onednn_bfloat16 = True"):
            zoo.load("lc-lmt-digits").logit_certificate()
    finally:
        tf.config.optimizer.set_experimental_options(
            {**dict.fromkeys(["auto_mixed_precision_onednn_bfloat16"], False), **before}
        )
    np.testing.assert_array_equal(model.certify(x).radius, certificate.radius)


@pytest.mark.skipif(BACKEND != "jax", reason="a setting of JAX")
@pytest.mark.parametrize("precision", ["BF16_BF16_F32", "bfloat16", "tensorfloat32"])
def test_the_certificates_own_products_are_in_float64(precision):
    import jax

    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, 64, 64))
    before = jax.config.jax_default_matmul_precision
    jax.config.update("jax_default_matmul_precision", precision)
    try:
        with double_precision():
            product = keras.ops.convert_to_numpy(keras.ops.matmul(a, b))
    finally:
        jax.config.update("jax_default_matmul_precision", before)
    np.testing.assert_allclose(product, a @ b, rtol=1e-12, atol=1e-12)


CHECK = """
import json, numpy as np
from zoo.ops.arithmetic import require_exact_arithmetic
import keras
a = np.random.default_rng(0).uniform(1, 2, size=(64, 64)).astype("float32")
exact = a.astype("float64") @ a
products = [keras.ops.convert_to_numpy(keras.ops.matmul(a, a))]
error = max(float(np.abs(p / exact - 1).max()) for p in products)
try:
    require_exact_arithmetic()
    refused = ""
except ValueError as why:
    refused = str(why)
print(json.dumps([error, refused]))
"""


@pytest.mark.integration
@pytest.mark.skipif(BACKEND != "tensorflow", reason="a library of TensorFlow")
def test_onednns_math_mode_is_found_out_where_it_matters():
    done = subprocess.run(
        [sys.executable, "-c", CHECK],
        env={
            **os.environ,
            "ONEDNN_DEFAULT_FPMATH_MODE": "BF16",
            "TF_SET_ONEDNN_FPMATH_MODE": "BF16",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    error, refused = json.loads(done.stdout.splitlines()[-1])
    if error < 1e-4:
        assert "matrix product that is executed eagerly" not in refused
    else:
        assert "ONEDNN_DEFAULT_FPMATH_MODE = BF16" in refused


@pytest.mark.skipif(BACKEND != "tensorflow", reason="errors of TensorFlow")
def test_a_compiler_that_failed_once_is_tried_again(monkeypatch):
    """As XLA, which cannot compile while TensorFlow checks every tensor for NaN."""
    import tensorflow as tf

    works = False

    def by(function):
        def run(*operands):
            if not works:
                raise tf.errors.UnimplementedError(None, None, "not now")
            return [2.0 * result for result in function(*operands)]

        return run

    monkeypatch.setattr(arithmetic, "_checked", set())
    monkeypatch.setattr(arithmetic, "_compilers", lambda: {"by a wrong compiler": by})
    arithmetic.require_exact_arithmetic()
    works = True
    with pytest.raises(ValueError, match="executed by a wrong compiler is wrong"):
        arithmetic.require_exact_arithmetic()


@pytest.mark.skipif(BACKEND != "tensorflow", reason="a switch of TensorFlow")
def test_functions_that_run_eagerly_say_nothing_of_compiled_ones():
    import tensorflow as tf

    before = arithmetic.settings_of_backend()
    tf.config.run_functions_eagerly(True)
    try:
        assert arithmetic.settings_of_backend() != before
    finally:
        tf.config.run_functions_eagerly(False)
    assert arithmetic.settings_of_backend() == before
