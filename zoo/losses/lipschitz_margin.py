"""Cross-entropy that asks the label's logit to exceed the others by a margin."""

from collections.abc import Callable
from typing import Any, Literal

import keras
from keras import ops

from zoo.losses.worst_case import as_number, checked_epsilon, own_class
from zoo.ops.norm_estimate import NormEstimate
from zoo.typing import Scalar, Tensor

#: ``"lmt"`` raises all logits except the label's, ``"lc-lmt"`` only the largest of those.
VARIANTS = ("lmt", "lc-lmt")


@keras.saving.register_keras_serializable(package="zoo")
class LipschitzMargin(keras.losses.Loss):
    """Cross-entropy after other logits were raised by as much as a perturbation might raise them.

    ``"lmt"`` raises every logit except the label's. ``"lc-lmt"`` raises only the one that would
    then be the largest, so the label's logit falls by at most one rank, and training works with a
    large ε from the first epoch.

    Args:
        lipschitz: function without arguments that returns a :class:`zoo.ops.NormEstimate` of the
            Lipschitz constant of differences of logits: a scalar, ``√2`` times the network's
            Lipschitz constant, or a tensor ``(classes, classes)`` with one constant for each pair
            of classes. Gradients flow through it. With None, the
            :class:`zoo.models.LipschitzMarginNet` that is compiled with the loss gives its own
            estimate. A loaded loss has None, because a function cannot be stored.
        epsilon: positive, the L2 budget in units of the [0, 1] image; a number, or a scalar
            variable for a schedule to change.
        variant: ``"lmt"`` or ``"lc-lmt"``.
        reduction, name: as for every Keras loss.

    Call arguments:
        y_true: integer labels ``(batch,)``.
        y_pred: logits ``(batch, classes)``.

    Raises:
        TypeError: if ``lipschitz`` is not a function, or does not return a ``NormEstimate``.
        ValueError: if ε or the variant is out of range; when the loss is called, if ``lipschitz``
            is None.

    Example:

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
        super().__init__(reduction=reduction, name=name)
        if lipschitz is not None and not callable(lipschitz):
            raise TypeError(f"lipschitz must be a function, got {type(lipschitz).__name__}")
        if variant not in VARIANTS:
            raise ValueError(f"variant must be one of {VARIANTS}, got {variant!r}")
        self.lipschitz = lipschitz
        self.epsilon = checked_epsilon(epsilon)
        self.variant = variant

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        # One-hot rows are passed instead of labels, because the row of an invalid label is NaN.
        return keras.losses.categorical_crossentropy(
            own_class(y_true, y_pred), self.raised(y_true, y_pred), from_logits=True
        )

    def raised(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """The raised logits, which go into the cross-entropy: tensor ``(batch, classes)``."""
        if self.lipschitz is None:
            raise ValueError(
                "this LipschitzMargin has no estimate of a Lipschitz constant; compile a "
                "LipschitzMarginNet with it, or assign a function to loss.lipschitz"
            )
        estimate = self.lipschitz()
        if not isinstance(estimate, NormEstimate):
            raise TypeError(
                f"lipschitz must return a zoo.ops.NormEstimate, got {type(estimate).__name__}"
            )
        own = own_class(y_true, y_pred)
        steepness = ops.convert_to_tensor(estimate.value, y_pred.dtype)
        if len(steepness.shape) == 2:
            steepness = ops.matmul(own, steepness)
        others = y_pred + (1.0 - own) * steepness * self.epsilon
        if self.variant == "lmt":
            return others
        # 1e9 is subtracted from the label's own logit, so that it is never taken for the largest of
        # the others.
        rival = ops.argmax(others - own * 1e9, axis=-1)
        rival = ops.one_hot(rival, y_pred.shape[-1], dtype=y_pred.dtype)
        return y_pred + rival * (others - y_pred)

    def get_config(self) -> dict[str, Any]:
        # A function cannot be stored. A loaded model gives its own estimate to the loss.
        return {
            **super().get_config(),
            "lipschitz": None,
            "epsilon": as_number(self.epsilon),
            "variant": self.variant,
        }
