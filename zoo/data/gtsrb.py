"""GTSRB: German traffic signs, photographed from a car."""

import csv
import io
import re
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from zoo.data.registry import Dataset, register
from zoo.data.tfds import archive, from_own_builder

_ADDRESS = "https://sid.erda.dk/public/archives/daaeac0d7ce1152aea9b61d9f1e19370"
#: The official archives, with their digests.
ARCHIVES = {
    "training": (
        f"{_ADDRESS}/GTSRB_Final_Training_Images.zip",
        "md5:f33fd80ac59bff73c82d25ab499e03a3",
    ),
    "test": (
        f"{_ADDRESS}/GTSRB_Final_Test_Images.zip",
        "md5:c7e4e6327067d32654124b0fe9e82185",
    ),
    "test labels": (
        f"{_ADDRESS}/GTSRB_Final_Test_GT.zip",
        "md5:fe31e9c9270bbcd7b84b7f21a9d9d9e5",
    ),
}

#: The names of the classes, in their order.
CLASSES = (
    "speed limit 20",
    "speed limit 30",
    "speed limit 50",
    "speed limit 60",
    "speed limit 70",
    "speed limit 80",
    "end of speed limit 80",
    "speed limit 100",
    "speed limit 120",
    "no overtaking",
    "no overtaking by lorries",
    "right of way at next crossing",
    "priority road",
    "give way",
    "stop",
    "no vehicles",
    "no lorries",
    "no entry",
    "danger",
    "bend to the left",
    "bend to the right",
    "double bend",
    "uneven road",
    "slippery road",
    "road narrows on the right",
    "road works",
    "traffic lights",
    "pedestrians",
    "children",
    "bicycles",
    "snow or ice",
    "wild animals",
    "end of all limits",
    "turn right ahead",
    "turn left ahead",
    "straight ahead",
    "straight ahead or right",
    "straight ahead or left",
    "keep right",
    "keep left",
    "roundabout",
    "end of no overtaking",
    "end of no overtaking by lorries",
)
#: The six subsets of signs by which the authors evaluate.
GROUPS = {
    "speed limits": (0, 1, 2, 3, 4, 5, 7, 8),
    "other prohibitions": (9, 10, 15, 16),
    "ends of limits": (6, 32, 41, 42),
    "mandatory": (33, 34, 35, 36, 37, 38, 39, 40),
    "danger": (11, *range(18, 32)),
    "unique": (12, 13, 14, 17),
}

_SIDE = 32
# One frame of a track of training images is kept of this many: its neighbours are almost equal.
_EVERY = 3
# The tracks of each class with this remainder of their number are held out, for validation. Every
# class has seven tracks or more.
_TRACKS, _HELD_OUT = 10, 5


def load(split: str) -> tuple[np.ndarray, np.ndarray]:
    """The images ``(n, 32, 32, 3)``, uint8, and the labels of a split.

    The training images of one track show the same sign, so that they are in the training or in the
    validation set together.
    """
    found = from_own_builder("gtsrb", builder, "test" if split == "test" else "train")
    images, labels = found["image"], found["label"]
    if split == "test":
        return images, labels
    held_out = found["track"] % _TRACKS == _HELD_OUT
    chosen = held_out if split == "validation" else ~held_out
    return images[chosen], labels[chosen]


def builder(tfds: Any) -> type:
    """The class of the builder.

    Args:
        tfds: the module ``tensorflow_datasets``.
    """

    class Gtsrb(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self) -> Any:
            return tfds.core.DatasetInfo(
                builder=self,
                description="German Traffic Sign Recognition Benchmark at 32x32: every third frame "
                "of each training track, the whole test set.",
                features=tfds.features.FeaturesDict(
                    {
                        "image": tfds.features.Image(
                            shape=(_SIDE, _SIDE, 3), encoding_format="png"
                        ),
                        "label": tfds.features.ClassLabel(num_classes=len(CLASSES)),
                        "track": np.int64,
                    }
                ),
                supervised_keys=("image", "label"),
                homepage=DATASET.source,
                citation=DATASET.citation,
            )

        def _split_generators(self, dl_manager: Any) -> Any:
            found = {name: archive(dl_manager, *ARCHIVES[name]) for name in ARCHIVES}
            return {
                "train": training_examples(found["training"]),
                "test": test_examples(found["test"], found["test labels"]),
            }

        def _generate_examples(self) -> Any:
            raise NotImplementedError("the splits have generators of their own")

    return Gtsrb


