"""Certified accuracy on validation images, after each epoch."""

from typing import Any

import keras

from zoo.epsilon import Epsilon
from zoo.typing import NormLike
from zoo.utils import checks
from zoo.utils.norms import norm_of


class CertifiedAccuracy(keras.callbacks.Callback):
    """Certifies images after each epoch, and adds the certified accuracy to the epoch's logs.

    The entry is named ``val_certified_<eps>``, for example ``val_certified_8/255``, so that
    ``EarlyStopping(monitor="val_certified_8/255", mode="max")``, ``ModelCheckpoint`` and
    ``TensorBoard`` can use it if they come later in the list of callbacks.

    Args:
        data: pair of images and labels, as ``model.certify`` takes them.
        eps: budget, or a list of budgets: numbers or texts such as ``"8/255"``.
        norm, method: as for :meth:`zoo.models.CertifiedModel.certify`.
        batch_size: number of images that are certified at a time.
        prefix: beginning of the names of the entries.

    Raises:
        TypeError, ValueError: naming the argument that is wrong.

    Example:

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
        if not isinstance(data, (tuple, list)) or len(data) != 2:
            raise TypeError(f"data must be a pair of images and labels, got {type(data).__name__}")
        self.images, self.labels = data
        several = isinstance(eps, (list, tuple))
        self.budgets = [Epsilon(one) for one in (eps if several else [eps])]
        self.norm = None if norm is None else norm_of(norm)
        self.method, self.prefix = method, prefix
        self.batch_size = checks.positive_integer(batch_size, "batch_size")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        # Between two batches, Keras keeps the weights outside of the model on JAX.
        self.model.sync_jax_state()
        certificate = self.model.certify(
            self.images, norm=self.norm, method=self.method, batch_size=self.batch_size
        )
        if logs is not None:
            for eps in self.budgets:
                logs[f"{self.prefix}certified_{eps}"] = certificate.accuracy(self.labels, eps)
