"""The numbers of a checkpoint in the manifest, for tables whose rows are checkpoints."""

import numpy as np

from training import recipe as recipes

#: The keys of :func:`numbers`.
KEYS = (
    "clean",
    "certified",
    "attacked",
    "seconds per epoch",
    "hardware",
    "multiply-adds",
    "n",
    "measurements",
)


def numbers(record):
    """The numbers of a checkpoint, by the names that columns of tables use.

    Args:
        record: :class:`zoo.hub.records.Record`.

    Returns:
        Dictionary with the keys in :data:`KEYS`. ``certified`` is a dictionary from each budget to
        the highest certified accuracy of all methods, ``attacked`` one to the lowest accuracy under
        any attack. ``measurements`` has the numbers of images, and the attack, as in a result.
    """
    certified, attacked, strongest = {}, {}, {}
    for entry in record.metrics.certified:
        certified[entry.eps] = max(entry.accuracy, certified.get(entry.eps, 0.0))
    for entry in record.metrics.attacked:
        if entry.accuracy < attacked.get(entry.eps, np.inf):
            attacked[entry.eps], strongest[entry.eps] = entry.accuracy, entry
    return {
        "clean": record.metrics.clean,
        "certified": certified,
        "attacked": attacked,
        "seconds per epoch": record.training.seconds / record.training.epochs,
        "hardware": record.training.hardware,
        "multiply-adds": multiply_adds(recipes.load(record.training.recipe)["model"]),
        "n": record.metrics.n,
        "measurements": {
            "clean": {},
            "certified": {},
            "attacked": {
                "attack": " / ".join(sorted({entry.attack for entry in strongest.values()})),
                "images": min((entry.n for entry in strongest.values()), default=0),
            },
        },
    }


def multiply_adds(model):
    """Millions of multiply-adds per image in an ℓ∞-distance network.

    Each pair of an input and a unit of a layer counts as one multiply-add.

    Args:
        model: dictionary of the network's settings, with its ``class``, as in a recipe.
    """
    classes, width, depth = model["num_classes"], model["width"], model["depth"]
    sizes = [int(np.prod(model["image_shape"]))]
    if model["class"] == "LinfDistMLP":
        sizes += [width] * depth + [model.get("hidden_units", 512), classes]
    else:
        sizes += [width] * (depth - 1) + [classes]
    return round(sum(a * b for a, b in zip(sizes, sizes[1:], strict=False)) / 1e6, 2)
