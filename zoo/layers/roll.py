"""Cyclic shifts of images."""

from typing import Any

import keras
from keras import ops

from zoo.layers.nonexpansive_operation import NonexpansiveOperation
from zoo.typing import BatchShape, Tensor
from zoo.utils.fixed_settings import FixedSettings


@keras.saving.register_keras_serializable(package="zoo")
class Roll(FixedSettings, NonexpansiveOperation):
    """Shifts images down and to the right; pixels that leave at one edge enter at the opposite one.

    The layer only moves entries, so it preserves every L2 distance.

    Args:
        shift: number of pixels by which the image is shifted down, and as many to the right; a
            negative number shifts it up and to the left.

    Call arguments:
        inputs: tensor of shape ``(batch, height, width, channels)``.

    Returns:
        Tensor of the shape of ``inputs``.

    Raises:
        ValueError: if ``shift`` is no integer; when the layer is built, if inputs are no images.

    Examples:
        >>> import numpy as np, zoo
        >>> image = np.array([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 2, 2, 1)
        >>> np.asarray(zoo.layers.Roll(1)(image)[0, :, :, 0]).tolist()
        [[4.0, 3.0], [2.0, 1.0]]

    Reference:
        Liu et al.: Swin Transformer: Hierarchical Vision Transformer using Shifted Windows, ICCV
        2021, section 3.2 (cyclic shift).
    """

    fixed = ("shift",)

    def __init__(self, shift: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if isinstance(shift, bool) or not isinstance(shift, int):
            raise ValueError(f"shift must be an integer, got {shift!r}")
        self.shift = shift

    def build(self, input_shape: BatchShape) -> None:
        if len(input_shape) != 4:
            raise ValueError(
                f"inputs must have shape (batch, height, width, channels), got {tuple(input_shape)}"
            )

    def call(self, inputs: Tensor) -> Tensor:
        return ops.roll(inputs, (self.shift, self.shift), (1, 2))

    def compute_output_shape(self, input_shape: BatchShape) -> BatchShape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "shift": self.shift}
