"""Features of ℓ∞-distance neurons: the base class of ℓ∞-distance networks."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from zoo.bounds.model_state import require_float32_weight
from zoo.callbacks import PSchedule
from zoo.layers import LinfDistance, MeanShift
from zoo.models.base import CertifiedModel
from zoo.models.training_epsilon import TrainingEpsilon
from zoo.ops.float32 import UNIT_ROUNDOFF
from zoo.ops.lp_distance import Implementation
from zoo.papers import PAPERS
from zoo.typing import Array, ArrayLike, BatchShape, Budget, Tensor
from zoo.utils import checks

#: The least weight of the clean cross-entropy in the loss of a model with a new head. Published
#: trainings of whole networks begin with 0.05 to 0.1.
NEW_HEAD_WEIGHT = 0.1

#: Exponent with which the first training of a network begins, as published. A trained network
#: begins with a larger one, for which it still classifies well.
UNTRAINED_P = 8.0


class LinfDistFeatures(TrainingEpsilon, CertifiedModel):
    """Normalisation and hidden layers of ℓ∞-distance neurons, each followed by a mean shift.

    The features are ``1/std``-Lipschitz in the ℓ∞ norm of the [0, 1] image, for any weights. A
    subclass adds a head, ``self.head``, which :meth:`build` builds.

    Args:
        image_shape, num_classes: as for :class:`zoo.models.CertifiedModel`.
        width: number of neurons of each hidden layer.
        hidden_layers: number of hidden layers.
        mean: pixel mean, a number or one per channel.
        std: pixel standard deviation, one number: a scale per channel would change the norm.
        epsilon: budget that the default loss trains for.
        cross_entropy_weight: initial weight λ of the clean cross-entropy; it can be assigned later.
        implementation: implementation of the distance, see :func:`zoo.ops.lp_distance`.
    """

    fixed = ("image_shape", "num_classes", "hidden", "head", "mean", "std")
    _p_is_chosen = False  # whether the user has assigned a finite p, so that fit keeps it
    # Whether the first training has begun and was not completed: a fit that resumes it, in the same
    # process, must have the same schedule.
    _in_first_training = False

    def __init__(
        self,
        image_shape: Sequence[int],
        num_classes: int,
        *,
        width: int,
        hidden_layers: int,
        mean: ArrayLike,
        std: float,
        epsilon: Budget,
        cross_entropy_weight: float,
        implementation: Implementation,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape, num_classes, **kwargs)
        self.width = checks.positive_integer(width, "width")
        self.mean = checks.per_channel(mean, self.image_shape[-1], "mean")
        self.std = checks.positive_number(std, "std")
        if not 1e-6 <= self.std <= 1e6:
            raise ValueError(f"std must lie in [1e-6, 1e6], got {std!r}")
        self.implementation = implementation
        self._initial_weight = checks.not_negative_number(
            cross_entropy_weight, "cross_entropy_weight"
        )
        hidden = []
        for index in range(hidden_layers):
            hidden += [
                LinfDistance(self.width, implementation=implementation, name=f"distance_{index}"),
                MeanShift(name=f"shift_{index}"),
            ]
        self.hidden = tuple(hidden)
        self._cross_entropy_weight = self.add_weight(
            name="cross_entropy_weight",
            shape=(),
            initializer=keras.initializers.Constant(self._initial_weight),
            trainable=False,
        )
        self.add_epsilon(epsilon)

    def build(self, input_shape: BatchShape) -> None:
        features = int(np.prod(self.image_shape))
        for layer in [*self.hidden, *self.head_layers]:
            layer.build((None, features))
            features = layer.compute_output_shape((None, features))[-1]
        self.built = True

    @property
    def head_layers(self) -> list[keras.layers.Layer]:
        """The layers that follow the features; the last one is ``self.head``."""
        return [self.head]

    @property
    def distance_layers(self) -> list[LinfDistance]:
        """The layers of ℓ∞-distance neurons, in the order in which they run."""
        layers = [*self.hidden, *self.head_layers]
        return [layer for layer in layers if isinstance(layer, LinfDistance)]

    @property
    def p(self) -> float:
        """Exponent of all distance layers in training; it can be assigned."""
        self.sync_jax_state()
        return self.hidden[0].p if self.hidden else self.head.p

    @p.setter
    def p(self, value: float) -> None:
        self.schedule_p(value)
        self._p_is_chosen = value < math.inf

    def schedule_p(self, value: float) -> None:
        """Assign ``p`` for some steps of a training, as schedules do.

        It is no choice of the user's: a later ``fit`` begins a schedule of its own, even if this
        training was interrupted, or if a callback restored weights of its middle, ``p`` among them.
        """
        self.sync_jax_state()
        if value == math.inf:
            self._in_first_training = False
        for layer in self.distance_layers:
            layer.p = value

    @property
    def cross_entropy_weight(self) -> float:
        """Weight λ of the cross-entropy in the default loss; it can be assigned."""
        self.sync_jax_state()
        return float(ops.convert_to_numpy(self._cross_entropy_weight))

    @cross_entropy_weight.setter
    def cross_entropy_weight(self, value: float) -> None:
        self.sync_jax_state()
        self._cross_entropy_weight.assign(value)

    def default_optimizer(self):
        """Adam with large steps, because the weights of distances are of the size of one."""
        return keras.optimizers.Adam(0.03, beta_1=0.9, beta_2=0.99, epsilon=1e-10)

    def default_callbacks(self, callbacks):
        """A schedule of p, unless one is there or the user has chosen a finite p."""
        if self._p_is_chosen or any(isinstance(callback, PSchedule) for callback in callbacks):
            return []
        self._in_first_training = self._in_first_training or not self._is_trained()
        return [PSchedule(UNTRAINED_P) if self._in_first_training else PSchedule()]

    def _is_trained(self) -> bool:
        """Whether a training has moved a running mean, here or before the weights were loaded."""
        self.sync_jax_state()
        shifts = [layer for layer in self.hidden if isinstance(layer, MeanShift)]
        return any(ops.convert_to_numpy(shift.mean).any() for shift in shifts)

    @property
    def paper(self) -> str:
        return PAPERS["linf-dist"].reference

    def with_new_head(self, num_classes: int) -> "CertifiedModel":
        """A copy of the model with an untrained head, to be fine-tuned.

        The weight of the clean cross-entropy is at least :data:`NEW_HEAD_WEIGHT`. The stored one is
        that of the end of a training, and with so little an untrained head hardly learns.

        Args:
            num_classes: number of classes of the new head.

        Returns:
            A new model of the same class; this one is unchanged.
        """
        model: Any = super().with_new_head(num_classes)
        model.cross_entropy_weight = max(self.cross_entropy_weight, NEW_HEAD_WEIGHT)
        return model

    def features(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Features of images: tensor ``(batch, width)``, ``1/std``-Lipschitz at inference."""
        z = self._normalised(inputs, training)
        for layer in self.hidden:
            z = layer(z, training=training)
        return z

    def feature_bounds(self, x: Array, eps: Array) -> tuple[Tensor, Tensor]:
        """Interval bounds of the features over the ℓ∞ ball around an image, cut off at [0, 1].

        Args:
            x: float32 array ``(n, height, width, channels)``.
            eps: float array ``(n,)``, the radius of the ball of each image.

        Returns:
            ``(lower, upper)``, tensors ``(n, width)``. They do not include float32's rounding
            errors, which :meth:`feature_error` bounds.
        """
        eps = eps[:, None, None, None]
        lower = self._normalised(np.maximum(x - eps, 0.0).astype(np.float32))
        upper = self._normalised(np.minimum(x + eps, 1.0).astype(np.float32))
        for layer in self.hidden:
            lower, upper = layer.interval(lower, upper)
        return lower, upper

    def export_model(self) -> keras.Model:
        # An exported program cannot contain a kernel that was compiled for this machine.
        portable = type(self).from_config(self._config_with(implementation="portable"))
        portable.set_weights(self.get_weights())
        return super(LinfDistFeatures, portable).export_model()

    def _normalised(self, inputs: Tensor, training: bool = False) -> Tensor:
        z = (self._pixels(inputs, training) - ops.array(self.mean, self.compute_dtype)) / self.std
        return ops.reshape(z, (-1, int(np.prod(self.image_shape))))

    def on_config_override(self, names: Iterable[str]) -> None:
        super().on_config_override(names)
        # This setting is a weight too, so loading the weights has overwritten it.
        if "cross_entropy_weight" in names:
            self.cross_entropy_weight = self._initial_weight

    def feature_error(self) -> tuple[float, float]:
        """``(error, size)``: bounds of a feature's rounding error in float32, and of its size.

        They hold for any image and any box in [0, 1]. Every operation rounds its result by at most
        one unit roundoff times its size; distances and translations do not enlarge earlier errors.
        """
        corners = np.abs(np.array([0.0, 1.0])[:, None] - np.atleast_1d(self.mean)) / self.std
        size = float(corners.max())
        # Six roundings cover the ends of the box, the mean, std, the difference and the quotient.
        error = 6.0 * UNIT_ROUNDOFF * (size + 1.0 / self.std)
        return self._error_after(self.hidden, error, size)

    @staticmethod
    def _error_after(
        layers: Iterable[keras.layers.Layer], error: float, size: float
    ) -> tuple[float, float]:
        for layer in layers:
            for name in ("kernel", "bias", "mean"):
                if getattr(layer, name, None) is not None:
                    require_float32_weight(layer, name)
                    size += float(np.abs(ops.convert_to_numpy(getattr(layer, name))).max())
                    error += 2.0 * UNIT_ROUNDOFF * size
        return error, size

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "width": self.width,
            "mean": self.mean,
            "std": self.std,
            "epsilon": str(self.epsilon),
            "cross_entropy_weight": self.cross_entropy_weight,
            "implementation": self.implementation,
        }
