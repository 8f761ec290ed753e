"""When a training ends before its last epoch."""

import types

import keras


class EarlyStopping(keras.callbacks.Callback):
    """Ends a training once the accuracy on validation images has stopped rising.

    The decision is a function of the history alone, so that a resumed run ends where the
    uninterrupted one would.

    Args:
        state: :class:`training.state.RunState`, a callback before this one; ``val_accuracy`` is in
            its history.
        patience: the number of epochs without a rise that end the training.
        min_delta: a rise that is not larger does not count.
        start_epoch: number of epochs at the beginning that do not count.

    Reference:
        ``keras.callbacks.EarlyStopping``.
    """

    def __init__(self, state, patience, min_delta=0.0, start_epoch=0):
        super().__init__()
        self.state = state
        self.settings = {
            "patience": patience,
            "min_delta": min_delta,
            "start_from_epoch": start_epoch,
        }

    @property
    def is_due(self):
        """Whether the history so far ends the training."""
        rule = keras.callbacks.EarlyStopping(monitor="val_accuracy", mode="max", **self.settings)
        # Stands in for the model, of which the rule sets only the attribute that stops it.
        stopped = types.SimpleNamespace(stop_training=False)
        rule.set_model(stopped)
        rule.on_train_begin()
        for index, record in enumerate(self.state.history):
            rule.on_epoch_end(index, record)
            if stopped.stop_training:
                return True
        return False

    def on_epoch_end(self, epoch, logs=None):
        if self.is_due:
            self.model.stop_training = True
