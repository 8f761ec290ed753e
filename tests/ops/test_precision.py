"""The setting of float32 products, which the programs make and the library only checks."""

import keras
import pytest

from zoo.ops.precision import use_float32_products

BACKEND = keras.backend.backend()


@pytest.fixture
def fewer_bits():
    """The default of a GPU: products may be in TF32."""
    if BACKEND == "jax":
        import jax

        jax.config.update("jax_default_matmul_precision", None)
        yield lambda: jax.config.jax_default_matmul_precision in ("float32", "highest")
        jax.config.update("jax_default_matmul_precision", None)
    else:
        import tensorflow as tf

        before = tf.config.experimental.tensor_float_32_execution_enabled()
        tf.config.experimental.enable_tensor_float_32_execution(True)
        yield lambda: not tf.config.experimental.tensor_float_32_execution_enabled()
        tf.config.experimental.enable_tensor_float_32_execution(before)


def test_products_are_in_float32(fewer_bits):
    is_float32 = fewer_bits
    assert not is_float32()
    use_float32_products()
    assert is_float32()


def test_the_command_line_uses_float32(fewer_bits, tmp_path, capsys):
    from zoo.cli import main

    assert not fewer_bits()
    assert main(["certify", "linf-dist-digits", "--n", "2"]) == 0, capsys.readouterr().err
    assert fewer_bits()


def test_the_training_program_uses_float32(fewer_bits, tmp_path, capsys):
    from training.__main__ import main

    out = str(tmp_path / "run")
    assert main(["linf-dist-digits", "--epochs", "1", "--out", out, "--quiet"]) == 0
    assert fewer_bits()
