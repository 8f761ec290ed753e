"""The progress display of a training run."""

import sys
import time

import keras

from zoo.utils import progress


class TrainingProgress(keras.callbacks.Callback):
    """A progress bar of the run with the remaining time, and a line per epoch.

    The bar counts batches, or seconds if the run has a time limit.

    Args:
        clock: :class:`training.clock.Clock`, a callback that must come before this one.
        last_epoch: last epoch of this call; it is not used if the run has a time limit.
        show: whether anything is shown.
    """

    def __init__(self, clock, last_epoch, show=True):
        super().__init__()
        self._clock, self._last_epoch = clock, last_epoch
        # The display of a notebook has no lines above its bars.
        self._bar = progress.bar(show, notebook=False)

    def on_train_begin(self, logs=None):
        if self._bar.tasks:  # this is the second `fit` of a run that resumed within an epoch
            return
        clock = self._clock
        if clock.limit is None:
            done = 0
            total = (self._last_epoch - clock.epoch) * clock.steps_per_epoch - clock.batch
        else:
            done, total = clock.seconds, clock.limit
        self._bar.start()
        self._task = self._bar.add_task("training", completed=done, total=total)

    def on_epoch_begin(self, epoch, logs=None):
        self._started = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        if self._clock.limit is None:
            self._bar.advance(self._task)
        else:
            self._bar.update(self._task, completed=min(self._clock.seconds, self._clock.limit))

    def on_epoch_end(self, epoch, logs=None):
        last = "" if self._clock.limit is not None else f"/{self._last_epoch}"
        numbers = "  ".join(f"{key} {value:.4f}" for key, value in (logs or {}).items())
        seconds = time.perf_counter() - self._started
        left = self._bar.tasks[0].time_remaining
        self._bar.console.print(
            f"epoch {epoch + 1}{last}  {numbers}  {seconds:.1f} s"
            + (f"  ({left / 60:.0f} min left)" if left else "")
        )
        sys.stderr.flush()

    def close(self):
        """Stop the display; this must be called after an interruption, too."""
        self._bar.stop()
