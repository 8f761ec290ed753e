"""Cross-entropy that asks the label's logit to exceed the others by a margin."""

from collections.abc import Callable
from typing import Any, Literal

import keras
from keras import ops

from zoo.losses.lipschitz_loss import LipschitzLoss
from zoo.losses.worst_case import own_class
from zoo.ops.float32 import LARGEST
from zoo.ops.norm_estimate import NormEstimate
from zoo.typing import Scalar, Tensor
from zoo.utils import checks

#: ``"lmt"`` raises all logits except the label's, ``"lc-lmt"`` only the largest of those.
VARIANTS = ("lmt", "lc-lmt")


@keras.saving.register_keras_serializable(package="zoo")
class LipschitzMargin(LipschitzLoss):
    """Cross-entropy after other logits were raised by as much as a perturbation might raise them.

    ``"lmt"`` raises every logit except the label's. ``"lc-lmt"`` raises only the one that would
    then be the largest, so the label's logit falls by at most one rank, and training works with a
    large ε from the first epoch.

    Args:
        lipschitz, epsilon: as for every :class:`zoo.losses.lipschitz_loss.LipschitzLoss`.
        variant: ``"lmt"`` or ``"lc-lmt"``.
        reduction, name: as for every Keras loss.

    Call arguments:
        y_true: integer labels ``(batch,)``.
        y_pred: logits ``(batch, classes)``.

    Returns:
        Scalar tensor, by default the mean of the losses of the images.

    Raises:
        TypeError: if ``lipschitz`` is not a function, or does not return a ``NormEstimate``.
        ValueError: if ε or the variant is out of range; when the loss is called, if ``lipschitz``
            is None.

    Examples:
        >>> import numpy as np, zoo
        >>> steady = lambda: zoo.ops.NormEstimate(np.float32(1.0))
        >>> loss = zoo.losses.LipschitzMargin(steady, epsilon=0.5)
        >>> round(float(loss(np.array([0]), np.array([[0.5, 0.0]], "float32"))), 4)
        0.6931

    Reference:
        Tsuzuku, Sato, Sugiyama: Lipschitz-Margin Training, NeurIPS 2018, algorithm 1 (LMT); Ono,
        Takahashi, Kakizaki: Lightweight Lipschitz Margin Training, 2018, algorithm 2 (LC-LMT).
    """

    def __init__(
        self,
        lipschitz: Callable[[], NormEstimate] | None,
        epsilon: Scalar,
        variant: Literal["lmt", "lc-lmt"] = "lc-lmt",
        reduction: str | None = "sum_over_batch_size",
        name: str = "lipschitz_margin",
    ) -> None:
        super().__init__(lipschitz, epsilon, reduction, name)
        self.variant = checks.one_of(VARIANTS)(variant, "variant")

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        # One-hot rows are passed instead of labels, because the row of an invalid label is NaN.
        return keras.losses.categorical_crossentropy(
            own_class(y_true, y_pred), self.raised(y_true, y_pred), from_logits=True
        )

    def raised(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """The raised logits, which go into the cross-entropy: tensor ``(batch, classes)``."""
        own = own_class(y_true, y_pred)
        steepness = self.of_labels(self.estimated(), own)
        others = y_pred + (1.0 - own) * steepness * self.epsilon
        if self.variant == "lmt":
            return others
        # The label's own logit is lowered, so that it is never taken for the largest of the others.
        rival = ops.argmax(others - own * LARGEST, axis=-1)
        rival = ops.one_hot(rival, y_pred.shape[-1], dtype=y_pred.dtype)
        return y_pred + rival * (others - y_pred)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "variant": self.variant}
