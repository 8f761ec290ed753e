"""Schedules as callbacks: functions of epoch and batch alone, so a resumed run repeats them."""

import math

import keras

from zoo.ops.lp_distance import FAST_EXPONENTS


class PSchedule(keras.callbacks.Callback):
    """Raises the exponent of ℓp-distance layers while training, to ∞ at the end.

    ``p`` is ``first`` until ``start_epoch``, grows exponentially to ``last`` at ``end_epoch`` and
    is infinite afterwards; each time the nearest exponent at which the kernel is fast, a third or
    a half above the one before. The weight of the cross-entropy decays at the same pace, smoothly.

    Args:
        first, last: exponents at the two ends, at least 8.
        start_epoch, end_epoch: counted from 0.
        steps_per_epoch: number of batches.
        cross_entropy_weight: ``(first, last)`` weights, or None to leave the weight alone.
    """

    def __init__(
        self, first, last, start_epoch, end_epoch, steps_per_epoch, cross_entropy_weight=None
    ):
        super().__init__()
        if not FAST_EXPONENTS[0] <= first <= last:
            raise ValueError(
                f"p must grow from at least {FAST_EXPONENTS[0]:g}, got first={first}, last={last}"
            )
        if not start_epoch < end_epoch:
            raise ValueError(
                f"end_epoch must come after start_epoch, got {start_epoch} and {end_epoch}"
            )
        self.first, self.last = first, last
        self.start_epoch, self.end_epoch = start_epoch, end_epoch
        self.steps_per_epoch = steps_per_epoch
        self.cross_entropy_weight = cross_entropy_weight

    def progress(self, epoch, batch=0):
        """How much of the growth is done: 0 … 1."""
        now = epoch + batch / self.steps_per_epoch
        done = (now - self.start_epoch) / (self.end_epoch - self.start_epoch)
        return min(1.0, max(0.0, done))

    def p(self, epoch, batch=0):
        """The exponent at a batch of an epoch: one of ``FAST_EXPONENTS``, or ∞."""
        if epoch >= self.end_epoch:
            return float("inf")
        exact = self.first * (self.last / self.first) ** self.progress(epoch, batch)
        return min(FAST_EXPONENTS, key=lambda p: abs(math.log(p / exact)))

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        self.model.p = self.p(self._epoch, batch)
        if self.cross_entropy_weight is not None:
            first, last = self.cross_entropy_weight
            decay = (last / first) ** self.progress(self._epoch, batch)
            self.model.cross_entropy_weight = first * decay


class EpsilonSchedule(keras.callbacks.Callback):
    """Grows the budget that the loss trains for, linearly over the first epochs.

    Args:
        epsilon: budget at the end, in units of the [0, 1] image.
        epochs: number of epochs until then.
        steps_per_epoch: number of batches.
    """

    def __init__(self, epsilon, epochs, steps_per_epoch):
        super().__init__()
        self.full = epsilon
        self.steps = epochs * steps_per_epoch
        self.steps_per_epoch = steps_per_epoch

    def epsilon(self, epoch, batch=0):
        """The budget at a batch of an epoch: above 0, at most the full one."""
        return self.full * min(1.0, (epoch * self.steps_per_epoch + batch + 1) / self.steps)

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        self.model.training_epsilon = self.epsilon(self._epoch, batch)
