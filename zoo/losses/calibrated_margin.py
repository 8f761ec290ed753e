"""Cross-entropy of margins in units of their Lipschitz constants, with a calibrated slope."""

import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from zoo.losses.lipschitz_loss import LipschitzLoss
from zoo.losses.worst_case import own_class
from zoo.ops.norm_estimate import NormEstimate
from zoo.typing import Scalar, Tensor
from zoo.utils import checks


@keras.saving.register_keras_serializable(package="zoo")
class CalibratedMargin(LipschitzLoss):
    """Cross-entropy of certified distances to the decision boundary, with a slope set by ε and p.

    With ``L_j`` for the Lipschitz constant of ``f_j − f_y``, ``(f_y − f_j) / L_j`` is a certified
    distance. The loss is the cross-entropy of the scores ``z_j = (f_j − f_y) / (L_j σ) + ε/σ`` for
    ``j ≠ y`` and ``z_y = −ε/σ``, plus ``λ K²``, where K is the Lipschitz constant of the features
    below the last layer. The scale ``σ = 2ε / (logit(1 − p/2) − logit(p/2))`` makes the logistic
    function rise from p/2 to 1 − p/2 between the distances −ε and ε. In the scores K is a constant
    for the gradient, so that it is controlled by λ alone.

    Args:
        lipschitz, epsilon: as for every :class:`zoo.losses.lipschitz_loss.LipschitzLoss`. The
            estimate must tell ``features``.
        probability: p, between 0 and 1. A smaller value makes the slope steeper.
        penalty: λ, not negative.
        reduction, name: as for every Keras loss.

    Call arguments:
        y_true: integer labels ``(batch,)``.
        y_pred: logits ``(batch, classes)``.

    Returns:
        Scalar tensor, by default the mean of the losses of the images.

    Raises:
        TypeError: if ``lipschitz`` is not a function, or does not return a ``NormEstimate``.
        ValueError: if an argument is out of range; when the loss is called, if ``lipschitz`` is
            None or its estimate does not tell ``features``.

    Examples:
        >>> import numpy as np, zoo
        >>> steady = lambda: zoo.ops.NormEstimate(np.float32(1.0), features=np.float32(1.0))
        >>> loss = zoo.losses.CalibratedMargin(steady, epsilon=0.5, penalty=0.0)
        >>> round(float(loss(np.array([0]), np.array([[1.0, 0.0]], "float32"))), 4)
        0.6931

    Reference:
        Losch, Stutz, Schiele, Fritz: Certified Robust Models with Slack Control and Large Lipschitz
        Constants, GCPR 2023, section 3.
    """

    def __init__(
        self,
        lipschitz: Callable[[], NormEstimate] | None,
        epsilon: Scalar,
        probability: float = 0.3,
        penalty: float = 1e-4,
        reduction: str | None = "sum_over_batch_size",
        name: str = "calibrated_margin",
    ) -> None:
        super().__init__(lipschitz, epsilon, reduction, name)
        if not 0 < probability < 1:
            raise ValueError(f"probability must be between 0 and 1, got {probability!r}")
        self.probability = probability
        self.penalty = checks.not_negative_number(penalty, "penalty")

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        estimate = self.estimated()
        if estimate.features is None:
            raise ValueError(
                "the calibrated loss needs the Lipschitz constant of the features: return "
                "zoo.ops.NormEstimate(value, features=…)"
            )
        features = ops.convert_to_tensor(estimate.features, y_pred.dtype)
        own = own_class(y_true, y_pred)
        # The gradient of this ratio cancels that of the features' part of the estimate.
        fixed = ops.stop_gradient(features) / features
        # Adding `own` keeps the label's own difference, which is 0, from being divided by 0.
        steepness = self.of_labels(estimate, own) * fixed * (1.0 - own) + own
        gap = y_pred - ops.sum(own * y_pred, axis=-1, keepdims=True)
        # ε/σ = (logit(1 − p/2) − logit(p/2)) / 2 = logit(1 − p/2).
        offset = math.log(2.0 / self.probability - 1.0)
        # Where the budget is a variable, it is divided by, so that a schedule can change it.
        scores = gap * (offset / self.epsilon) / steepness + offset * (1.0 - 2.0 * own)
        entropy = keras.losses.categorical_crossentropy(own, scores, from_logits=True)
        return entropy + self.penalty * ops.square(features)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "probability": self.probability,
            "penalty": self.penalty,
        }
