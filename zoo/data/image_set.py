"""The class of loaded image sets."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class ImageSet:
    """Images and their labels.

    Attributes:
        name: name of the set and split, for example ``"mnist/test"``.
        images: float32 or uint8 array ``(n, height, width, channels)``; floats lie in [0, 1].
        labels: int64 array ``(n,)``.
        num_classes: number of classes.
    """

    name: str
    images: np.ndarray
    labels: np.ndarray
    num_classes: int

    def __len__(self) -> int:
        return len(self.labels)

    def to_tf_data(
        self, batch_size: int, *, shuffle: bool = False, seed: int = 0
    ) -> "tf.data.Dataset":
        """The set as a batched ``tf.data.Dataset`` of (float images in [0, 1], labels)."""
        import tensorflow as tf

        from zoo.utils import checks

        images = checks.images(self.images, self.images.shape[1:])
        dataset = tf.data.Dataset.from_tensor_slices((images, self.labels))
        if shuffle:
            dataset = dataset.shuffle(len(self), seed=seed)
        return dataset.batch(batch_size).prefetch(tf.data.AUTOTUNE)

    def take(self, first: int, last: int | None = None) -> "ImageSet":
        """The first ``first`` images; with ``last``, the images ``first`` to ``last − 1``."""
        chosen = slice(first) if last is None else slice(first, last)
        return dataclasses.replace(self, images=self.images[chosen], labels=self.labels[chosen])
