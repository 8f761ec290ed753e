"""Batch normalisation without the scale."""

from typing import Any

import keras
from keras import ops

from zoo.typing import BatchShape, Tensor


@keras.saving.register_keras_serializable(package="zoo")
class MeanShift(keras.layers.Layer):
    """Subtracts the batch mean in training and a running mean at inference.

    Unlike batch normalisation it never scales, so at inference it is a translation and changes no
    Lipschitz constant.

    Args:
        momentum: factor in the update of the running mean,
            ``mean ← momentum · mean + (1 − momentum) · batch mean``.

    Call arguments:
        inputs: tensor of shape ``(batch, …, features)``; the mean is over all axes but the last.
        training: whether to subtract the batch mean and update the running one. A layer with
            ``trainable = False`` subtracts the running mean in training too, as Keras's batch
            normalisation does.

    Returns:
        Tensor of the shape of ``inputs``.

    Raises:
        ValueError: if ``momentum`` does not lie in [0, 1).

    Examples:
        >>> import numpy as np, zoo
        >>> layer = zoo.layers.MeanShift()
        >>> np.asarray(layer(np.array([[1.0], [3.0]]), training=True)).tolist()
        [[-1.0], [1.0]]

    Reference:
        Zhang et al., ICML 2021, section 4 (normalization).
    """

    def __init__(self, momentum: float = 0.9, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), got {momentum!r}")
        self.momentum = momentum

    def build(self, input_shape: BatchShape) -> None:
        self.mean = self.add_weight(
            name="mean",
            shape=(input_shape[-1],),
            initializer="zeros",
            trainable=False,
            aggregation="mean",  # each device of a distribution strategy has a part of the batch
            autocast=False,  # a type with fewer bits would lose small changes of the mean
        )

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        if not (training and self.trainable):
            return inputs - ops.cast(self.mean, inputs.dtype)
        wide = ops.cast(inputs, self.mean.dtype)
        mean = ops.mean(wide, axis=tuple(range(len(inputs.shape) - 1)))
        # A distribution strategy gives an empty batch to a device for which no images are left.
        kept = ops.convert_to_tensor(self.mean)
        mean = ops.where(ops.shape(inputs)[0] > 0, mean, kept)
        self.mean.assign(self.momentum * self.mean + (1.0 - self.momentum) * mean)
        return inputs - ops.cast(mean, inputs.dtype)

    def interval(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Bounds of the outputs at inference over a box of inputs."""
        return lower - self.mean, upper - self.mean

    def compute_output_shape(self, input_shape: BatchShape) -> BatchShape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "momentum": self.momentum}
