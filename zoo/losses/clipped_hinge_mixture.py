"""The clipped hinge loss plus a weighted cross-entropy."""

from typing import Any

import keras
from keras import ops

from zoo.losses.clipped_hinge import ClippedHinge
from zoo.losses.worst_case import as_number
from zoo.typing import Scalar, Tensor


@keras.saving.register_keras_serializable(package="zoo")
class ClippedHingeMixture(ClippedHinge):
    """``max_j clip((f_j − f_y + 2ε) / 2ε, 0, 1) + λ · CE(s · f)``.

    The clipped hinge has no gradient for misclassified images, where it is 1. The cross-entropy has
    one, which matters early in training; a schedule then lets its weight λ decay.

    Args:
        epsilon: as in :class:`zoo.losses.ClippedHinge`.
        weight: λ, a number or a scalar variable for a schedule to change.
        scale: s, a number or a trainable scalar variable.
        reduction, name: as for every Keras loss.

    Call arguments:
        y_true: integer labels ``(batch,)``.
        y_pred: logits ``(batch, classes)``, each 1-Lipschitz in the image.

    Returns:
        Scalar tensor, by default the mean of the losses of the images.

    Raises:
        ValueError: if ``epsilon`` is not positive; when the loss is called, for labels of another
            shape than ``(batch,)`` or ``(batch, 1)``.

    Examples:
        >>> import numpy as np, zoo
        >>> loss = zoo.losses.ClippedHingeMixture(epsilon=0.5, weight=0.1)
        >>> round(float(loss(np.array([0]), np.array([[1.0, 0.5]], "float32"))), 4)
        0.5474

    Reference:
        Zhang, Jiang, He, Wang: Boosting the Certified Robustness of L-infinity Distance Nets,
        ICLR 2022, equation 7.
    """

    def __init__(
        self,
        epsilon: Scalar,
        weight: Scalar = 0.05,
        scale: Scalar = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str = "clipped_hinge_mixture",
    ) -> None:
        super().__init__(epsilon, reduction=reduction, name=name)
        self.weight, self.scale = weight, scale

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        entropy = keras.losses.sparse_categorical_crossentropy(
            ops.reshape(y_true, (-1,)), y_pred * self.scale, from_logits=True
        )
        return super().call(y_true, y_pred) + self.weight * entropy

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "weight": as_number(self.weight),
            "scale": as_number(self.scale),
        }
