"""The position of a training run and the time that it has taken."""

import time

import keras

from zoo.utils import checks


class Clock(keras.callbacks.Callback):
    """Computes the position of a run, in epochs of the recipe, which the schedules depend on.

    It must be the first of the callbacks. Without a time limit, the position is a function of epoch
    and batch only, so a resumed run repeats the uninterrupted one. With a time limit, the position
    is the fraction of the time that has passed, times the recipe's epochs: the schedules end with
    the time, whatever the number of epochs, and the training stops.

    Args:
        epochs: number of epochs of the recipe.
        steps_per_epoch: number of batches per epoch.
        minutes: limit of the training time over all calls, or None.
    """

    def __init__(self, epochs, steps_per_epoch, minutes=None):
        super().__init__()
        self.epochs, self.steps_per_epoch = epochs, steps_per_epoch
        self.limit = None if minutes is None else 60 * checks.positive_number(minutes, "minutes")
        self.resume(0, 0, 0.0)

    def resume(self, epoch, batch, seconds):
        """Continue with this batch of an epoch, after ``seconds`` of training in earlier calls."""
        self.epoch, self.batch = epoch, batch
        self._start = time.monotonic() - seconds
        self._tell_position()

    @property
    def seconds(self):
        """Training time so far, including that of earlier calls."""
        return time.monotonic() - self._start

    @property
    def is_over(self):
        """Whether the time limit has been reached."""
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
        # The position stays the same during a batch, so that all schedules read the same value.
        if self.limit is None:
            self.position = self.epoch + self.batch / self.steps_per_epoch
        else:
            self.position = self.epochs * min(1.0, self.seconds / self.limit)
