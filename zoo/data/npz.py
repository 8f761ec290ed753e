"""Image sets in ``.npz`` files, with arrays ``x_train``, ``y_train``, ``x_test``, ``y_test``."""

import pathlib
import zipfile
from collections.abc import Mapping

import numpy as np

from zoo.data.image_set import ImageSet

#: Names of the splits that a file can hold.
SPLITS = ("train", "validation", "test")


def load(path: pathlib.Path, split: str) -> ImageSet:
    """Read one split from a file.

    Args:
        path: path of the file.
        split: one of :data:`SPLITS`.

    Raises:
        ValueError: naming the file and what is wrong with its arrays.
    """
    try:
        arrays = np.load(path, allow_pickle=False)
        names = set(arrays.files)
    except (AttributeError, OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is no .npz file of arrays: {error}") from error
    with arrays:
        missing = {f"x_{split}", f"y_{split}"} - names
        if missing:
            raise ValueError(f"{path} lacks {', '.join(sorted(missing))}; it has {sorted(names)}")
        images, labels = arrays[f"x_{split}"], arrays[f"y_{split}"]
    if labels.dtype.kind not in "iu":
        raise ValueError(f"{path}: labels must be integers, got dtype {labels.dtype}")
    labels = labels.astype(np.int64)
    if images.ndim != 4 or labels.shape != images.shape[:1]:
        raise ValueError(
            f"{path}: expected images (n, height, width, channels) and labels (n,), "
            f"got {images.shape} and {labels.shape}"
        )
    return ImageSet(f"{path.stem}/{split}", images, labels, int(labels.max(initial=0)) + 1)


def save(path: pathlib.Path, splits: Mapping[str, ImageSet]) -> None:
    """Write splits into a file, completely or not at all.

    Args:
        path: path of the file.
        splits: dictionary from the name of a split to its images.
    """
    arrays = {}
    for split, part in splits.items():
        arrays[f"x_{split}"], arrays[f"y_{split}"] = part.images, part.labels
    partial = path.with_name(path.name + ".partial")
    with open(partial, "wb") as file:
        np.savez_compressed(file, **arrays)
    partial.replace(path)
