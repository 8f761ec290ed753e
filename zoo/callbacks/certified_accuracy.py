"""Certified accuracy on validation images, after each epoch."""

import math
import warnings
from typing import Any

import keras

from zoo.epsilon import budgets_of
from zoo.typing import NormLike
from zoo.utils import checks, inputs
from zoo.utils.norms import norm_of


class CertifiedAccuracy(keras.callbacks.Callback):
    """Certifies images after each epoch, and adds the certified accuracy to the epoch's logs.

    The entry is named ``val_certified_<eps>``, for example ``val_certified_8/255``, so that
    ``EarlyStopping(monitor="val_certified_8/255", mode="max")``, ``ModelCheckpoint`` and
    ``TensorBoard`` can use it. They must come later in the list of callbacks. The name of a file
    may have it too, as in ``"{epoch}-{val_certified_8/255:.3f}.keras"``; write the budget as a
    fraction then, because a format string reads the point in ``0.1`` as access to an attribute.

    It certifies as :func:`zoo.certify` does: any model of the zoo, and any other Keras classifier
    whose layers have bounds. At the end of the training it warns if the certified accuracy has
    fallen by more than 5 percentage points, and by more than chance explains, since its best epoch.
    If weights of the model are NaN or infinite, the entry is 0, and a warning says why.

    Args:
        data: pair of images and labels, or a data set of both, as
            :meth:`zoo.models.CertifiedModel.certify` takes them. It is read once.
        eps: budget, or a list of budgets, in units of the [0, 1] image: numbers or texts such as
            ``"8/255"``.
        norm, method: as for :meth:`zoo.models.CertifiedModel.certify`; the norm must be given for a
            model that is not of the zoo.
        batch_size: number of images that are certified at a time.
        prefix: beginning of the names of the entries.

    Raises:
        TypeError, ValueError: naming the argument that is wrong; when the training begins, also
            for images, labels or a norm that the model does not take.

    Examples:
        >>> import zoo
        >>> train = zoo.data.load("digits", "train")
        >>> model = zoo.load("lc-lmt-digits")
        >>> model.compile()
        >>> certified = zoo.callbacks.CertifiedAccuracy((train.images[:50], train.labels[:50]), 0.3)
        >>> history = model.fit(train.images, train.labels, callbacks=[certified], verbose=0)
        >>> history.history["val_certified_0.3"][0] > 0.5
        True
    """

    def __init__(
        self,
        data: Any,
        eps: Any,
        *,
        norm: NormLike | None = None,
        method: str = "auto",
        batch_size: int = 256,
        prefix: str = "val_",
    ) -> None:
        super().__init__()
        pair = isinstance(data, (tuple, list)) and len(data) == 2
        if not pair and not inputs.is_data_set(data):
            raise TypeError(
                "data must be a pair of images and labels or a data set of both, got "
                f"{type(data).__name__}"
            )
        self.images, self.labels = inputs.read(*data) if pair else inputs.read(data)
        if self.labels is None:
            raise ValueError("data must give labels too, pairs (images, labels)")
        if not len(self.images):
            raise ValueError("data has no images")
        self.budgets = budgets_of(eps)
        self.norm = None if norm is None else norm_of(norm)
        self.method, self.prefix = method, prefix
        self.batch_size = checks.positive_integer(batch_size, "batch_size")
        self._seen: dict[str, list[float]] = {}

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._seen = {}
        # Whatever is wrong shows now, and not after an epoch. One image is enough for that.
        certificate = self._certify(self.images[:1])
        checks.labels(self.labels, len(self.images), certificate.num_classes)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        from zoo.models.weights import are_finite

        # Of a training that diverged, the history and the best weights must not be lost.
        finite = are_finite(self.model)
        certificate = self._certify(self.images) if finite else None
        if certificate is None:
            warnings.warn(
                f"epoch {epoch + 1}: the model has NaN or infinite weights and certifies nothing",
                UserWarning,
                stacklevel=2,
            )
        for eps in self.budgets:
            name = f"{self.prefix}certified_{eps}"
            found = 0.0 if certificate is None else certificate.accuracy(self.labels, eps)
            self._seen.setdefault(name, []).append(found)
            if logs is not None:
                logs[name] = found

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        for name, seen in self._seen.items():
            best = max(seen)
            if fell(best, seen[-1], len(self.images)):
                warnings.warn(
                    f"{name} was {best:.1%} after epoch {seen.index(best) + 1} of this training "
                    f"and {seen[-1]:.1%} after the last one.{advice(self.model)} EarlyStopping("
                    f"monitor={name!r}, mode='max', restore_best_weights=True) behind this "
                    "callback restores the best epoch at the end",
                    UserWarning,
                    stacklevel=2,
                )

    def _certify(self, images: Any) -> Any:
        from zoo.certificates.any_network import certify

        # Between two batches, Keras keeps the weights outside of the model on JAX.
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()
        norm: Any = self.norm
        return certify(
            self.model,
            images,
            norm=norm,
            method=self.method,
            batch_size=self.batch_size,
            eps=self.budgets,
        )


def fell(best: float, last: float, count: int) -> bool:
    """Whether the last accuracy is below the best by more than 0.05 and two standard deviations."""
    deviation = math.sqrt(max(best * (1.0 - best), 0.25 / count) / count)
    return last < best - max(0.05, 2.0 * deviation)


def advice(model: Any) -> str:
    """A sentence about the budget that a model trains for; empty if it has none."""
    epsilon = getattr(model, "training_budget", None)
    if epsilon is None:
        return ""
    return (
        f" The loss trains for epsilon={epsilon}; if these images do not allow so large a budget, "
        "choose a smaller one, as by zoo.load(name, epsilon=…)."
    )
