"""The state of a run on disk: what makes it resumable after any interruption."""

import json
import os
import pathlib
import re
import time

import keras

from training.hardware import hardware

_NAME = re.compile(r"epoch-(\d+)\.weights\.h5")


def write_whole(path, text):
    """Write a text file so that it is never seen half-written."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text)
    os.replace(partial, path)


class RunState(keras.callbacks.Callback):
    """Saves weights, optimizer and history after every epoch; restores the last saved epoch.

    Each state is written under another name and renamed when whole, so a run killed at any moment
    resumes from the last finished epoch and ends where the uninterrupted run would.

    Args:
        folder: of the run.
    """

    def __init__(self, folder):
        super().__init__()
        self.folder = pathlib.Path(folder)
        self.history = []

    def restore(self, model):
        """Load the newest state into a compiled model.

        Returns:
            The epoch to go on with, 0 if there is no state.
        """
        epoch, path = max(self._states(), default=(0, None))
        if path is not None:
            model.optimizer.build(model.trainable_variables)
            model.load_weights(path)
            record = json.loads((self.folder / "history.json").read_text())
            self.history = record["epochs"][:epoch]
        return epoch

    def on_epoch_begin(self, epoch, logs=None):
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        record = {
            "epoch": epoch + 1,
            "seconds": time.perf_counter() - self._started,
            "hardware": hardware(),
            "backend": keras.backend.backend(),
        }
        self.history.append(
            {**record, **{key: float(value) for key, value in (logs or {}).items()}}
        )
        # History first: a state never counts epochs that the history lacks.
        write_whole(self.folder / "history.json", json.dumps({"epochs": self.history}, indent=1))
        path = self.folder / f"epoch-{epoch + 1:04d}.weights.h5"
        partial = self.folder / "partial.weights.h5"
        self.model.save_weights(partial, overwrite=True)
        os.replace(partial, path)
        for _, older in self._states():
            if older != path:
                older.unlink()

    def _states(self):
        matches = ((_NAME.fullmatch(path.name), path) for path in self.folder.glob("*.h5"))
        return [(int(match.group(1)), path) for match, path in matches if match]
