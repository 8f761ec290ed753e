"""Training in several processes, which ``TF_CONFIG`` describes."""

import contextlib
import json
import os
import tempfile
from typing import Any

import keras
import numpy as np

from zoo.utils.paths import expanded


class Workers:
    """The processes of a training, each of which computes its share of every batch.

    Each process has an ordinary model, and all models have equal weights from the first step to the
    last: an optimizer from :meth:`averaging` applies the mean of all workers' gradients, which is
    the gradient of the whole batch. ``tf.distribute.MultiWorkerMirroredStrategy`` computes the
    means. We do not use the strategy's ``scope()``, because ``fit`` of Keras 3 fails in it.

    Args:
        count: number of workers.
        index: index of this worker; 0 is the chief, which writes the files.
        strategy: the ``tf.distribute`` strategy that connects the workers; None for one worker.

    Examples:
        >>> from training.workers import Workers
        >>> workers = Workers()
        >>> workers.share(128)
        slice(0, 128, None)
    """

    def __init__(self, count=1, index=0, strategy=None):
        self.count, self.index = count, index
        # The strategy is None if there is only one worker.
        self._strategy: Any = strategy

    @classmethod
    def from_environment(cls):
        """Connect the workers of ``TF_CONFIG``; without it, this process is the only worker.

        Every worker must call this before TensorFlow computes anything. The call waits for the
        other workers.

        Raises:
            ValueError: if ``TF_CONFIG`` is malformed, or the backend is not TensorFlow.
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
                raise ValueError("all tasks must be workers, and this process must be one of them")
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
        """The exceptions that TensorFlow raises if another worker was lost."""
        if self.count == 1:
            return ()
        import tensorflow as tf

        return tf.errors.UnavailableError, tf.errors.AbortedError

    @property
    def is_chief(self):
        """Whether this is the worker that writes the files."""
        return self.index == 0

    def share(self, batch_size):
        """This worker's part of a batch, as a slice.

        Raises:
            ValueError: if the batch cannot be split into equal parts.
        """
        size, rest = divmod(batch_size, self.count)
        if rest:
            raise ValueError(f"batch_size {batch_size} is no multiple of {self.count} workers")
        return slice(self.index * size, (self.index + 1) * size)

    def averaging(self, optimizer):
        """A copy of an optimizer that applies the mean of all workers' gradients."""
        if self.count == 1:
            return optimizer
        workers, kind = self, type(optimizer)

        class Averaging(kind):
            def apply(self, grads, trainable_variables=None):
                return super().apply(workers.mean(grads), trainable_variables)

        Averaging.__name__ = kind.__name__
        return Averaging.from_config(optimizer.get_config())

    def mean(self, tensors):
        """The means over all workers of a list of tensors; an entry None remains None."""
        if self.count == 1:
            return tensors
        import tensorflow as tf

        def reduced(*values):
            # The strategy needs tensors on a device. In a graph, only the copies are on one.
            values = [tf.identity(value) for value in values]
            context = tf.distribute.get_replica_context()
            return context.all_reduce(tf.distribute.ReduceOp.MEAN, values)

        given = [tf.convert_to_tensor(t) for t in tensors if t is not None]
        means = iter(self._strategy.run(reduced, args=tuple(given)) if given else ())
        return [None if t is None else next(means) for t in tensors]

    def from_chief(self, arrays):
        """The chief's values of a list of NumPy arrays, which have equal shapes on all workers."""
        if self.count == 1:
            return arrays
        import tensorflow as tf

        # float64 represents every float32 number, and every integer below 2^53, exactly.
        own = [np.asarray(a, np.float64) for a in arrays]
        own = [self.count * a if self.is_chief else np.zeros_like(a) for a in own]
        received = tf.function(self.mean)(own)
        return [
            r.numpy().astype(np.asarray(a).dtype) for r, a in zip(received, arrays, strict=True)
        ]

    def start_like_chief(self, model, clock):
        """Copy the chief's weights, optimizer state and position to a compiled model and clock."""
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
        """A context with the folder of a run; workers other than the chief get a temporary one.

        Raises:
            RuntimeError: at the end of the context, if another worker was lost.
        """
        with contextlib.ExitStack() as stack:
            if not self.is_chief:
                path = stack.enter_context(tempfile.TemporaryDirectory())
            try:
                yield expanded(path)
            except self._lost as error:
                raise RuntimeError(
                    "another worker was lost; start all workers again, and they go on from the "
                    "last saved state"
                ) from error

    def callbacks(self):
        """Callbacks that keep the other state equal; they must come before one that saves it."""
        return [] if self.count == 1 else [_Together(self)]


class _Together(keras.callbacks.Callback):
    """Averages over all workers what each computes from its share: moving statistics and logs."""

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
