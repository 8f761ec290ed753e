"""ℓ∞-distance networks: 1-Lipschitz in ℓ∞ by construction."""

import keras
import numpy as np
from keras import ops

from zoo import checks
from zoo.certificates import largest_certified, lipschitz_radius, round_down
from zoo.epsilon import Epsilon
from zoo.layers import LinfDistance, MeanShift
from zoo.losses import ClippedHinge
from zoo.models.base import CertifiedModel

_UNIT_ROUNDOFF = 2.0**-24


@keras.saving.register_keras_serializable(package="zoo")
class LinfDistNet(CertifiedModel):
    """Fully connected network of ℓ∞-distance neurons.

    ``logits = −std · layer(… layer((x − mean) / std))``: every logit is 1-Lipschitz in the ℓ∞ norm
    of the [0, 1] image, for any weights, so fine-tuning keeps the guarantee.

    Without a loss of its own, ``compile`` takes the approach's: :class:`zoo.losses.ClippedHinge`
    plus ``cross_entropy_weight`` × cross-entropy of the logits times a trainable scale.

    Args:
        image_shape: ``(height, width, channels)``.
        num_classes: at least 2.
        width: neurons of each hidden layer.
        depth: number of layers, the output layer included.
        mean: pixel mean, a number or one per channel.
        std: pixel standard deviation, one number: a scale per channel would change the norm.
        epsilon: budget that the default loss trains for.
        cross_entropy_weight: initial weight λ of the cross-entropy; assignable.
        implementation: of the distance, see :func:`zoo.ops.lp_distance`.

    Example:

    >>> import numpy as np, zoo
    >>> model = zoo.models.LinfDistNet((8, 8, 1), 10, width=16, depth=2)
    >>> len(model.certify(np.zeros((3, 8, 8, 1))))
    3

    Reference:
        Zhang et al., ICML 2021; the loss: Zhang et al., ICLR 2022.
    """

    certificates = (("linf", "interval"), ("linf", "lipschitz"))

    def __init__(
        self,
        image_shape,
        num_classes,
        *,
        width,
        depth,
        mean=0.0,
        std=1.0,
        epsilon=0.1,
        cross_entropy_weight=0.0,
        implementation="auto",
        **kwargs,
    ):
        super().__init__(image_shape, num_classes, **kwargs)
        self.width = checks.positive_integer(width, "width")
        self.depth = checks.positive_integer(depth, "depth")
        self.mean = _per_channel(mean, self.image_shape[-1])
        self.std = checks.positive_number(std, "std")
        if not 1e-6 <= self.std <= 1e6:
            raise ValueError(f"std must lie in [1e-6, 1e6], got {std!r}")
        self.epsilon = Epsilon(epsilon)
        self.implementation = implementation
        self._initial_weight = float(cross_entropy_weight)
        self.hidden = []
        for index in range(self.depth - 1):
            self.hidden.append(
                LinfDistance(self.width, implementation=implementation, name=f"distance_{index}")
            )
            self.hidden.append(MeanShift(name=f"shift_{index}"))
        self.head = LinfDistance(
            self.num_classes, use_bias=True, implementation=implementation, name="head"
        )
        # The published recipe steps this scale five times more slowly than the other weights:
        # with Adam, which steps by the learning rate, that is a scale of a fifth of the weight.
        self._scale = self.add_weight(
            name="logit_scale", shape=(), initializer=keras.initializers.Constant(5.0 / self.std)
        )
        self._cross_entropy_weight = self.add_weight(
            name="cross_entropy_weight",
            shape=(),
            initializer=keras.initializers.Constant(cross_entropy_weight),
            trainable=False,
        )
        self._training_epsilon = self.add_weight(
            name="training_epsilon",
            shape=(),
            initializer=keras.initializers.Constant(float(self.epsilon)),
            trainable=False,
        )
        self.build((None, *self.image_shape))

    def build(self, input_shape):
        features = int(np.prod(self.image_shape))
        for layer in [*self.hidden, self.head]:
            layer.build((None, features))
            features = layer.compute_output_shape((None, features))[-1]
        self.built = True

    @property
    def distance_layers(self):
        """The layers of ℓ∞-distance neurons, input first."""
        return [*self.hidden[::2], self.head]

    @property
    def architecture(self):
        """One line for listings."""
        return f"ℓ∞-distance network, {self.depth} layers, width {self.width}"

    @property
    def p(self):
        """Exponent of all distance layers in training; assignable."""
        self.synchronise()
        return self.head.p

    @p.setter
    def p(self, value):
        self.synchronise()
        for layer in self.distance_layers:
            layer.p = value

    @property
    def cross_entropy_weight(self):
        """Weight λ of the cross-entropy in the default loss; assignable."""
        self.synchronise()
        return float(ops.convert_to_numpy(self._cross_entropy_weight))

    @cross_entropy_weight.setter
    def cross_entropy_weight(self, value):
        self.synchronise()
        self._cross_entropy_weight.assign(value)

    @property
    def training_epsilon(self):
        """Budget in the default loss, ``epsilon`` unless a schedule assigns another."""
        self.synchronise()
        return float(ops.convert_to_numpy(self._training_epsilon))

    @training_epsilon.setter
    def training_epsilon(self, value):
        self.synchronise()
        self._training_epsilon.assign(value)

    def call(self, inputs, training=False):
        z = self._normalised(inputs)
        for layer in self.hidden:
            z = layer(z, training=training)
        return -self.std * self.head(z, training=training)

    def _normalised(self, inputs):
        if tuple(inputs.shape[1:]) != self.image_shape:
            raise ValueError(f"expected images {self.image_shape}, got {tuple(inputs.shape[1:])}")
        z = ops.cast(inputs, self.compute_dtype)
        if keras.backend.standardize_dtype(inputs.dtype) == "uint8":
            z = z / 255.0
        z = (z - ops.array(self.mean, self.compute_dtype)) / self.std
        return ops.reshape(z, (-1, int(np.prod(self.image_shape))))

    def lipschitz(self):
        """Lipschitz constant of every logit in the ℓ∞ norm of the image: 1, for any weights."""
        return 1.0

    def default_loss(self):
        """Clipped hinge + λ · cross-entropy of scaled logits."""
        hinge = ClippedHinge(self._training_epsilon, reduction=None)
        scale, weight = self._scale, self._cross_entropy_weight

        def clipped_hinge_and_cross_entropy(y_true, y_pred):
            entropy = keras.losses.sparse_categorical_crossentropy(
                ops.reshape(y_true, (-1,)), y_pred * scale / 5.0, from_logits=True
            )
            return hinge(y_true, y_pred) + weight * entropy

        return clipped_hinge_and_cross_entropy

    def certified_radius(self, x, norm, method):
        logits = ops.convert_to_numpy(self(x, training=False))
        error = self._rounding_error()
        radius = lipschitz_radius(logits, self.lipschitz(), error)
        if method == "lipschitz":
            return logits, round_down(radius)
        predicted = np.argmax(logits, axis=1)

        def is_certified(eps):
            low, high = self._logit_bounds(x, eps[:, None, None, None])
            rows = np.arange(len(x))
            own = low[rows, predicted]
            high[rows, predicted] = -np.inf
            return own - high.max(axis=1) > 4.0 * error

        return logits, largest_certified(is_certified, radius)

    def overridden(self, names):
        # These two are also weights, for a schedule to change, and came with the others.
        if "epsilon" in names:
            self.training_epsilon = float(self.epsilon)
        if "cross_entropy_weight" in names:
            self.cross_entropy_weight = self._initial_weight

    def _logit_bounds(self, x, eps):
        """Bounds of the logits over the ball of radius ``eps`` within [0, 1]: NumPy arrays."""
        lower = self._normalised(np.maximum(x - eps, 0.0).astype(np.float32))
        upper = self._normalised(np.minimum(x + eps, 1.0).astype(np.float32))
        for layer in [*self.hidden, self.head]:
            lower, upper = layer.interval(lower, upper)
        # The logits are negative distances.
        return -self.std * np.array(upper), -self.std * np.array(lower)

    def _rounding_error(self):
        """Bound of ``|computed − exact|`` of a logit in float32, for any image or box in [0, 1].

        Every operation rounds its result by at most one unit roundoff of its size; distances and
        translations pass earlier errors on without stretching them.
        """
        corners = np.abs(np.array([0.0, 1.0])[:, None] - np.atleast_1d(self.mean)) / self.std
        size = float(corners.max())
        # Ends of the box, mean and std as float32, subtraction, division.
        error = 6.0 * _UNIT_ROUNDOFF * (size + 1.0 / self.std)
        for layer in [*self.hidden, self.head]:
            for weight in layer.weights:
                values = ops.convert_to_numpy(weight)
                if values.ndim:
                    size += float(np.abs(values).max())
                    error += 2.0 * _UNIT_ROUNDOFF * size
        return self.std * (error + 2.0 * _UNIT_ROUNDOFF * size)

    def get_config(self):
        return {
            **super().get_config(),
            "width": self.width,
            "depth": self.depth,
            "mean": self.mean,
            "std": self.std,
            "epsilon": str(self.epsilon),
            "cross_entropy_weight": self.cross_entropy_weight,
            "implementation": self.implementation,
        }


def _per_channel(mean, channels):
    """A pixel mean as a float, or as one float per channel."""
    values = np.asarray(mean)
    if values.dtype.kind not in "fiu" or values.shape not in ((), (channels,)):
        raise ValueError(f"mean must be a number or one per channel ({channels}), got {mean!r}")
    if not np.isfinite(values).all():
        raise ValueError(f"mean must be finite, got {mean!r}")
    return values.astype(float).tolist()
