"""Standard output that only this program writes to."""

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def foreign_output_to_stderr() -> Iterator[None]:
    """A context in which whatever libraries print to standard output goes to standard error.

    HiGHS 1.12 prints lines that no option switches off, which would stand before the command's
    JSON. They are written in C, so that :func:`contextlib.redirect_stdout` does not reach them.
    """
    if sys.stdout is None or sys.stderr is None:  # a file may have the descriptor by now
        yield
        return
    kept = None
    sys.stdout.flush()
    try:
        kept = os.dup(1)
        os.dup2(2, 1)
    except OSError:  # one of the two was closed while the program ran
        if kept is not None:
            os.close(kept)
        yield
        return
    try:
        yield
    finally:
        with contextlib.suppress(OSError, AttributeError, TypeError):
            ctypes.CDLL(None).fflush(None)  # C keeps what it printed in a buffer of its own
        os.dup2(kept, 1)
        os.close(kept)
