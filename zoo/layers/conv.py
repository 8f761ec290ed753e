"""A convolution whose sums round little."""

from typing import Any

import keras
from keras import ops

from zoo.ops.blocked_conv import blocked_conv
from zoo.typing import Tensor


@keras.saving.register_keras_serializable(package="zoo")
class Conv2D(keras.layers.Conv2D):
    """``keras.layers.Conv2D``, but at inference it adds up each sum of products in small blocks.

    See :class:`zoo.layers.Dense`, which does the same and explains what it is good for. Here the
    blocks are groups of channels. The layer takes the arguments of ``keras.layers.Conv2D``, but
    neither dilation nor groups, and images with their channels last.

    Call arguments:
        inputs: tensor ``(batch, height, width, channels)``.

    Returns:
        Tensor ``(batch, new height, new width, filters)``.

    Raises:
        ValueError: for dilation, groups, or ``data_format="channels_first"``.

    Examples:
        >>> import numpy as np, zoo
        >>> layer = zoo.layers.Conv2D(8, 3, padding="same", data_format="channels_last")
        >>> tuple(layer(np.zeros((2, 6, 6, 32))).shape)
        (2, 6, 6, 8)
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.data_format != "channels_last" or self.groups > 1 or max(self.dilation_rate) > 1:
            raise ValueError(
                f"{self.name} sums in blocks only with data_format='channels_last', without "
                "dilation and without groups; use keras.layers.Conv2D"
            )

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        if training:
            return super().call(inputs)
        outputs = blocked_conv(inputs, self.kernel, self.strides, self.padding)
        if self.use_bias:
            outputs = outputs + ops.reshape(self.bias, (1, 1, 1, -1))
        return outputs if self.activation is None else self.activation(outputs)
