"""The residual block as a convex combination."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="zoo")
class ConvexResidual(keras.layers.Layer):
    """``t · F(x) + (1 − t) · S(x)`` with a trainable ``t`` between 0 and 1.

    Nonexpansive if branch and shortcut are. (With factors whose squares sum to one, as for
    independent signals, it could stretch by √2.)

    Args:
        branch: layers of F, one after the other, each with ``lipschitz()``.
        shortcut: layers of S, likewise; none for the identity.

    Call arguments:
        inputs: tensor of shape ``(batch, …)``.

    Returns:
        Tensor of the shape that branch and shortcut both return.

    Raises:
        ValueError: if the branch is empty; when the layer is built, if the shapes of branch and
            shortcut differ.
        TypeError: if a layer has no ``lipschitz()``.

    Example:

    >>> import numpy as np, zoo
    >>> layer = zoo.layers.ConvexResidual([zoo.layers.NonexpansiveDense(4)])
    >>> tuple(layer(np.zeros((2, 4))).shape), layer.lipschitz() <= 1.00001
    ((2, 4), True)

    Reference:
        Qian, Wegman: L2-Nonexpansive Neural Networks, ICLR 2019, section 2.2.
    """

    def __init__(self, branch, shortcut=(), **kwargs):
        super().__init__(**kwargs)
        self.branch, self.shortcut = list(branch), list(shortcut)
        if not self.branch:
            raise ValueError("branch must have at least one layer")
        for layer in [*self.branch, *self.shortcut]:
            if not hasattr(layer, "lipschitz"):
                raise TypeError(
                    "layers of a residual block need a lipschitz(), but "
                    f"{type(layer).__name__} has none"
                )

    def build(self, input_shape):
        shapes = []
        for path in (self.branch, self.shortcut):
            shape = input_shape
            for layer in path:
                # Loaded from a file, it is built already.
                if not layer.built:
                    layer.build(shape)
                shape = layer.compute_output_shape(shape)
            shapes.append(tuple(shape))
        if shapes[0] != shapes[1]:
            raise ValueError(f"the branch returns {shapes[0]}, the shortcut {shapes[1]}")
        # t = sigmoid(logit): between 0 and 1 whatever the optimizer does.
        self.mixing_logit = self.add_weight(name="mixing_logit", shape=(), initializer="zeros")

    def call(self, inputs):
        branch = shortcut = inputs
        for layer in self.branch:
            branch = layer(branch)
        for layer in self.shortcut:
            shortcut = layer(shortcut)
        t = ops.sigmoid(self.mixing_logit)
        # As a step from the shortcut: the two factors sum to one but for one rounding.
        return shortcut + t * (branch - shortcut)

    def lipschitz(self):
        """Upper bound of the L2 Lipschitz constant: ``t · L(F) + (1 − t) · L(S)``, in float64."""
        t = float(ops.convert_to_numpy(ops.sigmoid(self.mixing_logit)))
        return t * _product(self.branch) + (1.0 - t) * _product(self.shortcut)

    def compute_output_shape(self, input_shape):
        for layer in self.branch:
            input_shape = layer.compute_output_shape(input_shape)
        return input_shape

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "branch": [serialize(layer) for layer in self.branch],
            "shortcut": [serialize(layer) for layer in self.shortcut],
        }

    @classmethod
    def from_config(cls, config):
        paths = {
            path: [keras.saving.deserialize_keras_object(layer) for layer in config[path]]
            for path in ("branch", "shortcut")
        }
        return cls(**{**config, **paths})


def _product(layers):
    bound = 1.0
    for layer in layers:
        bound *= layer.lipschitz()
    return bound
