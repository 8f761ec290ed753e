"""How a training run shows where it is."""

import sys
import time

import keras

from zoo import progress


class TrainingProgress(keras.callbacks.Callback):
    """A progress bar over all batches of the run, with the time left, and a line per epoch.

    Args:
        first_epoch, last_epoch: range of epochs of this call.
        steps_per_epoch: number of batches.
    """

    def __init__(self, first_epoch, last_epoch, steps_per_epoch):
        super().__init__()
        self._total = (last_epoch - first_epoch) * steps_per_epoch
        self._last_epoch = last_epoch
        self._bar = progress.bar()

    def on_train_begin(self, logs=None):
        self._bar.start()
        self._task = self._bar.add_task("training", total=self._total)

    def on_epoch_begin(self, epoch, logs=None):
        self._started = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        self._bar.advance(self._task)

    def on_epoch_end(self, epoch, logs=None):
        numbers = "  ".join(f"{key} {value:.4f}" for key, value in (logs or {}).items())
        seconds = time.perf_counter() - self._started
        left = self._bar.tasks[0].time_remaining
        self._bar.console.print(
            f"epoch {epoch + 1}/{self._last_epoch}  {numbers}  {seconds:.1f} s"
            + (f"  ({left / 60:.0f} min left)" if left else "")
        )
        sys.stderr.flush()

    def on_train_end(self, logs=None):
        self.close()

    def close(self):
        """Give the terminal back, also after an interruption."""
        self._bar.stop()
