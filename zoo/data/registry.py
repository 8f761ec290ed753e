"""The registry of image sets."""

import dataclasses
from collections.abc import Callable

import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataset:
    """The description of an image set, which is known before the set is loaded.

    Attributes:
        name: name of the set, as in ``zoo.data.load(name)``.
        image_shape: ``(height, width, channels)``.
        num_classes: number of classes.
        builder: name of the tensorflow-datasets builder that prepares the set, which is also the
            name of its folder in ``TFDS_DATA_DIR``; None for a set that needs no download.
        load: function from the name of a split to a pair of arrays: images ``(n, height, width,
            channels)``, uint8 or floats in [0, 1], and integer labels ``(n,)``. None for a set that
            the builder in tensorflow-datasets prepares with these splits.
        splits: names of the splits of the set, which include ``"train"`` and ``"test"``.

    Raises:
        ValueError: naming the attribute that is wrong.
    """

    name: str
    image_shape: tuple[int, int, int]
    num_classes: int
    builder: str | None = None
    load: Callable[[str], tuple[np.ndarray, np.ndarray]] | None = None
    splits: tuple[str, ...] = ("train", "test")

    def __post_init__(self) -> None:
        if self.builder is None and self.load is None:
            raise ValueError(f"{self.name}: a data set needs a builder, a load function, or both")
        if missing := {"train", "test"} - set(self.splits):
            raise ValueError(f"{self.name}: splits lacks {', '.join(sorted(missing))}")


#: The registered sets by name.
DATASETS: dict[str, Dataset] = {}


def register(dataset: Dataset) -> None:
    """Register an image set, so that ``zoo.data.load`` finds it by its name.

    Args:
        dataset: description of the set.

    Raises:
        ValueError: if a set of this name is already registered.

    Examples:
        >>> import numpy as np, zoo
        >>> def black(split):
        ...     return np.zeros((3, 4, 4, 1), np.uint8), np.arange(3)
        >>> zoo.data.register(
        ...     zoo.data.Dataset(name="black", image_shape=(4, 4, 1), num_classes=3, load=black)
        ... )
        >>> len(zoo.data.load("black"))
        3
        >>> del zoo.data.DATASETS["black"]
    """
    if dataset.name in DATASETS:
        raise ValueError(f"there is a data set {dataset.name!r} already")
    DATASETS[dataset.name] = dataset


def known_names() -> list[str]:
    """The names of the sets in alphabetical order, those that need no download first."""
    return sorted(DATASETS, key=lambda name: (DATASETS[name].builder is not None, name))
