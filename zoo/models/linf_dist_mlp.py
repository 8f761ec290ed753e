"""A small dense network on ℓ∞-distance features, certified by interval bounds."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from zoo.certificates import CertifiedBatch, largest_certified, round_down
from zoo.certificates.bisection import largest_of_budgets, largest_per_class
from zoo.certificates.certificate import per_class_of
from zoo.certificates.pairs import PAIRS
from zoo.epsilon import Epsilon
from zoo.layers import EqualizedDense
from zoo.losses.worst_case import own_class
from zoo.models.base import of_this_model
from zoo.models.linf_dist_features import LinfDistFeatures
from zoo.ops.float32 import LARGEST, TANH_ERROR, flushing, sum_rounding
from zoo.ops.lp_distance import Implementation
from zoo.ops.precision import float64
from zoo.typing import Array, ArrayLike, Budget, Norm, Tensor
from zoo.utils import checks


@keras.saving.register_keras_serializable(package="zoo")
class LinfDistMLP(LinfDistFeatures):
    """ℓ∞-distance features followed by dense, tanh and dense layers: the paper's "+MLP" hybrid.

    The features move by at most ``eps / std`` when the image moves by ``eps``, for any weights.
    Interval bounds propagate this box through the dense layers; the last layer is bounded for
    differences of two logits. The bounds follow the current weights, so the guarantee survives
    fine-tuning.

    Without an argument ``loss``, ``compile`` uses the cross-entropy of the worst logits within
    ``epsilon`` plus ``cross_entropy_weight`` times the cross-entropy of the logits themselves.

    Args:
        image_shape: ``(height, width, channels)``.
        num_classes: number of classes, at least 2.
        width: number of neurons of each layer of ℓ∞-distance neurons.
        depth: number of layers of ℓ∞-distance neurons.
        hidden_units: number of units of the hidden dense layer.
        gain: initial size of the dense weights, see :class:`zoo.layers.EqualizedDense`.
        mean: mean of the pixels in [0, 1], a number or one per channel.
        std: standard deviation of the pixels in [0, 1], one number, because a scale for each
            channel would change the norm.
        epsilon: ℓ∞ budget that the default loss trains for, in units of the [0, 1] image.
        cross_entropy_weight: initial weight of the clean cross-entropy; it can be assigned later.
        implementation: implementation of the distance, see :func:`zoo.ops.lp_distance`.

    Raises:
        ValueError: naming the argument that is out of range.

    Examples:
        >>> import numpy as np, zoo
        >>> model = zoo.models.LinfDistMLP((8, 8, 1), 10, width=16, depth=2, hidden_units=8)
        >>> len(model.certify(np.zeros((3, 8, 8, 1))))
        3

    Reference:
        Zhang et al., ICML 2021, Table 1: ℓ∞-dist Net+MLP.
    """

    #: ``interval`` propagates the box of pixels, clipped to [0, 1], through the feature layers;
    #: ``lipschitz`` takes the box around the features that their Lipschitz constant gives.
    certificates = PAIRS["LinfDistMLP"]

    def __init__(
        self,
        image_shape: Sequence[int],
        num_classes: int,
        *,
        width: int,
        depth: int,
        hidden_units: int = 512,
        gain: float = 1.0,
        mean: ArrayLike = 0.0,
        std: float = 1.0,
        epsilon: Budget = 0.1,
        cross_entropy_weight: float = 0.0,
        implementation: Implementation = "auto",
        **kwargs: Any,
    ) -> None:
        self.depth = checks.positive_integer(depth, "depth")
        super().__init__(
            image_shape,
            num_classes,
            width=width,
            hidden_layers=depth,
            mean=mean,
            std=std,
            epsilon=epsilon,
            cross_entropy_weight=cross_entropy_weight,
            implementation=implementation,
            **kwargs,
        )
        self.hidden_units = checks.positive_integer(hidden_units, "hidden_units")
        self.gain = checks.positive_number(gain, "gain")
        self.dense = EqualizedDense(self.hidden_units, gain=self.gain, name="dense")
        self.head = EqualizedDense(self.num_classes, name="head")
        self._last_features = None
        self.build((None, *self.image_shape))

    @property
    def head_layers(self) -> list[keras.layers.Layer]:
        return [self.dense, self.head]

    @property
    def architecture(self) -> str:
        """A one-line description of the model, for listings."""
        return (
            f"ℓ∞-distance features, {self.depth} layers, width {self.width}; "
            f"tanh network with {self.hidden_units} units"
        )

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        features = self.features(inputs, training)
        # The default loss needs the features too, but Keras passes it only the logits.
        self._last_features = features
        return self._logits_of(features)

    def _logits_of(self, features: Tensor) -> Tensor:
        return self.head(ops.tanh(self.dense(features)))

    def default_loss(self) -> Any:
        """Cross-entropy of the worst-case logits, plus the weighted cross-entropy of the logits.

        The worst-case logits are computed from the features of the model's last call.
        """

        def worst_case_and_clean(y_true: Tensor, y_pred: Tensor) -> Tensor:
            reach = self._training_epsilon / self.std
            features, self._last_features = self._last_features, None
            if features is None:
                raise ValueError(
                    "the default loss of LinfDistMLP uses the features of the last call of the "
                    "model, and uses them only once: call the model before each call of the loss"
                )
            lower, upper = self.dense.interval(features - reach, features + reach)
            # One-hot rows instead of labels: for an invalid label the row, and so the loss, is NaN.
            labels = own_class(y_true, y_pred)
            worst = -self._margins(ops.tanh(lower), ops.tanh(upper), labels)
            clean, certified = (
                keras.losses.categorical_crossentropy(labels, logits, from_logits=True)
                for logits in (y_pred, worst)
            )
            return certified + self._cross_entropy_weight * clean

        return of_this_model(worst_case_and_clean)

    def _margins(self, lower: Tensor, upper: Tensor, own: Tensor) -> Tensor:
        """Lower bounds of ``f_y − f_j`` over a box of the last layer's inputs; 0 for ``j = y``."""
        kernel = self.head.kernel * self.head.factor
        differences = ops.expand_dims(ops.matmul(own, ops.transpose(kernel)), -1) - kernel
        bias = ops.matmul(own, ops.expand_dims(self.head.bias, -1)) - self.head.bias
        centre = ops.einsum("bi,bij->bj", (lower + upper) / 2.0, differences)
        return centre - ops.einsum("bi,bij->bj", (upper - lower) / 2.0, ops.abs(differences)) + bias

    def certified_radius(self, x: Array, norm: Norm, method: str) -> CertifiedBatch:
        logits, bounds = self._logits_and_bounds(x)
        rows = np.arange(len(x))
        radius = largest_certified(lambda eps: bounds.by_lipschitz(rows, eps), np.zeros(len(x)))
        if method == "interval":
            radius = largest_certified(lambda eps: bounds.by_interval(rows, eps), radius)
        return CertifiedBatch(logits, radius)

    def decided(
        self, x: Array, norm: Norm, method: str, budgets: Sequence[Epsilon]
    ) -> CertifiedBatch:
        logits, bounds = self._logits_and_bounds(x)
        radius = largest_of_budgets(bounds.by_lipschitz, np.zeros(len(x)), budgets)
        if method == "interval":
            # The search by intervals begins at the radius by the Lipschitz constant.
            left = np.flatnonzero(radius < np.float32(max(budget.beyond for budget in budgets)))
            start = largest_certified(
                lambda eps: bounds.by_lipschitz(left, eps), np.zeros(len(left))
            )
            radius[left] = largest_of_budgets(
                lambda rows, eps: bounds.by_interval(left[rows], eps), start, budgets
            )
        return CertifiedBatch(logits, radius)

    def _logits_and_bounds(self, x: Array) -> "tuple[Array, _Bounds]":
        features = self.features(x, training=False)
        logits = ops.convert_to_numpy(self._logits_of(features))
        return logits, _Bounds(self, x, np.array(features, np.float64), np.argmax(logits, axis=1))

    def per_class_radius(self, x: Array, norm: Norm, method: str, found: CertifiedBatch) -> Array:
        features = np.array(self.features(x, training=False), np.float64)
        classes, head = np.argmax(found.logits, axis=1), _Head(self)

        def margins(eps: Array) -> Array:
            # Budgets are float32 numbers, in which the box around an image is computed.
            eps = round_down(eps)
            if method == "interval":
                return head.margins(*self.feature_bounds(x, eps), classes)
            reach = eps.astype(np.float64)[:, None] / self.std
            return head.margins(features - reach, features + reach, classes)

        at_zero = margins(np.zeros(len(x)))
        radii = largest_per_class(margins, classes, at_zero, found.radius, upper=1.0)
        return per_class_of(radii, found.radius, classes)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "depth": self.depth,
            "hidden_units": self.hidden_units,
            "gain": self.gain,
        }


