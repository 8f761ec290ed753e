"""The ℓ∞-distance neuron as a convolution."""

from collections.abc import Sequence
from typing import Any, Literal

import keras
from keras import ops

from zoo.layers.linf_distance import DistanceNeurons
from zoo.ops import linf_interval_conv, lp_distance_conv
from zoo.ops.lp_distance_conv import Geometry
from zoo.typing import BatchShape, Padding, Shape, Tensor
from zoo.utils import checks


@keras.saving.register_keras_serializable(package="zoo")
class LinfDistanceConv2D(DistanceNeurons):
    """Convolution of ℓ∞-distance neurons, ``u[y, x, f] = ‖patch(y, x) − w[…, f]‖_∞ (+ b[f])``.

    Every output is 1-Lipschitz in the ℓ∞ norm of the image, whatever the weights are. This holds at
    the border too, because padded pixels are constants (zeros). No activation follows, as the
    neuron is itself non-linear.

    As in :class:`zoo.layers.LinfDistance`, ``p`` is the exponent in training, and the distance at
    inference is ℓ∞ whatever ``p`` is.

    Args:
        filters: number of filters.
        kernel_size: size of the patches in pixels, an integer or ``(height, width)``.
        strides: steps between patches in pixels, an integer or ``(height, width)``.
        padding: ``"valid"`` or ``"same"``, as in ``keras.layers.Conv2D``.
        groups: number of groups that channels and filters are divided into. Each filter sees the
            channels of its own group.
        p: at least 2, the exponent used in training. Assignable: ``layer.p = 20.0``.
        use_bias: whether to add a trainable bias per filter.
        kernel_initializer: initializer of the kernel, whose shape is ``(height, width,
            channels / groups, filters)``; None for ``NearIdentityConv2D(groups)``.
        implementation: ``"auto"``, ``"numba"`` or ``"portable"``, see
            :func:`zoo.ops.lp_distance`.

    Call arguments:
        inputs: tensor of shape ``(batch, height, width, channels)``, float32. All but the batch
            must be known.
        training: whether to use ``p`` (True) or the ℓ∞ distance.

    Returns:
        Tensor of shape ``(batch, output height, output width, filters)``.

    Raises:
        ValueError: if an argument is out of range; when the layer is built, if the images do not
            fit the kernel or the groups.

    Examples:
        >>> import numpy as np, zoo
        >>> layer = zoo.layers.LinfDistanceConv2D(8, 3, strides=2, padding="same")
        >>> tuple(layer(np.zeros((2, 15, 15, 3))).shape)
        (2, 8, 8, 8)

    Reference:
        Zhang, Cai, Lu, He, Wang: Towards Certifying ℓ∞ Robustness using Neural Networks with
        ℓ∞-dist Neurons, ICML 2021, section 3.
    """

    _implementations = ("auto", "numba", "portable")

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        *,
        strides: int | Sequence[int] = 1,
        padding: Padding = "valid",
        groups: int = 1,
        p: float = float("inf"),
        use_bias: bool = False,
        kernel_initializer: keras.initializers.Initializer | str | None = None,
        implementation: Literal["auto", "numba", "portable"] = "auto",
        **kwargs: Any,
    ) -> None:
        filters = checks.positive_integer(filters, "filters")
        groups = checks.positive_integer(groups, "groups")
        if filters % groups:
            raise ValueError(f"groups = {groups} must divide filters = {filters}")
        checks.one_of(("valid", "same"))(padding, "padding")
        super().__init__(
            p=p,
            use_bias=use_bias,
            kernel_initializer=(
                NearIdentityConv2D(groups) if kernel_initializer is None else kernel_initializer
            ),
            implementation=implementation,
            **kwargs,
        )
        self.filters = filters
        self.kernel_size = checks.pair(kernel_size, "kernel_size")
        self.strides = checks.pair(strides, "strides")
        self.padding: Padding = padding
        self.groups = groups

    def build(self, input_shape: BatchShape) -> None:
        self._geometry(input_shape)
        self._add_weights(self._kernel_shape(input_shape), self.filters)

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        p = self._p if training and self.trainable else float("inf")
        return self._shifted(lp_distance_conv(inputs, self.kernel, p, **self._options()))

    def interval(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Bounds of the outputs (at ``p = inf``) over a box of images.

        Args:
            lower, upper: tensors of shape ``(batch, height, width, channels)``, ends of the box.

        Returns:
            ``(lower, upper)``, tensors of shape ``(batch, output height, output width, filters)``.
        """
        low, high = linf_interval_conv(lower, upper, self.kernel, **self._options())
        return self._shifted(low), self._shifted(high)

    def compute_output_shape(self, input_shape: BatchShape) -> BatchShape:
        return (input_shape[0], *self._geometry(input_shape).output, self.filters)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
            "groups": self.groups,
        }

    def _options(self) -> dict[str, Any]:
        return {
            "strides": self.strides,
            "padding": self.padding,
            "groups": self.groups,
            "implementation": self.implementation,
        }

    def _shifted(self, u: Tensor) -> Tensor:
        return u if self.bias is None else u + self.bias

    def _kernel_shape(self, input_shape: BatchShape) -> Shape:
        return (*self.kernel_size, input_shape[3] // self.groups, self.filters)

    def _geometry(self, input_shape: BatchShape) -> Geometry:
        if len(input_shape) != 4 or None in input_shape[1:]:
            raise ValueError(
                "inputs must have shape (batch, height, width, channels), all but the batch known, "
                f"got {tuple(input_shape)}"
            )
        if input_shape[3] % self.groups:
            raise ValueError(f"groups = {self.groups} must divide the {input_shape[3]} channels")
        kernel = self._kernel_shape(input_shape)
        return Geometry.of(input_shape, kernel, self.strides, self.padding, self.groups)


@keras.saving.register_keras_serializable(package="zoo")
class NearIdentityConv2D(keras.initializers.Initializer):
    """Standard normal kernel with which each filter passes on a channel of the middle pixel.

    If a group has at least as many filters as channels, the entry of filter ``f`` for channel
    ``f mod channels`` of the middle pixel is −10. For inputs of usual size the difference at this
    entry is the largest, so the filter's output is this channel plus 10. With padding ``"same"``
    and stride 1 the middle pixel is the one at the place of the output.

    Args:
        groups: number of groups of the convolution.
        seed: integer, or None for a random seed.

    Examples:
        >>> import numpy as np, zoo
        >>> kernel = np.asarray(zoo.layers.NearIdentityConv2D(seed=1)((3, 3, 2, 4)))
        >>> (kernel[1, 1] == -10).astype(int).tolist()
        [[1, 0, 1, 0], [0, 1, 0, 1]]

    Reference:
        Zhang et al., ICML 2021, section 4, for the fully connected neuron.
    """

    def __init__(self, groups: int = 1, seed: int | None = None) -> None:
        self.groups = checks.positive_integer(groups, "groups")
        self.seed = seed
        self._normal = keras.initializers.RandomNormal(0.0, 1.0, seed=seed)

    def __call__(self, shape: Shape, dtype: Any = None) -> Tensor:
        height, width, channels, filters = shape
        kernel = self._normal(shape, dtype=dtype)
        if channels > filters // self.groups:
            return kernel
        own = ops.equal(ops.arange(filters) % channels, ops.arange(channels)[:, None])
        # An even kernel has two middle pixels. The first one is taken, as "same" padding does.
        rows = ops.equal(ops.arange(height), (height - 1) // 2)[:, None, None, None]
        columns = ops.equal(ops.arange(width), (width - 1) // 2)[:, None, None]
        middle = ops.logical_and(ops.logical_and(rows, columns), own)
        return ops.where(middle, ops.cast(-10.0, kernel.dtype), kernel)

    def get_config(self) -> dict[str, Any]:
        return {"groups": self.groups, "seed": self.seed}
