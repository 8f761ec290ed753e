"""A loss that widens the gap between the two largest logits."""

from typing import Any

import keras
import numpy as np
from keras import ops

from zoo.losses.worst_case import as_number, own_class
from zoo.ops.float32 import LARGEST
from zoo.typing import Scalar, Tensor


@keras.saving.register_keras_serializable(package="zoo")
class ConfidenceGap(keras.losses.Loss):
    """``La + γ Lb + ω Lc`` for logits ``y`` of a nonexpansive network.

    ``La`` is the cross-entropy of the logits ``u_i y_i`` with one scale per class, and ``Lb`` that
    of ``v y`` with one scale for all classes. ``Lc = log(1 − softmax(z y)_label) / z`` keeps
    widening the gap of images that are already classified correctly.

    Args:
        u: scales per class: an array or a trainable variable ``(classes,)``, or one number.
        v: scale of all logits in ``Lb``: a number, or a trainable scalar variable.
        z: scale of all logits in ``Lc``: a positive number.
        gamma, omega: the weights γ and ω, not negative.
        reduction, name: as for every Keras loss.

    Call arguments:
        y_true: integer labels ``(batch,)``.
        y_pred: logits ``(batch, classes)``.

    Returns:
        Scalar tensor, by default the mean of the losses of the images.

    Raises:
        ValueError: if ``z``, ``gamma`` or ``omega`` is out of range.

    Examples:
        >>> import numpy as np, zoo
        >>> loss = zoo.losses.ConfidenceGap(omega=0.0)
        >>> round(float(loss(np.array([0]), np.array([[0.0, 0.0]], "float32"))), 4)  # 2 · log 2
        1.3863

    Reference:
        Qian, Wegman: L2-Nonexpansive Neural Networks, ICLR 2019, section 2.3, equations 5 to 7.
    """

    def __init__(
        self,
        u: Tensor = 1.0,
        v: Scalar = 1.0,
        z: float = 1.0,
        gamma: float = 1.0,
        omega: float = 0.1,
        reduction: str | None = "sum_over_batch_size",
        name: str = "confidence_gap",
    ) -> None:
        super().__init__(reduction=reduction, name=name)
        if not z > 0:
            raise ValueError(f"z must be positive, got {z!r}")
        for value, argument in ((gamma, "gamma"), (omega, "omega")):
            if not value >= 0:
                raise ValueError(f"{argument} must not be negative, got {value!r}")
        # A loss that is loaded from a file gets its scales as a list.
        self.u = np.asarray(u, "float32") if isinstance(u, (list, tuple)) else u
        self.v, self.z = v, z
        self.gamma, self.omega = gamma, omega

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        labels = ops.reshape(y_true, (-1,))
        per_class, together = (
            keras.losses.sparse_categorical_crossentropy(labels, scaled, from_logits=True)
            for scaled in (y_pred * self.u, y_pred * self.v)
        )
        return per_class + self.gamma * together + self.omega * self._log_others(labels, y_pred)

    def _log_others(self, labels: Tensor, y_pred: Tensor) -> Tensor:
        """``log(1 − softmax(z y)_label) / z``, which is finite even if the softmax rounds to 1."""
        logits = y_pred * self.z
        others = ops.logsumexp(logits - LARGEST * own_class(labels, logits), axis=-1)
        return (others - ops.logsumexp(logits, axis=-1)) / self.z

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "u": ops.convert_to_numpy(self.u).tolist(),
            "v": as_number(self.v),
            "z": self.z,
            "gamma": self.gamma,
            "omega": self.omega,
        }
