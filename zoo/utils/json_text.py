"""JSON as its standard has it: without NaN and without infinity, which Python would write."""

import json
import math
from typing import Any


def json_text(value: Any, **options: Any) -> str:
    """A value as JSON text.

    Args:
        value: of dictionaries, lists, text and numbers; NaN and infinity become ``null``.
        options: of :func:`json.dumps`.

    Example:

    >>> from zoo.utils.json_text import json_text
    >>> json_text({"clean": float("nan"), "n": 0})
    '{"clean": null, "n": 0}'
    """
    return json.dumps(json_value(value), allow_nan=False, **options)


def json_value(value: Any) -> Any:
    """The same value with None in place of every number that JSON does not have.

    Args:
        value: of dictionaries, lists, text and numbers.

    Returns:
        A copy, in which tuples are lists.
    """
    if isinstance(value, dict):
        return {key: json_value(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_value(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
