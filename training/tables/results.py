"""The measurements behind a table: a JSON file, one line for each entry."""

import json

import numpy as np

from zoo.utils import checks
from zoo.utils.json_text import json_text
from zoo.utils.whole_file import write_whole


def read(path):
    """The measurements so far, by name; none if there is no file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def fill(path, measurements, verbose=1):
    """Measure what has no result yet; each is kept as soon as it is there.

    Args:
        path: the JSON file.
        measurements: pairs ``(name, function)``; the function returns a dictionary ready for JSON.
        verbose: 1 shows the names.
    """
    for name, measure in measurements:
        if name in read(path):
            continue
        if verbose:
            print(name, flush=True)
        result = measure()
        # Read again: another process may have added its own meanwhile.
        found = {**read(path), name: result}
        lines = [f"{json_text(key)}: {json_text(value)}" for key, value in found.items()]
        write_whole(path, "{\n" + ",\n".join(lines) + "\n}\n")


def floats(images):
    """``(images in [0, 1], labels)`` of a :class:`zoo.data.ImageSet`, as arrays for ``fit``."""
    return checks.images(images.images, images.images.shape[1:]), images.labels


def spread(values):
    """``mean ± standard deviation`` over seeds, as text; None for no values."""
    if not values:
        return None
    values = np.asarray(values, float)
    return f"{values.mean():.2f} ± {values.std(ddof=1) if len(values) > 1 else 0:.2f}"
