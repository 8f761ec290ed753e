"""Image sets in image files: one image, a folder of images, or a folder with one for each class."""

import dataclasses
import pathlib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo.data.image_set import ImageSet

#: Endings of the names of image files.
ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")

# Folders of these names, in any case, hold the splits of a set, not classes.
_FOLDERS = {
    "train": ("train", "training", "training_set"),
    "validation": ("validation", "val", "valid"),
    "test": ("test", "testing", "test_set"),
}
_SPLITS = {name for names in _FOLDERS.values() for name in names}


@dataclasses.dataclass(frozen=True)
class Form:
    """How image files become arrays.

    Attributes:
        image_shape: ``(height, width, channels)`` that the arrays must have; None takes the shape
            of the files.
        resize: whether images of another height or width are scaled to this one, instead of being
            refused.
        class_names: names of the folders of the classes, in the order of the classes.
        n: the number of images to read, from the first one on; None reads all.
    """

    image_shape: tuple[int, int, int] | None = None
    resize: bool = False
    class_names: Sequence[str] | None = None
    n: int | None = None


def is_image_file(path: pathlib.Path) -> bool:
    """Whether the name of a path is that of an image file."""
    return path.suffix.lower() in ENDINGS


def folder_of(path: pathlib.Path, split: str) -> pathlib.Path | None:
    """The folder of a split within the folder of a set, or None.

    Args:
        path: path of the set.
        split: ``"train"``, ``"validation"``, ``"test"``, or another name that the folder may have.

    Raises:
        ValueError: if there are two folders for one split.
    """
    if not path.is_dir():
        return None
    names = _FOLDERS.get(split.lower(), (split.lower(),))
    found = [folder for folder in _folders(path) if _split(folder) in names]
    if len(found) > 1:
        both = " and ".join(folder.name for folder in found)
        raise ValueError(f"{path} has the folders {both} for one split")
    return found[0] if found else None


def load(path: pathlib.Path, split: str, form: Form) -> ImageSet:
    """Read an image file or a folder of image files.

    Args:
        path: path of the file or folder.
        split: the split to be read, if the folder has a folder for each split. The classes are then
            those of all splits, so that each split numbers them alike.
        form: :class:`Form`.

    Returns:
        :class:`ImageSet`, with ``files``; of a folder with one folder for each class, with labels
        and ``class_names``, too.

    Raises:
        ValueError: naming the file or folder and what is wrong with it.
    """
    if path.is_file():
        _require_no_class_names(path, form)
        return ImageSet(path.name, _arrays([path], form), None, 0, files=(path.name,))
    name = path.name or path.resolve().name
    parts = [folder for folder in _folders(path) if _split(folder)]
    # The folder of a class has images of its own, that of a split may have folders of classes.
    with_classes = any(_image_files(inner, deep=True) for part in parts for inner in _folders(part))
    if {folder.name for folder in parts} <= set(form.class_names or ()) and not with_classes:
        parts = []
    if parts:
        mixed = [folder.name for folder in _folders(path) if not _split(folder)]
        if mixed:
            raise ValueError(
                f"{path} has the folder {parts[0].name!r}, which is the name of a split, and the "
                f"folder {mixed[0]!r}, which is not; if both are classes, name all classes with "
                "--classes, or class_names=; otherwise give the path of one folder"
            )
        part = folder_of(path, split)
        if part is None:
            found = ", ".join(folder.name for folder in parts)
            raise ValueError(f"{path} has no folder {split!r}, but {found}")
        path, name = part, f"{name}/{part.name}"
    elif split != "test":
        raise ValueError(f"{path} has no folder {split!r}")
    own, folders = _image_files(path, deep=False), _folders(path)
    classes = [folder for folder in folders if _image_files(folder, deep=True)]
    if own and classes:
        raise ValueError(
            f"{path} has images beside folders of images; a set has either images alone, or one "
            "folder for each class"
        )
    if own:
        _require_no_class_names(path, form)
        own = own[: form.n]
        return ImageSet(name, _arrays(own, form), None, 0, files=tuple(file.name for file in own))
    if not classes:
        raise ValueError(f"{path} has no images; their names end in {', '.join(ENDINGS)}")
    # Of a set in parts, a folder without images is no class, whichever part it is in.
    found = {folder.name for folder in (classes if parts else folders)}
    if form.class_names is None:
        of_parts = (folder for part in parts for folder in _folders(part))
        found |= {folder.name for folder in of_parts if _image_files(folder, deep=True)}
    names = _class_names(path, sorted(found), form.class_names)
    files, labels = [], []
    for folder in classes:
        of_class = _image_files(folder, deep=True)
        files += of_class
        labels += [names.index(folder.name)] * len(of_class)
    files, labels = files[: form.n], labels[: form.n]
    return ImageSet(
        name,
        _arrays(files, form),
        np.array(labels, np.int64),
        len(names),
        files=tuple(file.relative_to(path).as_posix() for file in files),
        class_names=tuple(names),
    )


