"""What nonexpansive layers without weights share."""

import keras


class NonexpansiveOperation(keras.layers.Layer):
    """A layer without weights that moves no two inputs apart and rounds nothing."""

    def lipschitz(self):
        """Upper bound of the L2 Lipschitz constant: 1."""
        return 1.0

    def rounding(self, size, error):
        """As :meth:`zoo.layers.NonexpansiveDense.rounding`: what comes in goes out."""
        return size, error

    def condensed(self, inputs):
        """``inputs`` through Keras's own operations."""
        return self.call(inputs)
