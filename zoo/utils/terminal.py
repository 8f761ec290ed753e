"""Printing to terminals whose encoding lacks some characters."""

import sys


def printable(line: str) -> str:
    """Text with ``?`` for all control characters but tabs: a terminal may take them for commands.

    Examples:
        >>> from zoo.utils.terminal import printable
        >>> printable("mit\\x1b[31m")
        'mit?[31m'
    """
    return "".join(c if c.isprintable() or c == "\t" else "?" for c in line)


def print_any_character() -> None:
    """Make standard output print ``?`` for a character that its encoding lacks, such as ℓ.

    Otherwise Python raises a ``UnicodeEncodeError``, for example when the output is piped on
    Windows. Standard error already replaces such characters.
    """
    # The calling program may have replaced sys.stdout by another object or by None.
    if reconfigure := getattr(sys.stdout, "reconfigure", None):
        reconfigure(errors="replace")
