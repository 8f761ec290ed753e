"""The training programs turn off TF32, because a validation certifies."""

import pytest

from training import __main__ as program
from training.tables import __main__ as tables
from training.tables import results


class Begun(RuntimeError):
    """Stops a program when it begins to train."""


@pytest.fixture
def at_the_start(monkeypatch):
    """Whether TF32 was on when the training began."""
    import tensorflow as tf

    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(True)
    found = []

    def begin(*args, **options):
        found.append(tf.config.experimental.tensor_float_32_execution_enabled())
        raise Begun

    monkeypatch.setattr("training.run.train", begin)
    monkeypatch.setattr(results, "fill", begin)
    yield found
    tf.config.experimental.enable_tensor_float_32_execution(before)


@pytest.mark.parametrize(
    ("main", "arguments"),
    [(program.main, ["linf-dist-digits"]), (tables.main, ["double-backprop", "--train"])],
)
def test_training_begins_without_tf32(at_the_start, capsys, main, arguments):
    assert main(arguments) == 1
    assert at_the_start == [False]
