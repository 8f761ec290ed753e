"""Hide the lines that TensorFlow writes to standard error whenever it starts.

TensorFlow writes them from C++ to the file descriptor, some of them before any setting of a log
level takes effect. So the descriptor is redirected while TensorFlow starts, and what is no start-up
line is written to standard error afterwards.
"""

import contextlib
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator

# A line of TensorFlow's log begins with its level, I for information, W, E or F, in one of two
# formats: "I0000 00:00:1730.5  123 file.cc:1] text" or "2024-11-05 10:00:00.5: I file.cc:1] text".
_LINE = r"(?:{level}\d{{4}} [\d:.]+ +\d+ |\d{{4}}-\d\d-\d\d [\d:.]+: {level} )[\w./+-]+:\d+\] "
_STARTUP = re.compile(
    "|".join(
        [
            _LINE.format(level="I"),
            # These do not matter on a machine without a GPU, and mean nothing on one with a GPU
            # that works.
            _LINE.format(level="W") + ".*computation placer already registered",
            _LINE.format(level="E") + ".*Unable to register cu(?:FFT|DNN|BLAS) factory",
            _LINE.format(level="E") + r".*failed call to cuInit.*(?:\(303\)|NO_DEVICE|no CUDA)",
            "WARNING: All log messages before absl::InitializeLog",
            "To enable the following instructions: .* rebuild TensorFlow",
        ]
    )
)

# The descriptor belongs to the process, so that one thread at a time may redirect it.
_lock = threading.RLock()
_redirected = False


@contextlib.contextmanager
def without_startup_lines() -> Iterator[None]:
    """A context in which TensorFlow can start without writing its usual lines.

    Other lines are written to standard error when the context ends. All lines are, if the context
    ends with an exception. Nothing is hidden if the environment variable ``TF_CPP_MIN_LOG_LEVEL``
    is ``"0"``, which asks TensorFlow for every message.

    Examples:
        >>> from zoo.utils.quiet import without_startup_lines
        >>> with without_startup_lines():
        ...     import tensorflow
    """
    global _redirected
    with _lock:
        if _redirected or os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0":
            yield
            return
        original = None
        try:
            _flush()
            original = os.dup(2)
            written = tempfile.TemporaryFile()  # noqa: SIM115  it is closed by the next `with`
        except OSError:  # there is no standard error, or no folder for temporary files
            if original is not None:
                os.close(original)
            yield
            return
        _redirected = True
        hidden = re.compile(r"(?!)")
        with written:
            try:
                os.dup2(written.fileno(), 2)
                yield
                hidden = _STARTUP
            finally:
                _flush()
                os.dup2(original, 2)
                os.close(original)
                _redirected = False
                written.seek(0)
                for line in written:
                    if not hidden.match(line.decode(errors="replace")):
                        os.write(2, line)


def _flush() -> None:
    if sys.stderr is not None:
        sys.stderr.flush()
