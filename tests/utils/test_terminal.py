"""Output where the terminal does not know every character, or takes none."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.integration


def test_output_in_another_encoding():
    """One process for all: the ℓ and ≥ of these texts are not in ASCII."""
    program = """
import contextlib
from training import __main__ as training
from zoo import cli
for arguments in (["--help"], ["evaluate", "--help"], ["info", "linf-dist-digits"],
                  ["card", "linf-dist-digits"], ["info", "ℓ∞"]):
    with contextlib.suppress(SystemExit):
        cli.main(arguments)
assert training.main(["ℓ∞"]) == 1
print("ℓ∞ is replaced")
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
    )
    assert done.returncode == 0, done.stderr
    assert b"?? is replaced" in done.stdout.replace(b"\r", b"")
    assert b"no recipe '\\u2113\\u221e'" in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no such device")
def test_output_that_cannot_be_written_is_one_error():
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "zoo", "list"], stdout=full, stderr=subprocess.PIPE
        )
    assert done.returncode == 1
    assert done.stderr.decode().splitlines() == ["error: [Errno 28] No space left on device"]
