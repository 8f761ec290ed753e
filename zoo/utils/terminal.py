"""Printing where the terminal does not know every character."""

import sys


def print_any_character() -> None:
    """Let standard output replace what its encoding lacks, such as the ℓ of a norm, by a mark.

    Otherwise Python ends the program with a ``UnicodeEncodeError``, as where output is piped on
    Windows. Standard error never does that.
    """
    # A program that calls this may have put another object, or None, in the place of its output.
    if reconfigure := getattr(sys.stdout, "reconfigure", None):
        reconfigure(errors="replace")
