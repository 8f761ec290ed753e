"""Image sets as arrays.

Importing this package imports all of its modules, and a module that describes an image set
registers it with :func:`zoo.data.registry.register`. To add a set, add a module.
"""

import importlib
import os
import pathlib
import pkgutil

import numpy as np

from zoo.data import npz
from zoo.data.image_set import ImageSet
from zoo.data.registry import DATASETS, Dataset, known_names, register
from zoo.data.tfds import from_tfds
from zoo.utils.whole_file import require_writable

__all__ = ["DATASETS", "Dataset", "ImageSet", "check", "load", "register", "save"]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")


def load(name: str | os.PathLike[str], split: str = "test") -> ImageSet:
    """Load one split of an image set.

    ``"digits"`` ships with scikit-learn. The other sets come from tensorflow-datasets, which reads
    them from ``TFDS_DATA_DIR`` and downloads a set that is missing. An ``.npz`` file with the
    arrays ``x_train``, ``y_train``, ``x_test``, ``y_test`` (see :func:`save`) needs neither
    library.

    Args:
        name: a key of ``zoo.data.DATASETS``, or the path of an ``.npz`` file.
        split: ``"train"``, ``"test"``, or another split that the set has.

    Returns:
        :class:`ImageSet`.

    Raises:
        TypeError: if the name is neither text nor a path.
        ValueError: for an unknown set or split, or a file without the arrays.
        FileNotFoundError: if the file does not exist.
        RuntimeError: if the set is not on this machine and cannot be downloaded.

    Example:

    >>> import zoo
    >>> zoo.data.load("digits", "test").images.shape
    (500, 8, 8, 1)
    """
    check(name)
    if str(name).endswith(".npz"):
        _require_split(split, npz.SPLITS)
        return npz.load(pathlib.Path(name), split)
    dataset = DATASETS[str(name)]
    _require_split(split, dataset.splits)
    if dataset.load is not None:
        images, labels = dataset.load(split)
    else:
        images, labels = from_tfds(str(dataset.builder), split)
    if images.shape != (len(labels), *dataset.image_shape):
        raise ValueError(
            f"{name}/{split}: expected images {('n', *dataset.image_shape)} and labels ('n',), "
            f"got {images.shape} and {labels.shape}"
        )
    return ImageSet(f"{name}/{split}", images, labels.astype(np.int64), dataset.num_classes)


def check(name: str | os.PathLike[str]) -> None:
    """Raise if there is no image set of this name; nothing is loaded.

    Args:
        name: as for :func:`load`.

    Raises:
        TypeError: if the name is neither text nor a path.
        ValueError: if the set is unknown.
        FileNotFoundError: if the file does not exist.
    """
    if not isinstance(name, (str, os.PathLike)):
        raise TypeError(
            f"name must be that of an image set ({', '.join(known_names())}) or the path of an "
            f".npz file, got {name!r}"
        )
    if str(name).endswith(".npz"):
        if not pathlib.Path(name).is_file():
            raise FileNotFoundError(f"no such data file: {name}")
    elif name not in DATASETS:
        raise ValueError(f"unknown image set {name!r}; known: {', '.join(known_names())}")


def save(path: str | os.PathLike[str], name: str) -> None:
    """Write all splits of a named set to an ``.npz`` file, for machines without TensorFlow.

    Args:
        path: path of the file, which is written completely or not at all.
        name: a key of ``zoo.data.DATASETS``.

    Raises:
        OSError: if the file cannot be written. This is checked before the set is loaded.
        ValueError, RuntimeError: as :func:`load`.
    """
    path = pathlib.Path(path)
    require_writable(path)
    check(name)
    splits = DATASETS[name].splits if name in DATASETS else ("train", "test")
    npz.save(path, {split: load(name, split) for split in splits})


def _require_split(split: str, known: tuple[str, ...]) -> None:
    if split not in known:
        choice = " or ".join([", ".join(map(repr, known[:-1])), repr(known[-1])])
        raise ValueError(f"split must be {choice}, got {split!r}")