def _split(folder: pathlib.Path) -> str | None:
    """The name of a folder in lower case, if it is one that the folder of a split has."""
    name = folder.name.lower()
    return name if name in _SPLITS else None


def _folders(path):
    return sorted(f for f in path.iterdir() if f.is_dir() and not f.name.startswith("."))


def _image_files(folder, *, deep):
    found = folder.rglob("*") if deep else folder.iterdir()
    return sorted(
        file
        for file in found
        if is_image_file(file)
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    )


def _require_no_class_names(path, form):
    if form.class_names is not None:
        raise ValueError(f"class_names are for a folder with one folder for each class, not {path}")


def _class_names(path, found, given):
    """The names of all classes in their order, some of which may have no folder."""
    if given is not None:
        names = [str(name) for name in given]
        if len(set(names)) != len(names):
            raise ValueError(f"class_names has a name twice: {', '.join(names)}")
        if unknown := sorted(set(found) - set(names)):
            raise ValueError(
                f"{path} has the folders {', '.join(unknown)}, which are not in class_names: "
                f"{', '.join(names)}"
            )
        return names
    if not all(re.fullmatch(r"[0-9]+", name) for name in found):
        return sorted(found)
    # Folders that are called by the numbers of their classes mean these, even if some are missing.
    numbers = {int(name): name for name in found}
    if len(numbers) != len(found):
        raise ValueError(f"{path} has two folders for one class: {', '.join(sorted(found))}")
    return [numbers.get(number, str(number)) for number in range(max(numbers) + 1)]


def _arrays(files: Sequence[pathlib.Path], form: Form) -> np.ndarray:
    """The images of files as one array, uint8, or float32 if a file has more than 8 bits."""
    shape = form.image_shape
    if shape is not None and shape[2] not in (1, 3):
        raise ValueError(f"image files have 1 or 3 channels, and {shape[2]} are asked for")
    size, images = None if shape is None else shape[:2], []
    # Resized one by one: all photographs of a folder may not fit into the memory.
    for file in files:
        image = _read(file)
        size = size or image.shape[:2]
        if image.shape[:2] != size:
            if not form.resize:
                raise ValueError(
                    f"{file} has {image.shape[0]} × {image.shape[1]} pixels (height × width), "
                    f"expected {size[0]} × {size[1]}; --resize, or resize=True, scales images"
                )
            image = _resized(image, *size)
        images.append(image)
    channels = max(image.shape[2] for image in images) if shape is None else shape[2]
    arrays = [_with_channels(image, channels) for image in images]
    if any(image.dtype == np.float32 for image in arrays):
        arrays = [a if a.dtype == np.float32 else a / np.float32(255) for a in arrays]
    return np.stack(arrays)


def _read(file: pathlib.Path) -> np.ndarray:
    """One image ``(height, width, 1 or 3)``, uint8, or float32 in [0, 1] for 16 bits."""
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as image:
            # A camera may put a preview behind the picture of a JPEG file, which is the first one.
            if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
                raise ValueError("it has several frames")
            upright: Any = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I;16"):
                return np.asarray(upright, np.float32)[..., None] / np.float32(65535)
            if upright.mode in ("I", "F"):
                raise ValueError(f"its pixels are of the kind {upright.mode!r}")
            if upright.has_transparency_data:
                upright = upright.convert("RGBA")
                if upright.getextrema()[3][0] < 255:
                    raise ValueError("it has transparent pixels; give them a colour first")
            gray = upright.mode in ("1", "L", "LA")
            pixels = np.asarray(upright.convert("L" if gray else "RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{file} cannot be used as an image: {error}") from error
    return pixels[..., None] if gray else pixels


def _resized(image, height, width):
    """The image at another size, by bilinear interpolation, which averages where it shrinks."""
    from PIL import Image

    kind = "F" if image.dtype == np.float32 else None
    bands = [Image.fromarray(band, kind) for band in np.moveaxis(image, 2, 0)]
    size = (width, height)
    scaled = [np.asarray(b.resize(size, Image.Resampling.BILINEAR)) for b in bands]
    pixels = np.stack(scaled, axis=2)
    return np.clip(pixels, 0, 1) if kind else pixels


def _with_channels(image, channels):
    if image.shape[2] == channels:
        return image
    if channels == 3:
        return np.repeat(image, 3, axis=2)
    if (image == image[..., :1]).all():  # gray, but stored in three channels
        return image[..., :1]
    from PIL import Image

    return np.asarray(Image.fromarray(image).convert("L"))[..., None]
