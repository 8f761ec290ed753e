"""A convolution that never increases the L2 distance of two images."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from zoo.layers.nonexpansive_dense import NonexpansiveKernel
from zoo.ops.parametrizations import Parametrization, almost_orthogonal_convolution_sums
from zoo.ops.singular_values import convolution_norm
from zoo.ops.windows import overlaps
from zoo.typing import Array, BatchShape, Padding, Tensor
from zoo.utils import checks
from zoo.utils.fixed_settings import FixedSettings


@keras.saving.register_keras_serializable(package="zoo")
class NonexpansiveConv2D(FixedSettings, NonexpansiveKernel):
    """Convolution with an L2 norm of at most 1 by default.

    The kernel is taken as that of a dense layer on patches, and made nonexpansive as in
    :class:`zoo.layers.NonexpansiveDense`. If patches overlap, a pixel is in up to
    ``K = ∏ ceil(kernel size / stride)`` of them, so the convolution may still stretch an image by
    ``√K``. Therefore ``divide_before_convolution`` divides the image by ``√K``.

    Args:
        filters: number of filters.
        kernel_size: height and width in pixels, one number or two.
        strides: vertical and horizontal stride in pixels, one number or two.
        padding: ``"same"`` (zeros around the image) or ``"valid"``.
        divide_before_convolution: whether to divide by ``√K``. Without it the layer is nonexpansive
            only if patches do not overlap; :meth:`lipschitz` gives the bound that holds.
        parametrization, use_bias, kernel_initializer, kernel_regularizer: as in
            :class:`zoo.layers.NonexpansiveDense`. ``"almost_orthogonal"`` accounts for overlaps
            itself, so then nothing is divided.

    Call arguments:
        inputs: tensor of shape ``(batch, height, width, channels)``, float; all but the batch must
            be known.

    Returns:
        Tensor of shape ``(batch, new height, new width, filters)``.

    The bounds of :meth:`rounding` hold for sums of products in any order, which is how CPUs compute
    convolutions. They do not hold for Winograd's or Fourier's algorithms, which a GPU's library may
    choose.

    Raises:
        ValueError: if an argument is out of range; when the layer is built, if a dimension is not
            known or the image is smaller than the kernel without padding.

    Examples:
        >>> import numpy as np, zoo
        >>> layer = zoo.layers.NonexpansiveConv2D(4, 3, strides=2)
        >>> tuple(layer(np.zeros((2, 9, 9, 1))).shape), layer.lipschitz() <= 1.00001
        ((2, 5, 5, 4), True)

    Reference:
        Qian, Wegman: L2-Nonexpansive Neural Networks, ICLR 2019, section 2.2.
    """

    fixed = ("image_shape", "kernel_size", "strides", "padding")

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        *,
        strides: int | Sequence[int] = 1,
        padding: Padding = "same",
        divide_before_convolution: bool = True,
        parametrization: Parametrization = "row_sum",
        use_bias: bool = True,
        kernel_initializer: keras.initializers.Initializer | str = "orthogonal",
        kernel_regularizer: keras.regularizers.Regularizer | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            parametrization=parametrization,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            kernel_regularizer=kernel_regularizer,
            **kwargs,
        )
        self.filters = checks.positive_integer(filters, "filters")
        self.kernel_size = checks.pair(kernel_size, "kernel_size")
        self.strides = checks.pair(strides, "strides")
        self.padding: Padding = checks.one_of(("valid", "same"))(padding, "padding")
        self.divide_before_convolution = divide_before_convolution

    def build(self, input_shape: BatchShape) -> None:
        if len(input_shape) != 4 or None in input_shape[1:]:
            raise ValueError(
                "inputs must have shape (batch, height, width, channels), all but the batch known, "
                f"got {tuple(input_shape)}"
            )
        self.image_shape = tuple(input_shape[1:3])
        if self.padding == "valid" and any(
            k > n for k, n in zip(self.kernel_size, self.image_shape, strict=True)
        ):
            raise ValueError(
                f"a kernel of {self.kernel_size} pixels does not fit into images of "
                f"{self.image_shape} without padding"
            )
        # The bounds are those of images of this size.
        self.input_spec = keras.layers.InputSpec(shape=(None, *input_shape[1:]))
        self._add_weights((*self.kernel_size, input_shape[3], self.filters))

    def effective_kernel(self) -> Tensor:
        """The kernel that images are convolved with, including the division by ``√K``.

        Returns:
            Tensor ``(kernel height, kernel width, channels, filters)``.
        """
        kernel = super().effective_kernel()
        if self.divide_before_convolution and self.parametrization != "almost_orthogonal":
            kernel = kernel / math.sqrt(overlaps(self.kernel_size, self.strides))
        return kernel

    def _sums(self, kernel: Tensor) -> Tensor:
        if self.parametrization == "almost_orthogonal":
            return almost_orthogonal_convolution_sums(kernel, self.strides)
        return super()._sums(kernel)

    def _terms(self) -> int:
        if self.parametrization != "almost_orthogonal":
            return super()._terms()
        # A correlation adds up `windows * n` products, and then m of them at up to `4 * windows`
        # shifts are added up. Here n and m are the number of channels in a block of one stride and
        # the number of filters, or the reverse, so 5 times their sum bounds both.
        windows = overlaps(self.kernel_size, self.strides)
        return 5 * windows * (math.prod(self.strides) * self.kernel.shape[2] + self.filters)

    def call(self, inputs: Tensor) -> Tensor:
        return self._shifted(
            ops.conv(
                inputs,
                self.effective_kernel(),
                strides=self.strides,
                padding=self.padding,
                data_format="channels_last",
            )
        )

    def condensed(self, inputs: Tensor) -> Tensor:
        """Apply a ``keras.layers.Conv2D`` with the effective kernel to ``inputs``."""
        layer = keras.layers.Conv2D(
            self.filters,
            self.kernel_size,
            self.strides,
            self.padding,
            data_format="channels_last",
            use_bias=self.use_bias,
            name=self.name,
        )
        outputs = layer(inputs)
        bias = [] if self.bias is None else [self.bias]
        layer.set_weights([ops.convert_to_numpy(w) for w in [self.effective_kernel(), *bias]])
        return outputs

    @property
    def _entry_roundings(self) -> int:
        # The kernel is divided by √K too, and a compiler may turn this into a product with 1 / √K.
        return super()._entry_roundings + 4

    @property
    def _roundings(self) -> int:
        return math.prod(self.kernel.shape[:-1])

    @property
    def _positions(self) -> int:
        return math.prod(self.compute_output_shape((None, *self.image_shape, 1))[1:3])

    def _norm(self, kernel: Array) -> float:
        return convolution_norm(kernel, self.image_shape, self.strides, self.padding)

    def compute_output_shape(self, input_shape: BatchShape) -> BatchShape:
        return keras.layers.Conv2D(
            self.filters,
            self.kernel_size,
            self.strides,
            self.padding,
            data_format="channels_last",
        ).compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": list(self.kernel_size),
            "strides": list(self.strides),
            "padding": self.padding,
            "divide_before_convolution": self.divide_before_convolution,
        }
