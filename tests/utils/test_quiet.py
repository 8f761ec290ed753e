"""TensorFlow's start-up lines are hidden, and nothing else is."""

import os
import subprocess
import sys
import tempfile
import threading

import pytest

from zoo.utils.quiet import without_startup_lines

pytestmark = pytest.mark.integration

# As TensorFlow 2.18 to 2.21 write them.
STARTUP = [
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
    "I0000 00:00:1795679765.788227   26595 port.cc:153] oneDNN custom operations are on.",
    "2024-11-05 10:00:00.123456: I tensorflow/core/util/port.cc:153] oneDNN is on.",
    "To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow with "
    "the appropriate compiler flags.",
    "E0000 00:00:1795679772.633077   26595 cuda_platform.cc:52] failed call to cuInit: INTERNAL: "
    "CUDA error: Failed call to cuInit: UNKNOWN ERROR (303)",
    "E0000 00:00:1730800000.1   12 cuda_dnn.cc:8310] Unable to register cuDNN factory: Attempting "
    "to register factory for plugin cuDNN when one has already been registered",
    "W0000 00:00:1730800000.1  12 computation_placer.cc:177] computation placer already registered",
]
REAL = [
    "E0000 00:00:1795679772.633077   26595 cuda_platform.cc:52] failed call to cuInit: INTERNAL: "
    "CUDA error: Failed call to cuInit: CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
    "F0000 00:00:1795679772.633077   26595 cpu_feature_guard.cc:1] this machine lacks AVX",
    "W0000 00:00:1730800000.1   12 gpu_device.cc:1] Cannot dlopen some GPU libraries.",
    "Traceback (most recent call last):",
    "a line that mentions I0000 00:00:1 2 port.cc:1] somewhere",
]


@pytest.fixture(autouse=True)
def level(monkeypatch):
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)


def write(lines):
    """Write lines to the descriptor, as C++ does."""
    os.write(2, "".join(line + "\n" for line in lines).encode())


def test_start_up_lines_are_hidden_and_others_shown(capfd):
    with without_startup_lines():
        write([*STARTUP, *REAL])
    assert capfd.readouterr().err.splitlines() == REAL
    write(STARTUP)  # the descriptor is what it was
    assert capfd.readouterr().err.splitlines() == STARTUP


def test_all_lines_are_shown_with_an_exception(capfd):
    def fails():
        with without_startup_lines():
            write([*STARTUP, *REAL])
            raise ImportError

    with pytest.raises(ImportError):
        fails()
    assert capfd.readouterr().err.splitlines() == [*STARTUP, *REAL]


def test_all_lines_are_shown_to_those_who_ask_for_them(capfd, monkeypatch):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    with without_startup_lines():
        write(STARTUP)
    assert capfd.readouterr().err.splitlines() == STARTUP


def test_contexts_in_contexts_and_in_threads_leave_the_descriptor_as_it_was(capfd):
    def start():
        with without_startup_lines(), without_startup_lines():
            write([*STARTUP, REAL[0]])

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    write(["afterwards"])
    assert capfd.readouterr().err.splitlines() == [REAL[0]] * 8 + ["afterwards"]


def test_a_program_starts_without_a_line():
    program = """
import zoo
print(zoo.load("linf-dist-digits").certify(zoo.data.load("digits").images[:1]).radius)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout


def test_without_standard_error_nothing_is_redirected():
    program = """
import os
from zoo.utils.quiet import without_startup_lines
os.close(2)
with without_startup_lines():
    print("works")
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.stdout == "works\n"


def test_without_a_folder_for_temporary_files_nothing_is_hidden(capfd, monkeypatch):
    def full():
        raise FileNotFoundError("no usable temporary directory found")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with without_startup_lines():
        write(STARTUP)
    assert capfd.readouterr().err.splitlines() == STARTUP
