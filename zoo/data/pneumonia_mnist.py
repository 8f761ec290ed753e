"""PneumoniaMNIST: chest X-rays of children, with pneumonia or without."""

import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from zoo.data.registry import Dataset, register
from zoo.data.tfds import archive, from_own_builder

#: The official file, with its digest.
ARCHIVE = (
    "https://zenodo.org/records/10519652/files/pneumoniamnist.npz",
    "sha256:e1792d3f03751cb101e99f19a63b3c1941436c988665f47853417b05be250cd8",
)

_SIDE = 28
# Names of the splits in the file.
_SPLITS = {"train": "train", "validation": "val", "test": "test"}


def load(split: str) -> tuple[np.ndarray, np.ndarray]:
    """The images ``(n, 28, 28, 1)``, uint8, and the labels of a split."""
    found = from_own_builder("pneumonia_mnist", builder, split)
    return found["image"], found["label"]


def builder(tfds: Any) -> type:
    """The class of the builder.

    Args:
        tfds: the module ``tensorflow_datasets``.
    """

    class PneumoniaMnist(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self) -> Any:
            return tfds.core.DatasetInfo(
                builder=self,
                description="PneumoniaMNIST (MedMNIST v2, CC BY 4.0): chest X-rays of children, "
                "28x28.",
                features=tfds.features.FeaturesDict(
                    {
                        "image": tfds.features.Image(
                            shape=(_SIDE, _SIDE, 1), encoding_format="png"
                        ),
                        "label": tfds.features.ClassLabel(names=list(DATASET.class_names or ())),
                    }
                ),
                supervised_keys=("image", "label"),
                homepage=DATASET.source,
                citation=DATASET.citation,
            )

        def _split_generators(self, dl_manager: Any) -> Any:
            path = archive(dl_manager, *ARCHIVE)
            return {split: examples(path, name) for split, name in _SPLITS.items()}

        def _generate_examples(self) -> Any:
            raise NotImplementedError("the splits have generators of their own")

    return PneumoniaMnist


def examples(path: Any, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Keys and features of the images of a split.

    Args:
        path: path of the ``.npz`` file, with arrays such as ``train_images`` ``(n, 28, 28)`` and
            ``train_labels`` ``(n, 1)``.
        split: name of the split in the file: ``"train"``, ``"val"`` or ``"test"``.

    Raises:
        ValueError: naming the file and what is wrong with it.
    """
    names = f"{split}_images", f"{split}_labels"
    try:
        with np.load(path, allow_pickle=False) as file:
            images, labels = (file[name] for name in names)
    except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is no .npz file with {' and '.join(names)}: {error}") from error
    if images.shape[1:] != (_SIDE, _SIDE) or labels.shape != (len(images), 1):
        raise ValueError(
            f"{path}: expected {names[0]} (n, {_SIDE}, {_SIDE}) and {names[1]} (n, 1), got "
            f"{images.shape} and {labels.shape}"
        )
    for index, (image, label) in enumerate(zip(images, labels[:, 0], strict=True)):
        yield index, {"image": image[..., None], "label": int(label)}


DATASET = Dataset(
    name="pneumonia-mnist",
    image_shape=(_SIDE, _SIDE, 1),
    num_classes=2,
    builder="pneumonia_mnist",
    load=load,
    splits=("train", "validation", "test"),
    class_names=("normal", "pneumonia"),
    source="https://medmnist.com/",
    license="CC BY 4.0",
    citation="Yang, Shi, Wei, Liu, Zhao, Ke, Pfister, Ni: MedMNIST v2: A large-scale lightweight "
    "benchmark for 2D and 3D biomedical image classification, Scientific Data 10, 2023",
)

register(DATASET)
