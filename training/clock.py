"""Where a run is, and how long it has taken."""

import time

import keras

from zoo.utils import checks


class Clock(keras.callbacks.Callback):
    """Tells the schedules their position, in epochs of the recipe; the first of the callbacks.

    Without a limit the position is a function of epoch and batch alone, so a resumed run repeats
    the uninterrupted one. With a limit it is the share of the time that is spent: the schedules
    stretch or shrink to end with it, after however many epochs, and the training stops there.

    Args:
        epochs: of the recipe.
        steps_per_epoch: number of batches.
        minutes: limit of the training time over all calls, or None.
    """

    def __init__(self, epochs, steps_per_epoch, minutes=None):
        super().__init__()
        self.epochs, self.steps_per_epoch = epochs, steps_per_epoch
        self.limit = None if minutes is None else 60 * checks.positive_number(minutes, "minutes")
        self.resume(0, 0, 0.0)

    def resume(self, epoch, batch, seconds):
        """Go on with a batch of an epoch, ``seconds`` of training behind it."""
        self.epoch, self.batch = epoch, batch
        self._start = time.monotonic() - seconds
        self._tell_position()

    @property
    def seconds(self):
        """Training time so far, that of earlier calls included."""
        return time.monotonic() - self._start

    @property
    def is_over(self):
        """Whether the time is up."""
        return self.limit is not None and self.seconds >= self.limit

    def on_train_batch_begin(self, batch, logs=None):
        self._tell_position()

    def on_train_batch_end(self, batch, logs=None):
        self.batch += 1
        if self.batch == self.steps_per_epoch:
            self.epoch, self.batch = self.epoch + 1, 0
        if self.is_over:
            self.model.stop_training = True

    def _tell_position(self):
        # Kept for the whole batch, so that all schedules see the same.
        if self.limit is None:
            self.position = self.epoch + self.batch / self.steps_per_epoch
        else:
            self.position = self.epochs * min(1.0, self.seconds / self.limit)
