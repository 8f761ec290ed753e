"""Cross-entropy of logits that must win by a margin."""

import keras
from keras import ops

from zoo.losses.worst_case import as_number, checked_epsilon, own_class
from zoo.ops.norm_estimate import NormEstimate

#: Which logits rise: all but the label's, or only the largest of them.
VARIANTS = ("lmt", "lc-lmt")


@keras.saving.register_keras_serializable(package="zoo")
class LipschitzMargin(keras.losses.Loss):
    """Cross-entropy after other logits have risen by as much as a perturbation might raise them.

    ``"lmt"`` raises every logit but the label's, ``"lc-lmt"`` only the one that would then be the
    largest: the label's falls back by one rank at most, and large ε train from the first epoch.

    Args:
        lipschitz: function without arguments that returns a :class:`zoo.ops.NormEstimate` of how
            fast two logits can move apart: ``√2`` times the network's Lipschitz constant, a scalar,
            or one constant for each pair of classes, ``(classes, classes)``. Gradients flow
            through it. None in a loss that a :class:`zoo.models.LipschitzMarginNet` is compiled
            with: it then takes the model's own estimate. A loaded loss is of this kind, because a
            function cannot be stored.
        epsilon: positive, the L2 budget in units of the [0, 1] image; a number, or a scalar
            variable for a schedule to change.
        variant: ``"lmt"`` or ``"lc-lmt"``.
        reduction, name: as for every Keras loss.

    Call arguments:
        y_true: integer labels ``(batch,)``.
        y_pred: logits ``(batch, classes)``.

    Raises:
        TypeError: if ``lipschitz`` is no function, or returns something else.
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
        lipschitz,
        epsilon,
        variant="lc-lmt",
        reduction="sum_over_batch_size",
        name="lipschitz_margin",
    ):
        super().__init__(reduction=reduction, name=name)
        if lipschitz is not None and not callable(lipschitz):
            raise TypeError(f"lipschitz must be a function, got {type(lipschitz).__name__}")
        if variant not in VARIANTS:
            raise ValueError(f"variant must be one of {VARIANTS}, got {variant!r}")
        self.lipschitz = lipschitz
        self.epsilon = checked_epsilon(epsilon)
        self.variant = variant

    def call(self, y_true, y_pred):
        # Rows rather than labels: the row of a label without a class is NaN.
        return keras.losses.categorical_crossentropy(
            own_class(y_true, y_pred), self.raised(y_true, y_pred), from_logits=True
        )

    def raised(self, y_true, y_pred):
        """The logits that the cross-entropy is of: tensor ``(batch, classes)``."""
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
        # Pushed out of reach, the label's own logit is never the largest other one.
        rival = ops.argmax(others - own * 1e9, axis=-1)
        rival = ops.one_hot(rival, y_pred.shape[-1], dtype=y_pred.dtype)
        return y_pred + rival * (others - y_pred)

    def get_config(self):
        # The function cannot be stored. A loaded model brings its own.
        return {
            **super().get_config(),
            "lipschitz": None,
            "epsilon": as_number(self.epsilon),
            "variant": self.variant,
        }
