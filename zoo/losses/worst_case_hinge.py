"""Hinge loss of the worst class at a perturbation budget."""

from typing import Any

import keras
from keras import ops

from zoo.losses.worst_case import as_number, checked_epsilon, largest_gap
from zoo.typing import Scalar, Tensor


@keras.saving.register_keras_serializable(package="zoo")
class WorstCaseHinge(keras.losses.Loss):
    """``max(0, max_j f_j − f_y + 2ε)`` over the classes ``j ≠ y``.

    The loss is 0 if and only if the label's logit exceeds every other one by at least 2ε. If the
    logits are 1-Lipschitz, the image is then classified as its label under every perturbation below
    ε.

    Args:
        epsilon: positive, the perturbation budget in units of the [0, 1] image; a number, or a
            scalar variable for a schedule to change.
        reduction, name: as for every Keras loss.

    Call arguments:
        y_true: integer labels ``(batch,)`` or ``(batch, 1)``.
        y_pred: logits ``(batch, classes)``, each 1-Lipschitz in the image.

    Returns:
        Scalar tensor, by default the mean of the losses of the images.

    Raises:
        ValueError: if ``epsilon`` is not positive; when the loss is called, for labels of another
            shape.

    Examples:
        >>> import numpy as np, zoo
        >>> loss = zoo.losses.WorstCaseHinge(epsilon=0.5)
        >>> float(loss(np.array([0]), np.array([[1.0, 0.5]], "float32")))
        0.5

    Reference:
        Zhang et al., ICML 2021, section 4: multi-class hinge with threshold ``2ε``.
    """

    def __init__(
        self,
        epsilon: Scalar,
        reduction: str | None = "sum_over_batch_size",
        name: str = "worst_case_hinge",
    ) -> None:
        super().__init__(reduction=reduction, name=name)
        self.epsilon = checked_epsilon(epsilon)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return ops.relu(largest_gap(y_true, y_pred) + 2.0 * self.epsilon)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "epsilon": as_number(self.epsilon)}
