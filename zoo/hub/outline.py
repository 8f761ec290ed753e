"""What a checkpoint's files and its entry in the catalog say about its model.

Nothing here imports Keras, which takes seconds, so a program can check its arguments at once.
"""

import dataclasses
import os
from typing import Any

from zoo import data
from zoo.certificates.pairs import PAIRS
from zoo.hub import catalog, download
from zoo.hub.checkpoint import read_config
from zoo.typing import Norm, Path


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outline:
    """A model before it is built; None stands for what its files do not say.

    Attributes:
        kind: name of the model's class.
        certificates: the (norm, method) pairs that a model of this class can have.
        image_shape: ``(height, width, channels)`` of an image.
        num_classes: number of classes.
    """

    kind: str
    certificates: tuple[tuple[Norm, str], ...] | None
    image_shape: tuple[int, ...] | None
    num_classes: int | None


def outline(name: Path) -> Outline:
    """Describe the model of a checkpoint; a checkpoint that is on the Hub alone is fetched.

    Args:
        name: as for :func:`zoo.load`.

    Raises:
        zoo.ZooError, TypeError, ValueError: as :func:`zoo.hub.fetch`, and if the folder holds no
            checkpoint.

    Examples:
        >>> from zoo.hub.outline import outline
        >>> found = outline("linf-dist-digits")
        >>> found.kind, found.image_shape, found.certificates[0]
        ('LinfDistNet', (8, 8, 1), ('linf', 'interval'))
    """
    dataset = None
    if not download.is_outside_catalog(name):
        dataset = data.DATASETS.get(catalog.info(os.fspath(name)).dataset)
    return outline_of(read_config(download.fetch(name, verify=not is_here(name))), dataset)


def outline_of(stored: dict[str, Any], dataset: data.Dataset | None = None) -> Outline:
    """Describe the model of a ``config.json``.

    Args:
        stored: the content of the file, as :func:`zoo.hub.checkpoint.read_config` returns it.
        dataset: the image set that the model was trained for, if it is known.
    """
    kind = stored["class"].rpartition(">")[2]
    arguments: dict[str, Any] = stored["config"]
    # A model that wraps a network of the zoo holds them among the arguments of that network.
    inner = arguments.get("network")
    sizes = {**inner, **arguments} if isinstance(inner, dict) else arguments
    shape, classes = sizes.get("image_shape"), sizes.get("num_classes")
    if dataset is not None:
        shape, classes = dataset.image_shape, dataset.num_classes
    return Outline(
        kind=kind,
        certificates=PAIRS.get(kind) if stored["class"].startswith("zoo>") else None,
        image_shape=tuple(shape) if isinstance(shape, (list, tuple)) else None,
        num_classes=classes if isinstance(classes, int) else None,
    )


def is_here(name: Path) -> bool:
    """Whether a checkpoint needs no download: it is a folder, or ships with zoo."""
    if download.is_outside_catalog(name):
        return download.hub_address(name) is None
    return catalog.info(os.fspath(name)).available == "here"
