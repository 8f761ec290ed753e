"""The exception of a command that fails after it has produced a part of its result."""

from typing import Any


class Unfinished(Exception):
    """Holds the part of a command's result that is complete; the command prints it.

    Args:
        result: the part of the result, in JSON's types.
        text: the same part as text.
        failure: the exception that is reported after the part has been printed.
    """

    def __init__(self, result: Any, text: str, failure: BaseException):
        super().__init__(text)
        self.result, self.text, self.failure = result, text, failure
