"""Image sets as arrays."""

import dataclasses
import os
import pathlib
import zipfile

import numpy as np

from zoo.utils.process import note_use
from zoo.utils.whole_file import require_writable

#: The sets by name: the tensorflow-datasets builder (None: embedded), image shape, classes.
DATASETS = {
    "digits": (None, (8, 8, 1), 10),
    "mnist": ("mnist", (28, 28, 1), 10),
    "fashion-mnist": ("fashion_mnist", (28, 28, 1), 10),
    "cifar10": ("cifar10", (32, 32, 3), 10),
    "svhn": ("svhn_cropped", (32, 32, 3), 10),
}

# The last images of scikit-learn's digits, in file order, are the test set.
_DIGITS_TEST = 500


@dataclasses.dataclass(frozen=True)
class ImageSet:
    """Images and labels.

    Attributes:
        name: of the set and split, for example ``"mnist/test"``.
        images: float32 or uint8 array ``(n, height, width, channels)``; floats lie in [0, 1].
        labels: int64 array ``(n,)``.
        num_classes: number of classes.
    """

    name: str
    images: np.ndarray
    labels: np.ndarray
    num_classes: int

    def __len__(self):
        return len(self.labels)

    def to_tf_data(self, batch_size, *, shuffle=False, seed=0):
        """The set as a batched ``tf.data.Dataset`` of (float images in [0, 1], labels)."""
        import tensorflow as tf

        from zoo.utils import checks

        images = checks.images(self.images, self.images.shape[1:])
        dataset = tf.data.Dataset.from_tensor_slices((images, self.labels))
        if shuffle:
            dataset = dataset.shuffle(len(self), seed=seed)
        return dataset.batch(batch_size).prefetch(tf.data.AUTOTUNE)

    def take(self, first, last=None):
        """The images ``first … last − 1``, or the first ``first`` of them."""
        chosen = slice(first) if last is None else slice(first, last)
        return dataclasses.replace(self, images=self.images[chosen], labels=self.labels[chosen])


def load(name, split="test"):
    """Load one split of an image set.

    ``"digits"`` ships with scikit-learn. The others come from tensorflow-datasets, which honours
    ``TFDS_DATA_DIR`` and downloads what is missing. A path to an ``.npz`` file with the arrays
    ``x_train``, ``y_train``, ``x_test``, ``y_test`` (see :func:`save`) needs neither.

    Args:
        name: a key of ``zoo.data.DATASETS``, or the path of an ``.npz`` file.
        split: ``"train"`` or ``"test"``.

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
    if split not in ("train", "test"):
        raise ValueError(f"split must be 'train' or 'test', got {split!r}")
    if str(name).endswith(".npz"):
        return _from_file(pathlib.Path(name), split)
    builder, _, classes = DATASETS[name]
    images, labels = _digits(split) if builder is None else _from_tfds(builder, split)
    return ImageSet(f"{name}/{split}", images, labels.astype(np.int64), classes)


def check(name):
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
            f"name must be that of an image set ({', '.join(DATASETS)}) or the path of an .npz "
            f"file, got {name!r}"
        )
    if str(name).endswith(".npz"):
        if not pathlib.Path(name).is_file():
            raise FileNotFoundError(f"no such data file: {name}")
    elif name not in DATASETS:
        raise ValueError(f"unknown image set {name!r}; known: {', '.join(DATASETS)}")


def save(path, name):
    """Write both splits of a named set to an ``.npz`` file, for machines without tensorflow.

    Args:
        path: of the file; written whole or not at all.
        name: a key of ``zoo.data.DATASETS``.

    Raises:
        OSError: if the file cannot be written; noticed before the set is loaded.
        ValueError, RuntimeError: as :func:`load`.
    """
    path = pathlib.Path(path)
    require_writable(path)
    arrays = {}
    for split in ("train", "test"):
        part = load(name, split)
        arrays[f"x_{split}"], arrays[f"y_{split}"] = part.images, part.labels
    partial = path.with_name(path.name + ".partial")
    with open(partial, "wb") as file:
        np.savez_compressed(file, **arrays)
    partial.replace(path)


def _digits(split):
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images = (images / 16.0).astype(np.float32).reshape(-1, 8, 8, 1)
    chosen = slice(-_DIGITS_TEST, None) if split == "test" else slice(-_DIGITS_TEST)
    return images[chosen], labels[chosen]


def _from_tfds(builder, split):
    note_use("tensorflow")
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise RuntimeError(
            f"{builder} comes from tensorflow-datasets, which is not installed; install it, or "
            "pass the path of an .npz file"
        ) from error
    try:
        return tfds.as_numpy(tfds.load(builder, split=split, batch_size=-1, as_supervised=True))
    except Exception as error:
        raise RuntimeError(
            f"{builder} is not in the data folder and could not be downloaded "
            f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason'})"
            "; set TFDS_DATA_DIR to a folder that has it, or pass the path of an .npz file"
        ) from error


def _from_file(path, split):
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
