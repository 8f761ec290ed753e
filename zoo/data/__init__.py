"""Image sets as arrays.

Importing this package imports all of its modules, and a module that describes an image set
registers it with :func:`zoo.data.registry.register`. To add a set, add a module.
"""

import importlib
import os
import pathlib
import pkgutil
from collections.abc import Sequence

import numpy as np

from zoo.data import image_files, npz
from zoo.data.image_set import ImageSet
from zoo.data.registry import DATASETS, Dataset, known_names, register
from zoo.data.tfds import from_tfds
from zoo.utils import checks
from zoo.utils.whole_file import require_writable

__all__ = ["DATASETS", "Dataset", "ImageSet", "check", "load", "register", "save"]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")


def load(
    name: str | os.PathLike[str],
    split: str = "test",
    *,
    image_shape: Sequence[int] | None = None,
    resize: bool = False,
    class_names: Sequence[str] | None = None,
    n: int | None = None,
) -> ImageSet:
    """Load one split of an image set, or your own images.

    ``"digits"`` ships with scikit-learn. The other sets come from tensorflow-datasets, which reads
    them from ``TFDS_DATA_DIR`` and downloads a set that is missing. An ``.npz`` file with the
    arrays ``x_train``, ``y_train``, ``x_test``, ``y_test`` (see :func:`save`) needs neither
    library; the labels may be missing.

    Image files can be one image, a folder of images, or a folder with one folder for each class.
    If all folders of the classes are called by numbers, these are the labels. Otherwise the labels
    count the folders in alphabetical order, as Keras does. Where a folder has folders such as
    ``train`` and ``test``, ``split`` names the one to read, and the classes are those of all of
    these folders. The folder of ``"train"`` may also be called ``training`` or ``training_set``,
    that of ``"validation"`` ``val`` or ``valid``, and that of ``"test"`` ``testing`` or
    ``test_set``; upper and lower case make no difference. If a class has such a name, give the
    names of all classes as ``class_names``. If ``image_shape`` has one channel, colour images
    become gray; if it has three, gray images get three equal channels.

    Args:
        name: a key of ``zoo.data.DATASETS``, or the path of an ``.npz`` file, of an image file, or
            of a folder of image files. A folder with the name of a set is given with a separator,
            such as ``"./digits"``, or as a :class:`pathlib.Path`.
        split: ``"train"``, ``"test"``, or another split that the set has.
        image_shape: ``(height, width, channels)`` that image files have to have, as in
            ``model.image_shape``; None takes the shape of the files, which must all be equal.
        resize: whether image files of another height or width are scaled, instead of refused.
        class_names: names of the folders of image files, in the order of the classes; a class may
            have no folder.
        n: the number of images to load, from the first one on; None loads all. Other image files
            are not read.

    Returns:
        :class:`ImageSet`.

    Raises:
        TypeError: if the name is neither text nor a path.
        ValueError: for an unknown set or split, a file without the arrays, an image file that
            cannot be read or has another shape, naming it, and for ``resize`` or ``class_names``
            where there are no image files.
        FileNotFoundError: if the file does not exist.
        RuntimeError: if the set is not on this machine and cannot be downloaded.

    Examples:
        >>> import zoo
        >>> zoo.data.load("digits", "test").images.shape
        (500, 8, 8, 1)
    """
    check(name)
    name = as_text(name)
    n = None if n is None else checks.positive_integer(n, "n")
    shape = None if image_shape is None else tuple(int(n) for n in image_shape)
    if shape is not None and len(shape) != 3:
        raise ValueError(f"image_shape must be (height, width, channels), got {shape}")
    if _is_image_path(name):
        form = image_files.Form(shape, resize, class_names, n)
        return image_files.load(pathlib.Path(name), split, form)
    for argument, given in {"resize": resize, "class_names": class_names}.items():
        if given:
            raise ValueError(f"{argument} is for image files, not for {name}")
    if is_npz(name):
        _require_split(split, npz.SPLITS)
        images = npz.load(pathlib.Path(name), split)
        _require_shape(name, images.images.shape[1:], shape)
        return images if n is None else images.take(n)
    dataset = DATASETS[name]
    _require_shape(name, dataset.image_shape, shape)
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
    found = ImageSet(
        f"{name}/{split}",
        images,
        labels.astype(np.int64),
        dataset.num_classes,
        class_names=dataset.class_names,
    )
    return found if n is None else found.take(n)


def _require_shape(name: str, found: Sequence[int], wanted: Sequence[int] | None) -> None:
    if wanted not in (None, found):
        raise ValueError(f"the images of {name} have the shape {found}, not {wanted}")


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
            f".npz file, an image or a folder of images, got {name!r}"
        )
    name = as_text(name)
    if is_npz(name) or image_files.is_image_file(pathlib.Path(name)):
        if not pathlib.Path(name).is_file():
            raise FileNotFoundError(f"no such data file: {name}")
    elif _is_path(name):
        if not pathlib.Path(name).is_dir():
            if pathlib.Path(name).exists():
                raise ValueError(f"{name} is neither an .npz file, nor an image, nor a folder")
            known = name.partition("/")[0]
            advice = f"; the image set is {known!r}, without a split" if known in DATASETS else ""
            raise FileNotFoundError(f"no such folder of images: {name}{advice}")
    elif name not in DATASETS and not pathlib.Path(name).is_dir():
        array = "; an .npy file holds a single array" if name.endswith(".npy") else ""
        raise ValueError(
            f"unknown image set {name!r}; known: {', '.join(known_names())}; or give the path of "
            f"an .npz file, an image or a folder of images{array}"
        )


def is_own(name: str | os.PathLike[str]) -> bool:
    """Whether a name is the path of files, not the name of a registered set."""
    return is_npz(name) or _is_image_path(name)


def has_split(name: str | os.PathLike[str], split: str) -> bool:
    """Whether an image set has a split of its own under this name; no image is loaded.

    Args:
        name: as for :func:`load`.
        split: name of the split.

    Raises:
        TypeError, ValueError, FileNotFoundError: as :func:`check`.
    """
    check(name)
    name = as_text(name)
    if is_npz(name):
        return npz.has_split(pathlib.Path(name), split)
    if _is_image_path(name):
        return image_files.folder_of(pathlib.Path(name), split) is not None
    return split in DATASETS[name].splits


def is_npz(name: str | os.PathLike[str]) -> bool:
    """Whether a name is the path of an ``.npz`` file, whichever case its ending has."""
    return pathlib.Path(name).suffix.lower() == ".npz"


def as_text(name: str | os.PathLike[str]) -> str:
    """A name or a path as text; a path gets a separator, so that it is not the name of a set."""
    text = os.path.expanduser(name)
    return os.path.join(os.curdir, text) if isinstance(name, os.PathLike) else text


def _is_path(name: str | os.PathLike[str]) -> bool:
    """Whether a name cannot be that of a registered set."""
    return isinstance(name, os.PathLike) or "/" in name or os.sep in name


def _is_image_path(name: str | os.PathLike[str]) -> bool:
    is_image = image_files.is_image_file(pathlib.Path(name))
    return not is_npz(name) and (is_image or _is_path(name) or name not in DATASETS)


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
