"""Standard JSON, which has no NaN and no infinity; Python's json module would write them."""

import json
import math
from typing import Any


def json_text(value: Any, **options: Any) -> str:
    """A value as JSON text.

    Args:
        value: nested dictionaries, lists, text and numbers; NaN and infinity become ``null``.
        options: options of :func:`json.dumps`.

    Examples:
        >>> from zoo.utils.json_text import json_text
        >>> json_text({"clean": float("nan"), "n": 0})
        '{"clean": null, "n": 0}'
    """
    return json.dumps(json_value(value), allow_nan=False, **options)


def json_value(value: Any) -> Any:
    """Replace every NaN and infinity in a value by None.

    Args:
        value: nested dictionaries, lists, text and numbers.

    Returns:
        A copy of the value, with lists in place of tuples.
    """
    if isinstance(value, dict):
        return {key: json_value(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_value(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