class _Bounds:
    """Whether the predictions of a batch are proved in balls around some of its images."""

    def __init__(self, model: LinfDistMLP, x: Array, features: Array, predicted: Array) -> None:
        self.model, self.head = model, _Head(model)
        self.x, self.features, self.predicted = x, features, predicted

    def by_lipschitz(self, rows: Array, eps: Array) -> Array:
        features, reach = self.features[rows], eps.astype(np.float64)[:, None] / self.model.std
        return self.head.margin(features - reach, features + reach, self.predicted[rows]) > 0

    def by_interval(self, rows: Array, eps: Array) -> Array:
        lower, upper = self.model.feature_bounds(self.x[rows], eps)
        lower, upper = np.array(lower, np.float64), np.array(upper, np.float64)
        return self.head.margin(lower, upper, self.predicted[rows]) > 0


class _Head:
    """The dense layers in float64, with bounds of float32's rounding errors in them."""

    def __init__(self, model: LinfDistMLP) -> None:
        self.feature_error, _ = model.feature_error()
        (self.w1, self.b1), (self.w2, self.b2) = (
            (float64(layer.kernel) * layer.factor, float64(layer.bias))
            for layer in model.head_layers
        )
        # Float32 cannot hold larger entries, and flushes smaller factors to zero.
        held = [1e-30 < abs(layer.factor) < 1e30 for layer in model.head_layers]
        held += [bool((np.abs(kernel) < LARGEST).all()) for kernel in (self.w1, self.w2)]
        self.held = all(held)
        # A float32 sum of n products, in any order. The 4 extra roundings cover the bias, the
        # products and their factors.
        self.rounding1, self.rounding2 = (sum_rounding(len(w) + 4) for w in (self.w1, self.w2))
        # Float32 may also replace numbers below its smallest normal one by zero, entries of the
        # kernels before the factors enlarge them.
        factors = [max(1.0, abs(layer.factor)) for layer in model.head_layers]
        self.flushed1 = flushing((len(self.w1) + 4) * factors[0], 1, np.abs(self.w1).max())
        lost = sum(flushing((len(self.w2) + 4) * factors[1], 1, np.abs(self.w2).max()))
        self.logit_size = np.abs(self.w2).sum(axis=0) + np.abs(self.b2)
        self.logit_error = self.rounding2 * self.logit_size + lost

    def margin(self, lower: Array, upper: Array, predicted: Array) -> Array:
        """Lower bound of ``min_j f_c − f_j`` as float32 computes it, over a box of features.

        Args:
            lower, upper: arrays ``(n, width)``, as float32 computes them.
            predicted: int array ``(n,)``, the classes c.

        Returns:
            float64 array ``(n,)``.
        """
        return self.margins(lower, upper, predicted).min(axis=1)

    def margins(self, lower: Array, upper: Array, predicted: Array) -> Array:
        """Lower bounds of ``f_c − f_j`` for each class j; ``inf`` for the class c itself.

        Args:
            lower, upper, predicted: as for :meth:`margin`.

        Returns:
            float64 array ``(n, classes)``.
        """
        # Both the ends of the box and the features of a perturbed image have this rounding error.
        lower = np.asarray(lower, np.float64) - 2.0 * self.feature_error
        upper = np.asarray(upper, np.float64) + 2.0 * self.feature_error
        centre, reach = (lower + upper) / 2.0, (upper - lower) / 2.0
        absolute = np.abs(self.w1)
        features = np.maximum(np.abs(lower), np.abs(upper))
        size = features @ absolute + np.abs(self.b1)
        per_size, lost = self.flushed1
        flushed = per_size * features.max(axis=1, keepdims=True) + lost
        reach = reach @ absolute + self.rounding1 * size + flushed
        centre = centre @ self.w1 + self.b1
        lower, upper = np.tanh(centre - reach), np.tanh(centre + reach)
        centre, reach = (lower + upper) / 2.0, (upper - lower) / 2.0 + TANH_ERROR
        # A sum that may overflow in float32 has no bounded error, so it certifies nothing.
        held = (size < LARGEST).all(axis=1) & (self.logit_size < LARGEST).all() & self.held
        margins = np.full((len(lower), len(self.b2)), np.inf)
        for c in np.unique(predicted):
            rows = predicted == c
            difference = self.w2[:, [c]] - self.w2
            bound = centre[rows] @ difference - reach[rows] @ np.abs(difference)
            bound += self.b2[c] - self.b2 - self.logit_error[c] - self.logit_error
            margins[rows] = np.where(held[rows, None], bound, -np.inf)
            margins[rows, c] = np.inf
        return margins