def training_examples(path: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Keys and features of the training images in an archive: every third frame of each track.

    Args:
        path: path of the archive. Its images are called ``…/00007/00012_00027.ppm`` after the
            class, the track within the class and the frame.

    Raises:
        ValueError: naming the archive, if it has no such images or one of another class.
    """
    with zipfile.ZipFile(path) as files:
        names = [
            (name, *map(int, match.groups()))
            for name in files.namelist()
            if (match := re.search(r"(?:^|/)(\d{5})/(\d{5})_(\d{5})\.ppm$", name))
        ]
        if not names:
            raise ValueError(f"{path} has no images such as 00000/00000_00000.ppm")
        for name, label, track, frame in names:
            if frame % _EVERY == 0:
                features = {"image": _image(files, name), "label": _label(label, path)}
                yield f"{label}_{track}_{frame}", {**features, "track": track}


def test_examples(path: Any, labels: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Keys and features of the test images; their tracks are not known and are called −1.

    Args:
        path: path of the archive of images.
        labels: path of the archive with ``GT-final_test.csv``, whose fields are separated by ``;``.

    Raises:
        ValueError: naming the archive that lacks something, or a label that is no class.
    """
    with zipfile.ZipFile(labels) as files:
        table = next((n for n in files.namelist() if n.endswith("GT-final_test.csv")), None)
        if table is None:
            raise ValueError(f"{labels} has no GT-final_test.csv, the labels of the test images")
        rows = list(csv.DictReader(io.StringIO(files.read(table).decode("utf-8")), delimiter=";"))
    if not rows or not {"Filename", "ClassId"} <= set(rows[0]):
        raise ValueError(f"{table} of {labels} has no columns Filename and ClassId")
    with zipfile.ZipFile(path) as files:
        places = {name.rpartition("/")[2]: name for name in files.namelist()}
        for row in rows:
            name = row["Filename"]
            if name not in places:
                raise ValueError(f"{path} has no image {name}, which {labels} has a label of")
            image = _image(files, places[name])
            label = _label(row["ClassId"], labels)
            yield name, {"image": image, "label": label, "track": -1}


def _label(text: Any, path: Any) -> int:
    if not (str(text).isdigit() and int(text) < len(CLASSES)):
        raise ValueError(f"{path} has the label {text!r}; labels are 0 to {len(CLASSES) - 1}")
    return int(text)


def _image(files: zipfile.ZipFile, name: str) -> np.ndarray:
    """An image at the size of the set, by bilinear interpolation, which averages where it shrinks.

    The whole image is kept, with the border of a tenth that the authors left around each sign.
    """
    from PIL import Image

    with files.open(name) as file, Image.open(file) as image:
        size = (_SIDE, _SIDE)
        return np.asarray(image.convert("RGB").resize(size, Image.Resampling.BILINEAR))


DATASET = Dataset(
    name="gtsrb",
    image_shape=(_SIDE, _SIDE, 3),
    num_classes=len(CLASSES),
    builder="gtsrb",
    load=load,
    splits=("train", "validation", "test"),
    class_names=CLASSES,
    groups=GROUPS,
    source="https://benchmark.ini.rub.de/",
    license="public, without a named licence; the authors ask to cite their paper",
    citation="Stallkamp, Schlipsing, Salmen, Igel: Man vs. computer: Benchmarking machine learning "
    "algorithms for traffic sign recognition, Neural Networks 32, 2012",
)

register(DATASET)
