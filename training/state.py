"""The state of a run on disk, from which an interrupted run can be resumed."""

import contextlib
import math
import pathlib
import re
import signal
import sys
import threading

import h5py
import keras
import numpy as np

from training import json_file
from training.hardware import hardware
from zoo.utils.json_text import json_text
from zoo.utils.whole_file import replace, write_whole

_NAME = re.compile(r"epoch-(\d+)(?:-batch-(\d+))?\.weights\.h5")
# The group of a state's file that holds the states of random numbers, which Keras does not save.
_RANDOM = "random"


class RunState(keras.callbacks.Callback):
    """Saves the training's state every few minutes, and restores the last saved state.

    The state consists of the weights, the optimizer, the random numbers of layers such as dropout,
    and the history.

    A state is written under a temporary name and renamed once it is complete. A run that is killed
    at any moment therefore resumes from the last state, even in the middle of an epoch, and its
    result is that of an uninterrupted run. The first state is saved after the first epoch at the
    latest. Ctrl-C and a request to terminate save one too: see :meth:`interruptible`.

    Args:
        folder: folder of the run.
        clock: :class:`training.clock.Clock`, a callback that must come before this one.
        interval: seconds between two states. A state is always saved at the end of a call, and
            when the user interrupts the training.
    """

    def __init__(self, folder, clock, interval=120.0):
        super().__init__()
        self.folder = pathlib.Path(folder)
        self.clock, self.interval = clock, interval
        self.history = []
        # The record of the unfinished epoch up to the saved state. While a new state is being
        # saved, the list holds the records that belong to the old state and to the new one.
        self._parts = []
        self._begun = None
        self._logs = {}
        self._saved, self._saved_at = None, 0.0
        self._interrupted = False

    @contextlib.contextmanager
    def interruptible(self):
        """A context in which Ctrl-C or a request to terminate saves a state, then ends the run.

        Weights are those of a whole number of batches only between two batches. The batch is
        therefore completed first, and KeyboardInterrupt is raised after the state is saved. A
        second signal raises it at once.
        """
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread may handle signals
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        # None stands for a handler that Python did not install and could not restore. A signal
        # that is ignored, such as Ctrl-C in a background job, must stay ignored.
        before = {n: old for n, old in before.items() if old not in (None, signal.SIG_IGN)}

        def note(number, frame):
            if self._interrupted:
                raise KeyboardInterrupt
            self._interrupted = True
            print(
                "interrupted: the state will be saved after this batch; interrupt again to stop "
                "at once",
                file=sys.stderr,
                flush=True,
            )

        for number in before:
            signal.signal(number, note)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        self._stop_if_interrupted()

    def place(self):
        """Where the saved state is, in words: what the same command goes on from."""
        if self._saved is None:
            return "there is no saved state; the same command starts from the beginning"
        return f"the same command goes on from {self._words(*self._saved)}"

    def start(self, last):
        """Say in words what the run does next, up to epoch ``last``; call it after a restore."""
        if self.clock.epoch >= last:
            return (
                f"nothing is left to train after {self._words(self.clock.epoch, self.clock.batch)}"
            )
        if self._saved is None:
            return "no saved state: starts from the beginning"
        text = f"goes on from {self._words(*self._saved)}"
        if self._lost:
            text += f"; what was trained after it, up to the end of epoch {self._lost}, was lost"
        return text

    def _words(self, epoch, batch):
        if batch:
            return f"epoch {epoch + 1}, after batch {batch} of {self.clock.steps_per_epoch}"
        return f"the end of epoch {epoch}"

    @property
    def records(self):
        """Records of the finished epochs, and of the unfinished one if there is one."""
        return [*self.history, *self._parts[-1:]]

    def restore(self, model):
        """Load the newest state, if there is one, into a compiled model, and set the clock.

        Raises:
            ValueError: naming the files, if one of them cannot be loaded.
        """
        self._lost = 0
        (epoch, batch), path = max(self._states(), default=((0, 0), None))
        if path is not None:
            try:
                self._load(model, path, epoch, batch)
            except (OSError, ValueError, TypeError, LookupError, RuntimeError) as error:
                raise ValueError(
                    f"the run cannot go on from {path} and history.json: {error}; if one of them "
                    "is damaged, delete the folder, and the same command trains from the beginning"
                ) from error
            self._saved = epoch, batch
        self.clock.resume(epoch, batch, sum(record["seconds"] for record in self.records))
        self._saved_at = self.clock.seconds

    def _load(self, model, path, epoch, batch):
        model.optimizer.build(model.trainable_variables)
        model.load_weights(path)
        with h5py.File(path) as file:
            # A state of an older version has none of them.
            for number, state in enumerate(_random_states(model) if _RANDOM in file else ()):
                state.assign(np.array(file[f"{_RANDOM}/{number}"]))
        record = json_file.read(self.folder / "history.json")
        self.history = record["epochs"][:epoch]
        # The history may go on after the state, if the run was killed.
        self._lost = len(record["epochs"]) if len(record["epochs"]) > epoch else 0
        if batch:
            place = {"epoch": epoch + 1, "batches": batch}
            (self._begun,) = (p for p in record["parts"] if place.items() <= p.items())
            self._parts = [self._begun]

    def on_train_batch_end(self, batch, logs=None):
        self._logs = logs or {}
        if self.clock.batch and self._is_due():
            self._save()
        if self.clock.batch:
            self._stop_if_interrupted()

    def on_epoch_end(self, epoch, logs=None):
        if self.clock.batch:  # the time limit has ended the training within the epoch
            return
        self.history.append(self._record(epoch, self.clock.steps_per_epoch, logs or {}))
        self._begun = None
        if self._saved is None or self._is_due():
            self._save()
        else:
            self._write_history()
        self._stop_if_interrupted()

    def on_train_end(self, logs=None):
        if self._saved != (self.clock.epoch, self.clock.batch):
            self._save()

    def _is_due(self):
        return self._interrupted or self.clock.seconds - self._saved_at >= self.interval

    def _stop_if_interrupted(self):
        if self._interrupted:
            raise KeyboardInterrupt

    def _save(self):
        epoch, batch = self.clock.epoch, self.clock.batch
        parts, name = [], f"epoch-{epoch:04d}"
        if batch:
            parts = [{"batches": batch, **self._record(epoch, batch, self._logs)}]
            name += f"-batch-{batch:05d}"
        # The history is written first, so that it has the epochs and parts of every saved state.
        self._parts = [*self._parts, *parts]
        self._write_history()
        path = self.folder / f"{name}.weights.h5"
        partial = self.folder / "partial.weights.h5"
        self.model.sync_jax_state()
        self.model.save_weights(partial, overwrite=True)
        with h5py.File(partial, "a") as file:
            for number, state in enumerate(_random_states(self.model)):
                file[f"{_RANDOM}/{number}"] = keras.ops.convert_to_numpy(state)
        replace(partial, path)
        for _, older in self._states():
            if older != path:
                older.unlink()
        self._parts = parts
        self._saved, self._saved_at = (epoch, batch), self.clock.seconds

    def _record(self, epoch, batches, logs):
        if self._begun is not None:
            # An earlier call trained the first batches, so we average over both parts.
            earlier = self._begun["batches"] / batches
            # JSON stores NaN as null.
            begun = {k: math.nan if v is None else v for k, v in self._begun.items() if k in logs}
            # Values that are measured only after an epoch, such as val_loss, have no earlier part.
            means = {k: earlier * v + (1 - earlier) * logs[k] for k, v in begun.items()}
            logs = {**logs, **means}
        return {
            "epoch": epoch + 1,
            "seconds": self.clock.seconds - sum(record["seconds"] for record in self.history),
            "hardware": hardware(),
            "backend": keras.backend.backend(),
            **{key: float(value) for key, value in logs.items()},
        }

    def _write_history(self):
        record = {"epochs": self.history, "parts": self._parts}
        write_whole(self.folder / "history.json", json_text(record, indent=1))

    def _states(self):
        matches = ((_NAME.fullmatch(path.name), path) for path in self.folder.glob("*.h5"))
        return [((int(m[1]), int(m[2] or 0)), path) for m, path in matches if m]


def _random_states(model):
    """The variables of a model from which its layers draw random numbers, in a fixed order."""
    others = {id(variable) for variable in [*model.weights, *model.metrics_variables]}
    return [variable for variable in model.variables if id(variable) not in others]
