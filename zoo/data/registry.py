"""The registry of image sets."""

import dataclasses
from collections.abc import Callable, Mapping

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
        splits: names of the splits of the set, which include ``"train"`` and ``"test"``. No image
            is in two of them.
        class_names: names of the classes, in their order; None if they have only numbers.
        groups: sets of related classes by name, as ``certificate.accuracy(groups=…)`` takes them.
        source: address where the authors publish the set.
        license: licence of the images, or what the authors say in place of one.
        citation: the publication to cite: authors, title, journal and year.

    Raises:
        ValueError: naming the attribute that is wrong.
    """

    name: str
    image_shape: tuple[int, int, int]
    num_classes: int
    builder: str | None = None
    load: Callable[[str], tuple[np.ndarray, np.ndarray]] | None = None
    splits: tuple[str, ...] = ("train", "test")
    class_names: tuple[str, ...] | None = None
    groups: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)
    source: str = ""
    license: str = ""
    citation: str = ""

    def __post_init__(self) -> None:
        if self.builder is None and self.load is None:
            raise ValueError(f"{self.name}: a data set needs a builder, a load function, or both")
        if missing := {"train", "test"} - set(self.splits):
            raise ValueError(f"{self.name}: splits lacks {', '.join(sorted(missing))}")
        names = self.class_names
        if names is not None and len(set(names)) != self.num_classes:
            raise ValueError(
                f"{self.name}: class_names must be {self.num_classes} different names, got "
                f"{len(names)} of which {len(set(names))} differ"
            )


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
