"""The base class of losses that need an estimate of a Lipschitz constant."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from zoo.losses.worst_case import as_number, checked_epsilon
from zoo.ops.norm_estimate import NormEstimate
from zoo.typing import Scalar, Tensor


class LipschitzLoss(keras.losses.Loss):
    """A loss that compares differences of logits with how fast they can change.

    Args:
        lipschitz: function without arguments that returns a :class:`zoo.ops.NormEstimate` of the
            Lipschitz constant of differences of logits: a scalar, ``√2`` times the network's
            Lipschitz constant, or a tensor ``(classes, classes)`` with one constant for each pair
            of classes. Gradients flow through it. With None, the
            :class:`zoo.models.LipschitzMarginNet` that is compiled with the loss gives its own
            estimate. A loaded loss has None, because a function cannot be stored.
        epsilon: positive, the L2 budget in units of the [0, 1] image; a number, or a scalar
            variable for a schedule to change.
        reduction, name: as for every Keras loss.

    Raises:
        TypeError: if ``lipschitz`` is not a function, or does not return a ``NormEstimate``.
        ValueError: if ε is out of range; when the loss is called, if ``lipschitz`` is None.
    """

    def __init__(
        self,
        lipschitz: Callable[[], NormEstimate] | None,
        epsilon: Scalar,
        reduction: str | None,
        name: str,
    ) -> None:
        super().__init__(reduction=reduction, name=name)
        if lipschitz is not None and not callable(lipschitz):
            raise TypeError(f"lipschitz must be a function, got {type(lipschitz).__name__}")
        self.lipschitz = lipschitz
        self.epsilon = checked_epsilon(epsilon)

    def estimated(self) -> NormEstimate:
        """What ``lipschitz`` returns, after a check."""
        if self.lipschitz is None:
            raise ValueError(
                f"this {type(self).__name__} has no estimate of a Lipschitz constant; compile a "
                "LipschitzMarginNet with it, or assign a function to loss.lipschitz"
            )
        estimate = self.lipschitz()
        if not isinstance(estimate, NormEstimate):
            raise TypeError(
                f"lipschitz must return a zoo.ops.NormEstimate, got {type(estimate).__name__}"
            )
        return estimate

    @staticmethod
    def of_labels(estimate: NormEstimate, own: Tensor) -> Tensor:
        """The constants of the differences to the label's logit.

        Args:
            estimate: of a scalar, or of a tensor ``(classes, classes)``.
            own: one-hot rows of the labels, ``(batch, classes)``.

        Returns:
            Scalar tensor, or tensor ``(batch, classes)``.
        """
        steepness = ops.convert_to_tensor(estimate.value, own.dtype)
        return ops.matmul(own, steepness) if len(steepness.shape) == 2 else steepness

    def get_config(self) -> dict[str, Any]:
        # A function cannot be stored. A loaded model gives its own estimate to the loss.
        return {**super().get_config(), "lipschitz": None, "epsilon": as_number(self.epsilon)}
