"""Backends: those that zoo works on, and what must not make them wait for ever."""

import os
import subprocess
import sys

import pytest

from tests.backend import BACKEND
from zoo.utils.backend import backend_name

pytestmark = pytest.mark.integration


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cannot choose processors here")
@pytest.mark.timeout(300)
def test_jax_does_not_hang_on_a_single_core():
    """A callback and XLA must not wait for each other when there is one thread."""
    pytest.importorskip("jax")
    program = """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import numpy as np, zoo
model = zoo.models.LinfDistNet((28, 28, 1), 10, width=256, depth=2)
x = np.random.default_rng(0).uniform(size=(128, 28, 28, 1)).astype("float32")
print(len(model.certify(x, method="lipschitz")))
model.compile()
model.fit(x, np.zeros(128, int), verbose=0)
"""
    run = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert run.returncode == 0, run.stderr


def test_the_tests_know_the_backend_before_keras_is_imported():
    import keras

    assert keras.backend.backend() == BACKEND


def run(program, **environment):
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_an_unsupported_backend_is_named():
    program = """
import zoo
from zoo.ops.host_call import host_call, on_cpu
for call in (lambda: zoo.load("linf-dist-digits"), on_cpu, lambda: host_call(abs, [], [])):
    try:
        call()
    except NotImplementedError as error:
        assert "tensorflow and jax, not with 'numpy'" in str(error), error
    else:
        raise AssertionError("not refused")
"""
    done = run(program, KERAS_BACKEND="numpy")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["openvino", "none-such"])
def test_a_backend_that_is_not_installed_is_named(name):
    """Keras cannot even be imported then."""
    program = "import sys, zoo; sys.modules['openvino'] = None; zoo.load('linf-dist-digits')"
    last = run(program, KERAS_BACKEND=name).stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: Keras cannot be imported")
    assert name in last
    assert "zoo works with the Keras backends tensorflow and jax" in last


_FORK = """
import os, sys, types
import keras, numpy as np
import zoo
from zoo.utils.process import require_own_process

def exit_code_of_a_fork(call):
    child = os.fork()
    if not child:
        try:
            call()
        except RuntimeError as error:
            os._exit(1 if "spawn" in str(error) else 2)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

assert exit_code_of_a_fork(require_own_process) == 0  # nothing has been used yet
# A set from tensorflow-datasets is loaded by TensorFlow, which may be the backend.
sys.modules["tensorflow_datasets"] = types.SimpleNamespace(
    load=lambda *args, **options: (np.zeros((1, 28, 28, 1), "uint8"), np.zeros(1, int)),
    as_numpy=lambda arrays: arrays,
)
zoo.data.load("mnist")
refused = keras.backend.backend() == "tensorflow"
assert exit_code_of_a_fork(require_own_process) == refused
zoo.load("lc-lmt-digits")
zoo.load("lc-lmt-digits")
assert exit_code_of_a_fork(lambda: zoo.load("lc-lmt-digits")) == 1
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_process_forked_after_the_backend_was_used_is_refused():
    done = run(_FORK)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("variable", "file", "expected"),
    [
        ("jax", None, "jax"),
        ("", '{"backend": "jax"}', "jax"),
        ("", '{"floatx": "float32"}', "tensorflow"),
        ("", "no JSON", "tensorflow"),
        ("", None, "tensorflow"),
    ],
)
def test_the_backend_is_known_before_keras_is_imported(
    monkeypatch, tmp_path, variable, file, expected
):
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.setenv("KERAS_BACKEND", variable)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    if file is not None:
        (tmp_path / "keras.json").write_text(file)
    assert backend_name() == expected


@pytest.mark.skipif(BACKEND == "jax", reason="about TensorFlow's devices")
def test_devices_can_be_set_up_after_true_float32_was_chosen():
    program = """
import zoo
zoo.ops.use_float32_products()
import tensorflow as tf
(cpu,) = tf.config.list_physical_devices("CPU")
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(cpu, two)
assert len(tf.config.list_logical_devices("CPU")) == 2
"""
    found = run(program)
    assert found.returncode == 0, found.stderr
