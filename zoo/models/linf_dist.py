"""ℓ∞-distance networks: 1-Lipschitz in ℓ∞ by construction."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from zoo.certificates import (
    CertifiedBatch,
    LogitCertificate,
    largest_certified,
    lipschitz_radii,
    lipschitz_radius,
    round_down,
)
from zoo.certificates.bisection import largest_of_budgets
from zoo.certificates.certificate import per_class_of
from zoo.certificates.pairs import PAIRS
from zoo.epsilon import Epsilon
from zoo.layers import LinfDistance
from zoo.losses import ClippedHingeMixture, WorstCaseCrossEntropy, WorstCaseHinge
from zoo.models.base import of_this_model
from zoo.models.linf_dist_features import LinfDistFeatures
from zoo.ops.float32 import UNIT_ROUNDOFF
from zoo.ops.lp_distance import Implementation
from zoo.typing import Array, ArrayLike, Budget, Norm, Tensor
from zoo.utils import checks

_LOSSES = ("mixture", "hinge", "cross_entropy")


@keras.saving.register_keras_serializable(package="zoo")
class LinfDistNet(LinfDistFeatures):
    """Fully connected network of ℓ∞-distance neurons.

    ``logits = −std · layer(… layer((x − mean) / std))``: every logit is 1-Lipschitz in the ℓ∞ norm
    of the [0, 1] image, for any weights, so fine-tuning keeps the guarantee.

    Without an argument ``loss``, ``compile`` uses the loss that is chosen here, with ``epsilon`` as
    its budget. A loss that contains a cross-entropy has a trainable scale of the logits.

    Args:
        image_shape: ``(height, width, channels)``.
        num_classes: number of classes, at least 2.
        width: number of neurons of each hidden layer.
        depth: number of layers, including the output layer.
        mean: mean of the pixels in [0, 1], a number or one per channel.
        std: standard deviation of the pixels in [0, 1], one number, because a scale for each
            channel would change the norm.
        epsilon: ℓ∞ budget that the default loss trains for, in units of the [0, 1] image.
        loss: ``"mixture"`` (:class:`zoo.losses.ClippedHingeMixture`), ``"hinge"``
            (:class:`zoo.losses.WorstCaseHinge`) or ``"cross_entropy"``
            (:class:`zoo.losses.WorstCaseCrossEntropy`).
        cross_entropy_weight: initial weight λ of the cross-entropy in the mixture, without which an
            untrained network hardly learns; it can be assigned later.
        implementation: implementation of the distance, see :func:`zoo.ops.lp_distance`.

    Raises:
        ValueError: naming the argument that is unknown or out of range.

    Examples:
        >>> import numpy as np, zoo
        >>> model = zoo.models.LinfDistNet((8, 8, 1), 10, width=16, depth=2)
        >>> len(model.certify(np.zeros((3, 8, 8, 1))))
        3

    Reference:
        Zhang et al., ICML 2021; the mixture: Zhang et al., ICLR 2022.
    """

    certificates = PAIRS["LinfDistNet"]

    def __init__(
        self,
        image_shape: Sequence[int],
        num_classes: int,
        *,
        width: int,
        depth: int,
        mean: ArrayLike = 0.0,
        std: float = 1.0,
        epsilon: Budget = 0.1,
        loss: Literal["mixture", "hinge", "cross_entropy"] = "mixture",
        cross_entropy_weight: float = 0.1,
        implementation: Implementation = "auto",
        **kwargs: Any,
    ) -> None:
        self.depth = checks.positive_integer(depth, "depth")
        checks.one_of(_LOSSES)(loss, "loss")
        super().__init__(
            image_shape,
            num_classes,
            width=width,
            hidden_layers=depth - 1,
            mean=mean,
            std=std,
            epsilon=epsilon,
            cross_entropy_weight=cross_entropy_weight,
            implementation=implementation,
            **kwargs,
        )
        self.loss_name = loss
        self.head = LinfDistance(
            self.num_classes, use_bias=True, implementation=implementation, name="head"
        )
        # The published recipe gives this scale a fifth of the other weights' learning rate. Adam
        # moves every weight by about the learning rate, so the loss uses a fifth of this weight.
        self._scale = self.add_weight(
            name="logit_scale",
            shape=(),
            initializer=keras.initializers.Constant(5.0 / self.std),
            trainable=loss != "hinge",
        )
        self.build((None, *self.image_shape))

    @property
    def architecture(self) -> str:
        """A one-line description of the model, for listings."""
        return f"ℓ∞-distance network, {self.depth} layers, width {self.width}"

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        return -self.std * self.head(self.features(inputs, training), training=training)

    def lipschitz(self) -> float:
        """Lipschitz constant of each logit in the ℓ∞ norm of the image: 1, for any weights."""
        return 1.0

    def on_config_override(self, names: Iterable[str]) -> None:
        super().on_config_override(names)
        # Keras stores weights by their places, which are others where the scale is not trained. So
        # the scalars of another loss begin anew.
        if "loss" in names:
            self._scale.assign(5.0 / self.std)
            self.cross_entropy_weight = self._initial_weight
            self.training_epsilon = float(self.epsilon)

    def default_loss(self) -> Any:
        """The loss that was chosen in the constructor, with the variables of this model."""
        epsilon = self._training_epsilon
        if self.loss_name == "hinge":
            return of_this_model(WorstCaseHinge(epsilon))

        def with_scale(y_true: Tensor, y_pred: Tensor) -> Tensor:
            scale = self._scale / 5.0
            if self.loss_name == "cross_entropy":
                loss = WorstCaseCrossEntropy(epsilon, scale, reduction=None)
            else:
                loss = ClippedHingeMixture(
                    epsilon, self._cross_entropy_weight, scale, reduction=None
                )
            return loss(y_true, y_pred)

        return of_this_model(with_scale)

    def certified_radius(self, x: Array, norm: Norm, method: str) -> CertifiedBatch:
        logits = ops.convert_to_numpy(self(x, training=False))
        error = self._rounding_error()
        radius = lipschitz_radius(logits, self.lipschitz(), error)
        radii = lipschitz_radii(logits, self.lipschitz(), error)
        predicted = np.argmax(logits, axis=1)
        if method == "lipschitz":
            radius = round_down(radius)
            per_class = per_class_of(radii, radius, predicted)
            return CertifiedBatch(logits, radius, per_class=per_class)

        def is_certified(eps: Array) -> Array:
            return self._margin(x, predicted, eps) > 4.0 * error

        # The interval bounds enlarge the radius against the nearest class; those against the other
        # classes stay the ones by the Lipschitz constant, which cost nothing.
        radius = largest_certified(is_certified, radius)
        per_class = per_class_of(radii, radius, predicted)
        return CertifiedBatch(logits, radius, per_class=per_class)

    def decided(
        self, x: Array, norm: Norm, method: str, budgets: Sequence[Epsilon]
    ) -> CertifiedBatch:
        if method == "lipschitz":
            return super().decided(x, norm, method, budgets)
        found = self.certified_radius(x, norm, "lipschitz")
        predicted, error = np.argmax(found.logits, axis=1), self._rounding_error()

        def is_certified(rows: Array, eps: Array) -> Array:
            return self._margin(x[rows], predicted[rows], eps) > 4.0 * error

        radius = largest_of_budgets(is_certified, found.radius, budgets)
        return CertifiedBatch(found.logits, radius)

    def _margin(self, x: Array, predicted: Array, eps: Array) -> Array:
        """Interval bounds of the lead of the predicted logits, in balls of some radii."""
        lower, upper = self.head.interval(*self.feature_bounds(x, eps))
        # A logit is a negative distance, so the upper end of one is the lower end of the other.
        with np.errstate(over="ignore"):
            low, high = -self.std * np.array(upper), -self.std * np.array(lower)
        rows = np.arange(len(x))
        own = low[rows, predicted]
        high[rows, predicted] = -np.inf
        # A logit that overflows proves nothing.
        with np.errstate(invalid="ignore"):
            return np.where(np.isfinite(own), own - high.max(axis=1), -np.inf)

    def logit_certificate(self) -> LogitCertificate:
        """The ``"lipschitz"`` certificate as a function of logits.

        Returns:
            :class:`zoo.certificates.LogitCertificate`.
        """
        self.require_certifiable("logit_certificate")
        return LogitCertificate(
            "linf",
            self.image_shape,
            num_classes=self.num_classes,
            lipschitz=self.lipschitz(),
            error=float(self._rounding_error()),
        )

    def _rounding_error(self) -> float:
        """Bound of a logit's rounding error in float32, for any image and any box in [0, 1]."""
        error, size = self._error_after([self.head], *self.feature_error())
        return self.std * (error + 2.0 * UNIT_ROUNDOFF * size)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "depth": self.depth, "loss": self.loss_name}
