"""TF32, the default of a GPU: certificates refuse it, and the programs turn it off."""

import pytest

import zoo
from tests.backend import BACKEND
from zoo import data
from zoo.cli import main
from zoo.models import base

SETTINGS = {"eps": (0.1,), "norm": "linf", "attacks": ("fgsm",)}


@pytest.fixture
def is_float32():
    """The default of a GPU, and a function that tells whether the setting has been changed."""
    if BACKEND == "jax":
        import jax

        before = jax.config.jax_default_matmul_precision
        jax.config.update("jax_default_matmul_precision", None)
        yield lambda: jax.config.jax_default_matmul_precision in ("float32", "highest")
        jax.config.update("jax_default_matmul_precision", before)
    else:
        import tensorflow as tf

        config = tf.config.experimental
        before = config.tensor_float_32_execution_enabled()
        config.enable_tensor_float_32_execution(True)
        yield lambda: not config.tensor_float_32_execution_enabled()
        config.enable_tensor_float_32_execution(before)


@pytest.fixture
def certified_in_float32(monkeypatch, is_float32):
    """Whether products were in float32 at each moment when a model was about to certify."""
    found = []
    check = base.require_float32

    def watched(model):
        found.append(is_float32())
        return check(model)

    monkeypatch.setattr(base, "require_float32", watched)
    return found


def test_the_function_changes_the_setting(is_float32):
    assert not is_float32()
    zoo.ops.use_float32_products()
    assert is_float32()


def test_the_library_leaves_the_setting_alone(digits_model, certified_in_float32):
    digits_model.certify(data.load("digits", "test").images[:2])
    assert certified_in_float32
    assert not any(certified_in_float32)


@pytest.mark.integration
@pytest.mark.parametrize("command", ["certify", "evaluate"])
def test_the_commands_certify_in_float32(certified_in_float32, capsys, command):
    assert main([command, "linf-dist-digits", "--n", "2", "--quiet"]) == 0, capsys.readouterr().err
    assert certified_in_float32
    assert all(certified_in_float32)


def test_the_audit_certifies_in_float32(certified_in_float32):
    from zoo.hub import audit

    folder = str(zoo.hub.catalog.WEIGHTS / "linf-dist-digits")
    audit.measure({"folder": folder, "golden": None, "data": None})
    assert certified_in_float32
    assert all(certified_in_float32)


def test_a_worker_certifies_in_float32(digits_model, certified_in_float32):
    from zoo.evaluation import scale_out

    images = data.load("digits", "test").take(2)
    files = scale_out._packed(digits_model)
    layers = scale_out._layer_settings()
    scale_out._measured(files, layers, images.images, images.labels, 0, SETTINGS)
    assert certified_in_float32
    assert all(certified_in_float32)
