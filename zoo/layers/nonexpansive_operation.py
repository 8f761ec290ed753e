"""The base of nonexpansive layers without weights."""

import keras


class NonexpansiveOperation(keras.layers.Layer):
    """A layer without weights that never increases the L2 distance of two inputs.

    The methods are those of a layer that rounds nothing. A layer that rounds overrides
    :meth:`rounding`.
    """

    def lipschitz(self):
        """Upper bound of the L2 Lipschitz constant: 1."""
        return 1.0

    def rounding(self, size, error):
        """As :meth:`zoo.layers.NonexpansiveDense.rounding`; the bounds pass unchanged."""
        return size, error

    def condensed(self, inputs):
        """Apply the layer's operations, which are Keras's own, to ``inputs``."""
        return self.call(inputs)
