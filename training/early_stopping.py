"""Early stopping that gives the same result when a run is resumed."""

import types

import keras


class EarlyStopping(keras.callbacks.Callback):
    """Ends a training once the accuracy on validation images has stopped rising.

    The decision is a function of the history only, so that a resumed run ends after the same epoch
    as an uninterrupted one.

    Args:
        state: :class:`training.state.RunState`, a callback that must come before this one; its
            history has ``val_accuracy``.
        patience: number of epochs without a rise after which the training ends.
        min_delta: only a rise by more than this counts.
        start_epoch: number of epochs at the beginning that are ignored.

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
        """Whether the training should end, according to its history so far."""
        rule = keras.callbacks.EarlyStopping(monitor="val_accuracy", mode="max", **self.settings)
        # Keras's callback needs a model only to set its attribute stop_training.
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
