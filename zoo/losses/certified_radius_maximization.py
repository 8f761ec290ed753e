"""Cross-entropy plus a term that enlarges the certified radii that are still small."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from zoo.losses.lipschitz_loss import LipschitzLoss
from zoo.losses.worst_case import own_class
from zoo.ops.norm_estimate import NormEstimate
from zoo.typing import Scalar, Tensor
from zoo.utils import checks

# Larger than any distance to a decision boundary; for the label's own class, which has none.
_FAR = 1e6


@keras.saving.register_keras_serializable(package="zoo")
class CertifiedRadiusMaximization(LipschitzLoss):
    """``CE(s f) + (λ/t) · logsumexp_j(−t r_j)``, with the second term where the radius is below ε.

    ``r_j = (f_y − f_j) / L_j`` is the distance that is certified against the class ``j ≠ y``,
    negative if that class has the larger logit; ``L_j`` is the Lipschitz constant of ``f_y − f_j``.
    The term is a smooth form of ``−λ min_j r_j``. Images with a radius of at least ε have only the
    cross-entropy, so the network does not spend its capacity on them.

    Args:
        lipschitz: as for every :class:`zoo.losses.lipschitz_loss.LipschitzLoss`.
        epsilon: the radius that is large enough, in units of the [0, 1] image; somewhat above the
            budget to certify. A number, or a scalar variable for a schedule to change.
        weight: λ, not negative.
        sharpness: t, positive. Larger values bring the smooth minimum closer to the minimum.
        scale: s, positive, the factor on the logits in the cross-entropy. It matters where the
            network cannot scale its logits itself.
        reduction, name: as for every Keras loss.

    Call arguments:
        y_true: integer labels ``(batch,)``.
        y_pred: logits ``(batch, classes)``.

    Returns:
        Scalar tensor, by default the mean of the losses of the images.

    Raises:
        TypeError: if ``lipschitz`` is not a function, or does not return a ``NormEstimate``.
        ValueError: if an argument is out of range; when the loss is called, if ``lipschitz`` is
            None.

    Examples:
        >>> import numpy as np, zoo
        >>> steady = lambda: zoo.ops.NormEstimate(np.float32(1.0))
        >>> loss = zoo.losses.CertifiedRadiusMaximization(steady, epsilon=2.0)
        >>> logits = np.array([[0.0, 0.0]], "float32")
        >>> round(float(loss(np.array([0]), logits)), 4)  # log 2 − 30 · 0
        0.6931

    Reference:
        Fazlyab, Entesari, Roy, Chellappa: Certified Robustness via Dynamic Margin Maximization and
        Improved Lipschitz Regularization, NeurIPS 2023, section 2.
    """

    def __init__(
        self,
        lipschitz: Callable[[], NormEstimate] | None,
        epsilon: Scalar,
        weight: float = 30.0,
        sharpness: float = 5.0,
        scale: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str = "certified_radius_maximization",
    ) -> None:
        super().__init__(lipschitz, epsilon, reduction, name)
        self.weight = checks.not_negative_number(weight, "weight")
        self.sharpness = checks.positive_number(sharpness, "sharpness")
        self.scale = checks.positive_number(scale, "scale")

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        own = own_class(y_true, y_pred)
        # Adding `own` keeps the label's own difference, which is 0, from being divided by 0.
        steepness = self.of_labels(self.estimated(), own) * (1.0 - own) + own
        gap = ops.sum(own * y_pred, axis=-1, keepdims=True) - y_pred
        distances = gap / steepness + _FAR * own
        small = ops.cast(ops.min(distances, axis=-1) < self.epsilon, y_pred.dtype)
        smooth = ops.logsumexp(-self.sharpness * distances, axis=-1) / self.sharpness
        scaled = y_pred * self.scale
        entropy = keras.losses.categorical_crossentropy(own, scaled, from_logits=True)
        return entropy + self.weight * small * smooth

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "weight": self.weight,
            "sharpness": self.sharpness,
            "scale": self.scale,
        }
