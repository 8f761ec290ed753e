"""One training over several processes, as ``TF_CONFIG`` has them."""

import contextlib
import json
import os
import pathlib
import tempfile
from typing import Any

import keras
import numpy as np


class Workers:
    """The processes of a training; each takes its share of every batch.

    The model is an ordinary one in each process, with weights that are equal from the first step to
    the last: an optimizer from :meth:`averaging` applies the mean of all workers' gradients, which
    is the gradient of the whole batch. The means are taken by
    ``tf.distribute.MultiWorkerMirroredStrategy``. (Under the strategy's own ``scope()``, Keras 3
    cannot ``fit``.)

    Args:
        count: of workers.
        index: of this one; 0 is the chief, which writes the files.
        strategy: that connects them; None for one worker.

    Example:

    >>> from training.workers import Workers
    >>> workers = Workers()
    >>> workers.share(128)
    slice(0, 128, None)
    """

    def __init__(self, count=1, index=0, strategy=None):
        self.count, self.index = count, index
        # There is none where one process works alone.
        self._strategy: Any = strategy

    @classmethod
    def from_environment(cls):
        """Those of ``TF_CONFIG``, connected; without it this process alone.

        To be called before TensorFlow computes anything, in every worker; it waits for the others.

        Raises:
            ValueError: if ``TF_CONFIG`` has another form, or the backend is not TensorFlow.
        """
        text = os.environ.get("TF_CONFIG") or "{}"
        try:
            config = json.loads(text)
            addresses = config.get("cluster", {}).get("worker", [])
            others = set(config.get("cluster", {})) - {"worker"}
            if len(addresses) < 2 and not others:
                return cls()
            kind, index = config["task"]["type"], int(config["task"]["index"])
            if others or kind != "worker" or not 0 <= index < len(addresses):
                raise ValueError("there is more than workers, or this is none of them")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                'TF_CONFIG must be like {"cluster": {"worker": ["host:port", …]}, '
                f'"task": {{"type": "worker", "index": 0}}}}, got {text} ({error})'
            ) from error
        if keras.backend.backend() != "tensorflow":
            raise ValueError("several workers, as in TF_CONFIG, need the TensorFlow backend")
        import tensorflow as tf

        return cls(len(addresses), index, tf.distribute.MultiWorkerMirroredStrategy())

    @property
    def _lost(self):
        """What TensorFlow raises when a worker is gone."""
        if self.count == 1:
            return ()
        import tensorflow as tf

        return tf.errors.UnavailableError, tf.errors.AbortedError

    @property
    def is_chief(self):
        """Whether this is the one that writes the files."""
        return self.index == 0

    def share(self, batch_size):
        """This worker's part of a batch, as a slice.

        Raises:
            ValueError: if a batch has no equal parts.
        """
        size, rest = divmod(batch_size, self.count)
        if rest:
            raise ValueError(f"batch_size {batch_size} is no multiple of {self.count} workers")
        return slice(self.index * size, (self.index + 1) * size)

    def averaging(self, optimizer):
        """The same optimizer, for gradients of all workers' shares."""
        if self.count == 1:
            return optimizer
        workers, kind = self, type(optimizer)

        class Averaging(kind):
            def apply(self, grads, trainable_variables=None):
                return super().apply(workers.mean(grads), trainable_variables)

        Averaging.__name__ = kind.__name__
        return Averaging.from_config(optimizer.get_config())

    def mean(self, tensors):
        """Means over all workers, of a list of tensors; None stays."""
        if self.count == 1:
            return tensors
        import tensorflow as tf

        def reduced(*values):
            # In a graph it is the copy that is on a device, which the strategy asks for.
            values = [tf.identity(value) for value in values]
            context = tf.distribute.get_replica_context()
            return context.all_reduce(tf.distribute.ReduceOp.MEAN, values)

        given = [tf.convert_to_tensor(t) for t in tensors if t is not None]
        means = iter(self._strategy.run(reduced, args=tuple(given)) if given else ())
        return [None if t is None else next(means) for t in tensors]

    def from_chief(self, arrays):
        """The chief's values of a list of NumPy arrays, of equal shapes everywhere."""
        if self.count == 1:
            return arrays
        import tensorflow as tf

        # In float64, which holds all that there is: float32, and integers below 2^53.
        own = [np.asarray(a, np.float64) for a in arrays]
        own = [self.count * a if self.is_chief else np.zeros_like(a) for a in own]
        received = tf.function(self.mean)(own)
        return [
            r.numpy().astype(np.asarray(a).dtype) for r, a in zip(received, arrays, strict=True)
        ]

    def start_like_chief(self, model, clock):
        """Take over the chief's weights, optimizer and position, of a compiled model."""
        if self.count == 1:
            return
        model.optimizer.build(model.trainable_variables)
        variables = [*model.variables, *model.optimizer.variables]
        place = np.array([clock.epoch, clock.batch])
        arrays = [keras.ops.convert_to_numpy(variable) for variable in variables]
        *values, place = self.from_chief([*arrays, place])
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        clock.resume(int(place[0]), int(place[1]), clock.seconds)

    @contextlib.contextmanager
    def folder(self, path):
        """The folder of a run: of the chief the one given, of others one that is thrown away.

        Raises:
            RuntimeError: on leaving, if another worker was lost.
        """
        with contextlib.ExitStack() as stack:
            if not self.is_chief:
                path = stack.enter_context(tempfile.TemporaryDirectory())
            try:
                yield pathlib.Path(path)
            except self._lost as error:
                raise RuntimeError(
                    "another worker was lost; start all workers again, and they go on from the "
                    "last saved state"
                ) from error

    def callbacks(self):
        """What keeps the rest of the state together, before any callback that saves it."""
        return [] if self.count == 1 else [_Together(self)]


class _Together(keras.callbacks.Callback):
    """Means of what each worker has from its own share: running statistics, and the logs."""

    def __init__(self, workers):
        super().__init__()
        import tensorflow as tf

        self._mean = tf.function(workers.mean)

    def on_train_batch_end(self, batch, logs=None):
        weights = [w for w in self.model.non_trainable_weights if "float" in w.dtype]
        for weight, mean in zip(weights, self._mean([w.value for w in weights]), strict=True):
            weight.assign(mean)

    def on_epoch_end(self, epoch, logs=None):
        if logs:
            means = self._mean([np.float32(value) for value in logs.values()])
            logs.update({key: float(mean) for key, mean in zip(logs, means, strict=True)})
