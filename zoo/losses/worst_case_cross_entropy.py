"""Cross-entropy of the worst logits that a perturbation can cause."""

from typing import Any

import keras
from keras import ops

from zoo.losses.worst_case import as_number, checked_epsilon, own_class
from zoo.typing import Scalar, Tensor


@keras.saving.register_keras_serializable(package="zoo")
class WorstCaseCrossEntropy(keras.losses.Loss):
    """Cross-entropy after the label's logit was lowered by ``2ε`` relative to all others.

    If the logits are 1-Lipschitz, no perturbation of size ε can make the cross-entropy larger.

    Args:
        epsilon: positive, the perturbation budget in units of the [0, 1] image; a number, or a
            scalar variable for a schedule to change.
        scale: factor of the logits before the softmax, a number or a scalar variable. Logits that
            are distances differ by no more than pixels do, which is too little for a softmax.
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
        >>> loss = zoo.losses.WorstCaseCrossEntropy(epsilon=0.25)
        >>> round(float(loss(np.array([0]), np.array([[1.0, 0.5]], "float32"))), 4)
        0.6931

    Reference:
        Zhang et al., ICML 2021; Wong, Kolter: Provable Defenses, 2018, for the worst-case logits.
    """

    def __init__(
        self,
        epsilon: Scalar,
        scale: Scalar = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str = "worst_case_cross_entropy",
    ) -> None:
        super().__init__(reduction=reduction, name=name)
        self.epsilon = checked_epsilon(epsilon)
        self.scale = scale

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        worst = y_pred - 2.0 * self.epsilon * own_class(y_true, y_pred)
        return keras.losses.sparse_categorical_crossentropy(
            ops.reshape(y_true, (-1,)), worst * self.scale, from_logits=True
        )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "epsilon": as_number(self.epsilon),
            "scale": as_number(self.scale),
        }
