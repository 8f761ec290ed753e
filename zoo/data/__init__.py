"""Image sets as arrays.

Each set is registered by a module of this package, which is found by its being here: see
:func:`zoo.data.registry.register`.
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

    ``"digits"`` ships with scikit-learn. The others come from tensorflow-datasets, which honours
    ``TFDS_DATA_DIR`` and downloads what is missing. A path to an ``.npz`` file with the arrays
    ``x_train``, ``y_train``, ``x_test``, ``y_test`` (see :func:`save`) needs neither.

    Args:
        name: a key of ``zoo.data.DATASETS``, or the path of an ``.npz`` file.
        split: ``"train"`` or ``"test"``, or another that the set has.

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
    """Raise, without loading anything, unless there may be such an image set.

    Args:
        name: as for :func:`load`.

    Raises:
        TypeError: if the name is neither text nor a path.
        ValueError: for an unknown set.
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
    """Write all splits of a named set to an ``.npz`` file, for machines without tensorflow.

    Args:
        path: of the file; written whole or not at all.
        name: a key of ``zoo.data.DATASETS``.

    Raises:
        OSError: if the file cannot be written; noticed before the set is loaded.
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
