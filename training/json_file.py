"""Reading the JSON files of a run."""

import json


def read(path):
    """The content of a JSON file.

    Args:
        path: ``pathlib.Path`` of the file.

    Raises:
        OSError: if the file cannot be read.
        ValueError: naming the file, if it is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
