"""An exception as one line."""

import pytest

from zoo.utils.first_line import first_line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("no"), "ValueError: no"),
        (OSError("\n  it failed  \nTraceback: much more"), "OSError: it failed"),
        (KeyError(), "KeyError"),
        (RuntimeError(" \n"), "RuntimeError"),
    ],
)
def test_type_and_first_line_of_the_message(error, line):
    assert first_line(error) == line
