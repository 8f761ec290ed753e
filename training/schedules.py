"""Schedules as callbacks, which depend only on the position that the clock gives."""

import math

import keras

from zoo import callbacks


class PSchedule(callbacks.PSchedule):
    """Raises the exponent of ℓp-distance layers during training, to ∞ at the end.

    ``p`` is ``first`` until ``start_epoch``, grows exponentially to ``last`` at ``end_epoch``, and
    is infinite afterwards. It is rounded to the nearest of the exponents for which the kernel is
    fast; each of these is a third or a half larger than the one before. The weight of the
    cross-entropy decays exponentially over the same epochs, without rounding.

    Args:
        first, last: exponents at ``start_epoch`` and ``end_epoch``, at least 8.
        start_epoch, end_epoch: epochs between which ``p`` grows, counted from 0.
        clock: :class:`training.clock.Clock`, a callback that must come before this one.
        cross_entropy_weight: ``(first, last)`` weights, or None to leave the weight alone.
    """

    def __init__(self, first, last, start_epoch, end_epoch, clock, cross_entropy_weight=None):
        super().__init__(first, last)
        if not start_epoch < end_epoch:
            raise ValueError(
                f"end_epoch must come after start_epoch, got {start_epoch} and {end_epoch}"
            )
        self.start_epoch, self.end_epoch = start_epoch, end_epoch
        self.clock = clock
        self.cross_entropy_weight = cross_entropy_weight

    def progress(self, position):
        """The fraction of the growth that is done at a position, from 0 to 1."""
        done = (position - self.start_epoch) / (self.end_epoch - self.start_epoch)
        return min(1.0, max(0.0, done))

    def p(self, position):
        """The exponent at a position, in epochs: one of ``FAST_EXPONENTS``, or ∞."""
        return self.exponent(self.progress(position))

    def on_train_end(self, logs=None):
        """A run that is interrupted keeps its exponent."""

    def on_train_batch_begin(self, batch, logs=None):
        self.model.schedule_p(self.p(self.clock.position))
        if self.cross_entropy_weight is not None:
            first, last = self.cross_entropy_weight
            decay = (last / first) ** self.progress(self.clock.position)
            self.model.cross_entropy_weight = first * decay


class EpsilonSchedule(keras.callbacks.Callback):
    """Increases the budget that the loss trains for linearly over the first epochs.

    Args:
        epsilon: the full budget, in units of the [0, 1] image.
        epochs: number of epochs after which the full budget is reached.
        clock: :class:`training.clock.Clock`, a callback that must come before this one.
    """

    def __init__(self, epsilon, epochs, clock):
        super().__init__()
        self.full, self.epochs, self.clock = epsilon, epochs, clock

    def epsilon(self, position):
        """The budget at a position, in epochs: above 0 and at most the full budget."""
        after_the_batch = position + 1 / self.clock.steps_per_epoch
        return self.full * min(1.0, after_the_batch / self.epochs)

    def on_train_batch_begin(self, batch, logs=None):
        self.model.training_epsilon = self.epsilon(self.clock.position)


class LearningRateSchedule(keras.callbacks.Callback):
    """Lowers the learning rate in a run with a time limit, whose number of steps is unknown.

    Args:
        first: learning rate at the beginning.
        clock: :class:`training.clock.Clock`, a callback that must come before this one.
        drops: epochs at which the learning rate falls to a tenth; None for half a cosine to 0.
    """

    def __init__(self, first, clock, drops=None):
        super().__init__()
        self.first, self.clock, self.drops = first, clock, drops

    def learning_rate(self, position):
        """The learning rate at a position, in epochs."""
        if self.drops is not None:
            return self.first * 0.1 ** sum(position >= epoch for epoch in self.drops)
        return self.first * (1 + math.cos(math.pi * position / self.clock.epochs)) / 2

    def on_train_batch_begin(self, batch, logs=None):
        self.model.sync_jax_state()
        self.model.optimizer.learning_rate = self.learning_rate(self.clock.position)
