"""What is said of images whose certification was not finished in time."""

import warnings

from zoo.typing import Array


def warn_of_unfinished(finished: Array | None, timeout: float | None) -> None:
    """Warn if the time was up before all images were finished.

    Args:
        finished: ``finished`` of a :class:`zoo.Certificate`.
        timeout: the seconds that were given.
    """
    if finished is None or finished.all():
        return
    left = int((~finished).sum())
    warnings.warn(
        f"the {timeout:g} seconds were up before {left} of {len(finished)} images were finished; "
        "their radii are those that were proved so far, 0 if none was",
        UserWarning,
        stacklevel=3,
    )
