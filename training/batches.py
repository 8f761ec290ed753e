"""Training batches that are shuffled and augmented in the same way if an epoch is repeated."""

import keras
import numpy as np


class Batches(keras.utils.PyDataset):
    """Shuffled, randomly shifted and flipped batches of an image set.

    The order and the augmentation are functions of seed, epoch and batch only. A resumed run
    therefore gets the same batches as an uninterrupted one, also in the middle of an epoch.

    Args:
        images: array ``(n, height, width, channels)``: floats in [0, 1], or uint8.
        labels: int array ``(n,)``.
        batch_size: number of images per batch; each epoch leaves out the images that do not fill a
            batch.
        seed: integer.
        shift: largest number of pixels by which an image is shifted in each direction; the pixels
            at its edge are repeated to fill the gap.
        flip: whether to mirror images horizontally at random.
        share: slice of each batch that is returned; by default the whole batch.
    """

    def __init__(
        self,
        images,
        labels,
        *,
        batch_size,
        seed,
        shift=0,
        flip=False,
        share=slice(None),
        **kwargs,
    ):
        super().__init__(**kwargs)
        if len(images) < batch_size:
            raise ValueError(f"{len(images)} images do not fill a batch of {batch_size}")
        self.images, self.labels = images, labels
        self.batch_size, self.seed = batch_size, seed
        self.shift, self.flip, self.share = shift, flip, share
        self.steps_per_epoch = len(images) // batch_size
        self.start(0)

    def __len__(self):
        return self.steps_per_epoch - self.first

    def __getitem__(self, index):
        index += self.first
        chosen = self._order[index * self.batch_size : (index + 1) * self.batch_size]
        random = np.random.default_rng([self.seed, self.epoch, index, 1])
        # The whole batch is augmented, so that a share does not depend on how the batch is split.
        images = self._augmented(self.images[chosen], random)[self.share]
        if images.dtype == np.uint8:
            images = np.divide(images, np.float32(255), dtype=np.float32)
        return images, self.labels[chosen][self.share]

    def start(self, epoch, first=0):
        """Prepare the batches of an epoch, beginning with the batch of index ``first``."""
        self.epoch, self.first = epoch, first
        self._order = np.random.default_rng([self.seed, epoch]).permutation(len(self.images))

    def follow(self, clock):
        """A callback that prepares the batches of each epoch when the epoch begins."""
        return keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: self.start(clock.epoch, clock.batch)
        )

    def _augmented(self, images, random):
        # `images` must be a copy: it is changed in place.
        count, height, width, _ = images.shape
        if self.shift:
            border = (self.shift, self.shift)
            padded = np.pad(images, [(0, 0), border, border, (0, 0)], mode="edge")
            corners = random.integers(0, 2 * self.shift + 1, size=(2, count)).T
            # Copying a slice of each image is several times as fast as one call with index arrays.
            for image, source, (top, left) in zip(images, padded, corners, strict=True):
                image[:] = source[top : top + height, left : left + width]
        if self.flip:
            mirrored = random.random(count) < 0.5
            images[mirrored] = images[mirrored, :, ::-1]
        return images
