"""What a command has to show when it fails half-way."""

from typing import Any


class Unfinished(Exception):
    """Holds what was measured before something failed.

    Args:
        result: what there is of the command's result, in JSON's types.
        text: the same as text.
        failure: the exception that is reported after the result has been printed.
    """

    def __init__(self, result: Any, text: str, failure: BaseException):
        super().__init__(text)
        self.result, self.text, self.failure = result, text, failure
