"""Image sets in ``.npz`` files, with arrays ``x_train``, ``y_train``, ``x_test``, ``y_test``."""

import pathlib
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from zoo.data.image_set import ImageSet
from zoo.utils.whole_file import whole_file

#: Names of the splits that a file can hold.
SPLITS = ("train", "validation", "test")

# Names of the arrays of images and labels in files of other origin; the first are our own.
_NAMES = (
    ("x_{split}", "y_{split}"),
    ("{split}_images", "{split}_labels"),
    ("x", "y"),
    ("images", "labels"),
)


def load(path: pathlib.Path, split: str) -> ImageSet:
    """Read one split from a file.

    Images without an axis of channels are gray. A file need not have labels. Instead of ``x_test``
    and ``y_test``, the arrays may be called ``test_images`` and ``test_labels``; and in a file of
    one split, ``x`` and ``y``, or ``images`` and ``labels``. Labels are integers, ``(n,)`` or
    ``(n, 1)``, or one-hot rows.

    Args:
        path: path of the file.
        split: one of :data:`SPLITS`.

    Raises:
        ValueError: naming the file and what is wrong with its arrays.
    """
    from zoo.utils.inputs import class_numbers  # which imports this package

    pairs = [tuple(name.format(split=split) for name in pair) for pair in _NAMES]
    with _opened(path) as arrays:
        names = set(arrays.files)
        found = next((pair for pair in pairs if pair[0] in names), None)
        if found is None:
            raise ValueError(
                f"{path} lacks {pairs[0][0]}; it has {sorted(names)}; images may also be called "
                f"{' or '.join(images for images, _ in pairs[1:])}"
            )
        try:
            images = arrays[found[0]]
            labels = arrays[found[1]] if found[1] in names else None
        except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"{path} cannot be read: {error}") from error
    images = images[..., None] if images.ndim == 3 else images
    # One-hot rows tell how many classes there are, even if the last ones have no image.
    classes = labels.shape[1] if labels is not None and labels.ndim == 2 else 0
    if labels is not None and labels.dtype.kind in "fiub":
        try:
            labels = class_numbers(labels, classes, "labels")
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    if images.ndim != 4 or (labels is not None and labels.shape != images.shape[:1]):
        raise ValueError(
            f"{path}: expected images (n, height, width, channels) and labels (n,), "
            f"got {images.shape} and {None if labels is None else labels.shape}"
        )
    if labels is None:
        return ImageSet(f"{path.stem}/{split}", images, None, 0)
    if labels.dtype.kind not in "iu":
        raise ValueError(f"{path}: labels must be integers, got dtype {labels.dtype}")
    labels = labels.astype(np.int64)
    classes = max(classes, int(labels.max(initial=0)) + 1)
    return ImageSet(f"{path.stem}/{split}", images, labels, classes)


def has_split(path: pathlib.Path, split: str) -> bool:
    """Whether a file has arrays for this split, and not just one pair of arrays for any.

    Raises:
        ValueError: if it is no ``.npz`` file.
    """
    with _opened(path) as arrays:
        return any(pair[0].format(split=split) in arrays for pair in _NAMES if "{" in pair[0])


def save(path: pathlib.Path, splits: Mapping[str, ImageSet]) -> None:
    """Write splits into a file, completely or not at all.

    Args:
        path: path of the file.
        splits: dictionary from the name of a split to its images.
    """
    arrays = {}
    for split, part in splits.items():
        arrays[f"x_{split}"], arrays[f"y_{split}"] = part.images, part.required_labels()
    with whole_file(path) as file:
        np.savez_compressed(file, **arrays)


def _opened(path: pathlib.Path) -> Any:
    try:
        arrays = np.load(path, allow_pickle=False)
        arrays.files  # noqa: B018  an .npy file has no names
    except (AttributeError, OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        # NumPy takes any file that it does not know for a pickle, and advises to load that.
        reason = "it is damaged, or another kind of file" if "pickle" in str(error) else error
        raise ValueError(f"{path} is no .npz file of arrays: {reason}") from error
    return arrays
