"""An interruption by Ctrl-C reaches the command, whatever code it meets first."""

import _thread
import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import Any

# Seconds until a lost interruption is repeated: by then Python has left the callback that lost it.
_DELAY = 0.05


@contextlib.contextmanager
def repeating_lost_interruptions() -> Iterator[None]:
    """Repeat an interruption that Python could only report.

    Python raises ``KeyboardInterrupt`` in whatever code runs at that moment. If this is a callback
    of the garbage collector, such as that of JAX, which TensorFlow imports, or a destructor, then
    Python ignores the exception, and the program would go on.
    """
    before = sys.unraisablehook
    timers: list[threading.Timer] = []

    def hook(lost: Any) -> None:
        if not issubclass(lost.exc_type, KeyboardInterrupt):
            return before(lost)
        timers.append(threading.Timer(_DELAY, _thread.interrupt_main))
        return timers[-1].start()

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before
        waiting = any(timer.is_alive() for timer in timers)
        for timer in timers:
            timer.cancel()
    if waiting:
        raise KeyboardInterrupt
