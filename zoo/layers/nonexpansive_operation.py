"""The base of nonexpansive layers without weights."""

import keras

from zoo.typing import Numbers, Tensor


class NonexpansiveOperation(keras.layers.Layer):
    """A layer without weights that never increases the L2 distance of two inputs.

    The methods are those of a layer that rounds nothing. A layer that rounds overrides
    :meth:`rounding`.
    """

    def lipschitz(self) -> float:
        """Upper bound of the L2 Lipschitz constant: 1."""
        return 1.0

    def rounding(self, size: Numbers, error: Numbers) -> tuple[Numbers, Numbers]:
        """As :meth:`zoo.layers.NonexpansiveDense.rounding`; the bounds pass unchanged."""
        return size, error

    def condensed(self, inputs: Tensor) -> Tensor:
        """Apply the layer's operations, which are Keras's own, to ``inputs``."""
        return self.call(inputs)
