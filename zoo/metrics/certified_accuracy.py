"""Certified accuracy as a Keras metric."""

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from zoo.certificates import LogitCertificate
from zoo.epsilon import Epsilon
from zoo.typing import Budget, Tensor

# Covers the rounding of the required gaps to float32, and that of a difference of two logits.
_ROUNDING = 1.0 + 2.0**-20

# Whether a training step is being traced or run.
_TRAINING: contextvars.ContextVar[bool] = contextvars.ContextVar("training", default=False)


@keras.saving.register_keras_serializable(package="zoo")
class CertifiedAccuracy(keras.metrics.Mean):
    """Fraction of images that are classified as their label, provably for perturbations of ``eps``.

    The norm of the perturbations is that of the model's certificate: ℓ∞ for
    :class:`zoo.models.LinfDistNet`, L2 for the others.

    ``compile(metrics=["accuracy", zoo.metrics.CertifiedAccuracy("8/255")])`` measures it in
    ``evaluate`` and on the validation data of ``fit``: the entry is named ``certified_8/255``, and
    ``val_certified_8/255`` in the logs of ``fit``. It is computed from the logits alone, by the
    model's :meth:`zoo.models.CertifiedModel.logit_certificate` of the weights that are evaluated.

    Training itself has no such entry: the weights change from batch to batch, and networks compute
    other logits in training than those that are certified.

    A certificate is a function of the logits for :class:`zoo.models.LinfDistNet` (by
    ``"lipschitz"``, whose radii are at most those of ``certify``), for
    :class:`zoo.models.L2NonexpansiveNet`, and for :class:`zoo.models.LipschitzMarginNet`. The value
    is at most that of ``certify``. For :class:`zoo.models.LinfDistMLP`,
    :class:`zoo.models.CurvatureNet`, :class:`zoo.models.DoubleBackpropNet` and ordinary Keras
    models the certificate takes more than logits: use the callback
    :class:`zoo.callbacks.CertifiedAccuracy`, which certifies any of them.

    Args:
        eps: budget in units of the [0, 1] image: a number, or a string such as ``"8/255"``.
        name: name of the entry; by default ``certified_<eps>``.
        dtype: dtype of the result, as for every Keras metric.

    Call arguments:
        y_true: labels, integers ``(batch,)`` or ``(batch, 1)``, or one-hot rows.
        y_pred: logits ``(batch, classes)``.

    Raises:
        ValueError: if ``eps`` is no budget; when a model is compiled with it whose certificate
            takes more than logits; when it is updated without a certificate.

    Examples:
        >>> import zoo
        >>> test = zoo.data.load("digits", "test").take(100)
        >>> model = zoo.load("lc-lmt-digits")
        >>> model.compile(metrics=["accuracy", zoo.metrics.CertifiedAccuracy(0.3)])
        >>> found = model.evaluate(test.images, test.labels, verbose=0, return_dict=True)
        >>> found["accuracy"] >= found["certified_0.3"] > 0.5
        True
    """

    def __init__(self, eps: Budget, name: str | None = None, dtype: Any = None) -> None:
        self.eps = Epsilon(eps)
        super().__init__(name=name or f"certified_{self.eps}", dtype=dtype)
        self._direction = "up"  # by which EarlyStopping and ModelCheckpoint know what is better
        self._gaps: Any = None

    def prepare(self, num_classes: int) -> None:
        """Make the variable that holds the certificate; ``compile`` of a model calls this.

        Args:
            num_classes: number of classes of the model.

        Raises:
            ValueError: if the metric belongs to a model with another number of classes.
        """
        shape = (num_classes, num_classes)
        if self._gaps is None:
            infinite = keras.initializers.Constant(np.inf)  # certifies nothing
            # Replicas of TensorFlow would divide a value that is summed over them by their number.
            self._gaps = self.add_variable(
                shape, infinite, aggregation="mean", name="required_gaps"
            )
        elif tuple(self._gaps.shape) != shape:
            raise ValueError(
                f"the metric {self.name!r} belongs to a model of {self._gaps.shape[0]} classes; "
                f"make another one for this model of {num_classes}"
            )

    def use(self, certificate: LogitCertificate | None) -> None:
        """Set the certificate for the logits that follow.

        Models of the zoo do this by themselves at the beginning of each evaluation.

        Args:
            certificate: the model's ``logit_certificate()``, computed from its current weights.
                None for a model that certifies nothing, because its weights are not finite.
        """
        if certificate is None:
            if self._gaps is not None:
                self._gaps.assign(np.full(self._gaps.shape, np.inf, np.float32))
            return
        gaps = certificate.required_gaps(self.eps)
        self.prepare(len(gaps))
        self._gaps.assign((gaps * _ROUNDING).astype(np.float32))

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Any = None) -> None:
        if _TRAINING.get():
            return
        if self._gaps is None:
            raise ValueError(
                f"the metric {self.name!r} has no certificate: compile a model of the zoo with it, "
                "or call its use() with a logit_certificate()"
            )
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.cast(y_pred, "float32")
        one_hot = len(y_true.shape) == 2 and y_true.shape[1] == y_pred.shape[1]
        labels = ops.argmax(y_true, axis=1) if one_hot else ops.reshape(y_true, (-1,))
        predicted = ops.argmax(y_pred, axis=1)
        own = ops.one_hot(predicted, y_pred.shape[1], dtype="bool")
        gaps = ops.max(y_pred, axis=1, keepdims=True) - y_pred
        kept = ops.logical_or(own, gaps > ops.take(self._gaps, predicted, axis=0))
        # Logits that left float32's range prove nothing, though their gaps are infinite.
        kept = ops.all(ops.logical_and(kept, ops.isfinite(y_pred)), axis=1)
        right = ops.cast(labels, "int32") == ops.cast(predicted, "int32")
        super().update_state(ops.cast(ops.logical_and(right, kept), self.dtype), sample_weight)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "eps": str(self.eps)}


def certified_metrics(metrics: Any) -> list[CertifiedAccuracy]:
    """The metrics of this class among those that ``compile`` was given."""
    flat = keras.tree.flatten(metrics) if metrics is not None else []
    return [metric for metric in flat if isinstance(metric, CertifiedAccuracy)]


@contextlib.contextmanager
def training_step() -> Iterator[None]:
    """A context in which these metrics count nothing."""
    token = _TRAINING.set(True)
    try:
        yield
    finally:
        _TRAINING.reset(token)


def is_training_step() -> bool:
    """Whether the program is within :func:`training_step`."""
    return _TRAINING.get()
