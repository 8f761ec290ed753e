"""A residual block that is a convex combination of its branch and its shortcut."""

import functools
import math
from collections.abc import Iterable
from typing import Any

import keras
from keras import ops
from scipy.special import expit

from zoo.layers.entries import entries_of
from zoo.ops.float32 import ACTIVATION_ROUNDINGS, flushing, sum_rounding
from zoo.typing import BatchShape, Numbers, Tensor


@keras.saving.register_keras_serializable(package="zoo")
class ConvexResidual(keras.layers.Layer):
    """``t · F(x) + (1 − t) · S(x)`` with a trainable ``t`` between 0 and 1.

    The block is nonexpansive if branch and shortcut are. (Factors whose squares sum to one, which
    would preserve the variance of independent signals, could stretch by √2.)

    Args:
        branch: the layers of F in order, each with a method ``lipschitz()``.
        shortcut: the layers of S, likewise; empty for the identity.
        start: value of ``t`` before training, between 0 and 1. In a deep network of such blocks it
            should be small: with one half, an untrained branch and the shortcut average each other
            out, and differences of images shrink by about half in every block.

    Call arguments:
        inputs: tensor of shape ``(batch, …)``.

    Returns:
        Tensor of the shape that branch and shortcut both return.

    Raises:
        ValueError: if the branch is empty or the start is out of range; when the layer is built, if
            the shapes of branch and shortcut differ.
        TypeError: if a layer has no ``lipschitz()``.

    Examples:
        >>> import numpy as np, zoo
        >>> layer = zoo.layers.ConvexResidual([zoo.layers.NonexpansiveDense(4)])
        >>> tuple(layer(np.zeros((2, 4))).shape), layer.lipschitz() <= 1.00001
        ((2, 4), True)

    Reference:
        Qian, Wegman: L2-Nonexpansive Neural Networks, ICLR 2019, section 2.2.
    """

    def __init__(
        self,
        branch: Iterable[keras.layers.Layer],
        shortcut: Iterable[keras.layers.Layer] = (),
        start: float = 0.5,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not 0.0 < start < 1.0:
            raise ValueError(f"start must be between 0 and 1, got {start!r}")
        self.start = float(start)
        self.branch, self.shortcut = tuple(branch), tuple(shortcut)
        if not self.branch:
            raise ValueError("branch must have at least one layer")
        for layer in [*self.branch, *self.shortcut]:
            if not hasattr(layer, "lipschitz"):
                raise TypeError(
                    "layers of a residual block need a lipschitz(), but "
                    f"{type(layer).__name__} has none"
                )

    def build(self, input_shape: BatchShape) -> None:
        shapes = []
        for path in (self.branch, self.shortcut):
            shape = input_shape
            for layer in path:
                # Layers that were loaded from a file are built already.
                if not layer.built:
                    layer.build(shape)
                shape = layer.compute_output_shape(shape)
            shapes.append(tuple(shape))
        if shapes[0] != shapes[1]:
            raise ValueError(f"the branch returns {shapes[0]}, the shortcut {shapes[1]}")
        self._shape = shapes[0][1:]
        # t = sigmoid(mixing_logit) is between 0 and 1 whatever the optimizer does.
        logit = math.log(self.start / (1.0 - self.start))
        self.mixing_logit = self.add_weight(
            name="mixing_logit", shape=(), initializer=keras.initializers.Constant(logit)
        )

    def call(self, inputs: Tensor) -> Tensor:
        branch = shortcut = inputs
        for layer in self.branch:
            branch = layer(branch)
        for layer in self.shortcut:
            shortcut = layer(shortcut)
        # In this form the factors of branch and shortcut sum to one, up to one rounding.
        return shortcut + ops.sigmoid(self.mixing_logit) * (branch - shortcut)

    def condensed(self, inputs: Tensor) -> Tensor:
        """Apply ordinary Keras layers that compute the same as this block to ``inputs``."""
        branch = shortcut = inputs
        for layer in self.branch:
            branch = layer.condensed(branch)
        for layer in self.shortcut:
            shortcut = layer.condensed(shortcut)
        return shortcut + self.share() * (branch - shortcut)

    def share(self) -> float:
        """``t``, computed in float64."""
        return float(expit(self._logit()))

    def roundings(self) -> int:
        """How many roundings the output has, each relative to ``|F| + 2 |S|``.

        At most 8 are those of the difference, the product and the sum, and of ``t`` where it is
        stored as a float32 constant. The others are what float32's sigmoid may be wrong by. Beyond
        100 a sigmoid is 0 or 1, up to numbers that float32 may flush to zero.
        """
        return 8 + math.ceil(ACTIVATION_ROUNDINGS * (1.0 + min(100.0, abs(self._logit()))))

    def _logit(self) -> float:
        return float(ops.convert_to_numpy(self.mixing_logit))

    def lipschitz(self) -> float:
        """Upper bound of the L2 Lipschitz constant: ``t · L(F) + (1 − t) · L(S)``, in float64."""
        branch, shortcut = (
            math.prod(layer.lipschitz() for layer in path) for path in (self.branch, self.shortcut)
        )
        return self.share() * branch + (1.0 - self.share()) * shortcut

    def rounding(self, size: Numbers, error: Numbers) -> tuple[Numbers, Numbers]:
        """As :meth:`zoo.layers.NonexpansiveDense.rounding`."""
        (size_f, error_f), (size_s, error_s) = (
            functools.reduce(lambda bounds, layer: layer.rounding(*bounds), path, (size, error))
            for path in (self.branch, self.shortcut)
        )
        t = self.share()
        local = sum_rounding(self.roundings()) * (size_f + error_f + 2.0 * (size_s + error_s))
        per_size, offset = flushing(8, entries_of(self, self._shape))
        local = local + per_size * (size_f + error_f + size_s + error_s) + offset
        error = t * error_f + (1.0 - t) * error_s + local
        return t * size_f + (1.0 - t) * size_s, error

    def compute_output_shape(self, input_shape: BatchShape) -> BatchShape:
        for layer in self.branch:
            input_shape = layer.compute_output_shape(input_shape)
        return input_shape

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "branch": [serialize(layer) for layer in self.branch],
            "shortcut": [serialize(layer) for layer in self.shortcut],
            "start": self.start,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "ConvexResidual":
        paths = {
            path: [keras.saving.deserialize_keras_object(layer) for layer in config[path]]
            for path in ("branch", "shortcut")
        }
        return cls(**{**config, **paths})
