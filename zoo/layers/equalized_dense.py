"""A dense layer whose trained weights are of the order of one."""

import math
from typing import Any

import keras
from keras import ops

from zoo.typing import BatchShape, Tensor
from zoo.utils import checks
from zoo.utils.fixed_settings import FixedSettings


@keras.saving.register_keras_serializable(package="zoo")
class EqualizedDense(FixedSettings, keras.layers.Layer):
    """Dense layer ``inputs @ (kernel · gain / √inputs) + bias`` with a kernel of unit scale.

    A step of Adam changes a weight by about the learning rate, whatever the size of the weight.
    ℓ∞-distance neurons have weights of the order of one and need large steps. This layer has
    weights of the same order, because the factor is outside of the kernel, so it can be trained on
    top of such neurons with the same learning rate.

    Args:
        units: number of outputs.
        gain: positive; the standard deviation of ``kernel · gain / √inputs`` at the start, relative
            to ``1/√inputs``.
        use_bias: whether to add a trainable bias.

    Call arguments:
        inputs: tensor of shape ``(batch, …, inputs)``, float32.

    Returns:
        Tensor of shape ``(batch, …, units)``.

    Raises:
        ValueError: when the layer is built, if the last dimension of the inputs is not known.

    Examples:
        >>> import numpy as np, zoo
        >>> layer = zoo.layers.EqualizedDense(3)
        >>> tuple(layer(np.zeros((2, 5))).shape)
        (2, 3)

    Reference:
        Karras et al.: Progressive Growing of GANs, ICLR 2018, section 4.1 (equalized learning
        rate).
    """

    fixed = ("units", "gain", "use_bias")

    def __init__(
        self, units: int, *, gain: float = 1.0, use_bias: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.units = checks.positive_integer(units, "units")
        self.gain = checks.positive_number(gain, "gain")
        self.use_bias = use_bias

    def build(self, input_shape: BatchShape) -> None:
        inputs = input_shape[-1]
        if inputs is None:
            raise ValueError(f"the last dimension of the inputs must be known, got {input_shape}")
        self.kernel = self.add_weight(
            name="kernel",
            shape=(inputs, self.units),
            initializer=keras.initializers.RandomNormal(stddev=1.0),
        )
        self.bias = (
            self.add_weight(name="bias", shape=(self.units,), initializer="zeros")
            if self.use_bias
            else None
        )
        self.factor = self.gain / math.sqrt(inputs)

    def call(self, inputs: Tensor) -> Tensor:
        outputs = ops.matmul(inputs, self.kernel * self.factor)
        return outputs if self.bias is None else outputs + self.bias

    def interval(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Bounds of the outputs over a box of inputs, which do not count rounding errors.

        Args:
            lower, upper: tensors of shape ``(batch, …, inputs)``, ends of the box.

        Returns:
            ``(lower, upper)``, tensors of shape ``(batch, …, units)``.
        """
        centre = self((lower + upper) / 2.0)
        reach = ops.matmul((upper - lower) / 2.0, ops.abs(self.kernel * self.factor))
        return centre - reach, centre + reach

    def compute_output_shape(self, input_shape: BatchShape) -> BatchShape:
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "gain": self.gain,
            "use_bias": self.use_bias,
        }
