"""A dense layer that never increases the L2 distance of two inputs."""

import functools
import math
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from zoo.constraints import Orthogonal
from zoo.layers.entries import entries_of
from zoo.ops.blocked_matmul import (
    blocked_inputs,
    blocked_kernel,
    blocked_matmul,
    blocks_of,
    sum_of_halves,
)
from zoo.ops.float32 import UNIT_ROUNDOFF, flushing, sum_rounding
from zoo.ops.gram import gram_row_sums
from zoo.ops.parametrizations import (
    PARAMETRIZATIONS,
    Parametrization,
    almost_orthogonal_sums,
)
from zoo.ops.precision import float64
from zoo.ops.singular_values import dense_norm, row_sum_bound
from zoo.typing import Array, BatchShape, Numbers, Shape, Tensor
from zoo.utils import checks
from zoo.utils.once import once

# Lower limit of the sums whose roots a kernel is divided by, so that a kernel of zeros stays zero.
_SMALLEST = 1e-12


class Norms(NamedTuple):
    """Upper bounds of the norms of an effective kernel.

    Attributes:
        kernel: of its L2 norm as a linear map, the Lipschitz constant of the layer.
        absolute: of the L2 norm of the map by its absolute values.
        largest: its largest absolute value.
    """

    kernel: float
    absolute: float
    largest: float


class NonexpansiveKernel(keras.layers.Layer):
    """Base of the nonexpansive linear layers, whose effective kernel is made from a trained one.

    Args:
        parametrization, use_bias, kernel_initializer, kernel_regularizer: see
            :class:`NonexpansiveDense`.
    """

    def __init__(
        self,
        *,
        parametrization: Parametrization = "row_sum",
        use_bias: bool = True,
        kernel_initializer: keras.initializers.Initializer | str = "orthogonal",
        kernel_regularizer: keras.regularizers.Regularizer | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.parametrization = checks.one_of(PARAMETRIZATIONS)(parametrization, "parametrization")
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def _add_weights(self, kernel_shape: Shape) -> None:
        self.kernel = self.add_weight(
            name="kernel",
            shape=kernel_shape,
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=Orthogonal() if self.parametrization == "orthogonal" else None,
        )
        self.bias = (
            self.add_weight(name="bias", shape=kernel_shape[-1:], initializer="zeros")
            if self.use_bias
            else None
        )

    def effective_kernel(self) -> Tensor:
        """The kernel that inputs are multiplied by: a tensor of the shape of ``kernel``."""
        kernel = ops.convert_to_tensor(self.kernel)
        if not self._divided:
            return kernel
        return kernel / ops.sqrt(ops.maximum(self._sums(kernel), _SMALLEST))

    @property
    def _divided(self) -> bool:
        return self.parametrization in ("row_sum", "almost_orthogonal")

    def _sums(self, kernel: Tensor) -> Tensor:
        """The sums whose square roots the kernel is divided by."""
        # The kernel of a convolution is taken as a matrix that acts on patches.
        matrix = ops.reshape(kernel, (-1, kernel.shape[-1]))
        if self.parametrization == "row_sum":
            return row_sum_bound(matrix)
        return almost_orthogonal_sums(matrix)

    def _sums_without_signs(self, kernel: Tensor) -> Tensor:
        """The sums for the kernel's absolute values, in which nothing cancels."""
        if self.parametrization == "row_sum":
            # The sum is the smaller of two numbers, so its error is at most the larger of theirs.
            matrix = ops.reshape(ops.abs(kernel), (-1, kernel.shape[-1]))
            return functools.reduce(ops.maximum, map(ops.max, gram_row_sums(matrix)))
        return self._sums(ops.abs(kernel))

    def _terms(self) -> int:
        """Upper bound of the number of roundings that a product in one of the sums goes through."""
        return math.prod(self.kernel.shape[:-1]) + self.kernel.shape[-1]

    def _kernel_rounding(self) -> float:
        """Bound of the relative difference of two computations of what the kernel is divided by.

        Every program computes the effective kernel anew, eagerly or compiled, on one device or
        another, and each may round differently. The whole kernel, or each row or column of it, is
        divided by one number, so that an error of this number changes the norm of the kernel by
        the same fraction. The quotients are rounded too, see :attr:`_entry_roundings`.
        """
        return once(self, "kernel rounding", self._compute_kernel_rounding)

    def _compute_kernel_rounding(self) -> float:
        if not self._divided:
            return 0.0
        kernel = ops.convert_to_tensor(self.kernel)
        sums = ops.maximum(self._sums(kernel), _SMALLEST)
        # The relative error of a sum is at most `error`, and the root halves it. So two kernels
        # differ by at most `error` to first order. The factor 2 covers the higher orders (as error
        # is below 1/4), and 16 units roundoff cover the root and the quotient.
        ratio = float(ops.convert_to_numpy(ops.max(self._sums_without_signs(kernel) / sums)))
        error = sum_rounding(self._terms()) * ratio
        return 2.0 * error + 16.0 * UNIT_ROUNDOFF if error < 0.25 else math.inf

    @property
    def _entry_roundings(self) -> int:
        """How often two computations of an entry of the effective kernel round it, together."""
        return 2 if self._divided else 0

    def lipschitz(self) -> float:
        """Upper bound of the layer's L2 Lipschitz constant, computed in float64."""
        return self.norms().kernel

    def norms(self) -> Norms:
        """Upper bounds that follow from the effective kernel, computed in float64."""
        return once(self, "norms", self._compute_norms)

    def _compute_norms(self) -> Norms:
        kernel = float64(self.effective_kernel())
        if not np.isfinite(kernel).all():
            raise ValueError(
                f"the effective kernel of {self.name!r} has NaN or infinite entries, so it has no "
                "norm"
            )
        absolute = np.abs(kernel)
        return Norms(self._norm(kernel), self._norm(absolute), float(absolute.max()))

    def rounding(self, size: Numbers, error: Numbers) -> tuple[Numbers, Numbers]:
        """Bounds of the L2 norms of the outputs and of the error that float32 made in them.

        Args:
            size: float64 array ``(n,)``, bounds of the L2 norm of the exact inputs.
            error: float64 array ``(n,)``, bounds of the L2 norm of ``computed − exact`` inputs.

        Returns:
            ``(size, error)``, the same bounds for the outputs.
        """
        bias = 0.0 if self.bias is None else float64(self.bias)
        bias = np.linalg.norm(bias) * math.sqrt(self._positions)
        (norm, absolute, largest), computed = self.norms(), size + error
        # The roundings of the sums and of the kernel's entries, and one more when the bias is
        # added: to the sum, or, in a condensed layer, to the first of its blocks. A compiler may
        # start the sum with the bias, which is then rounded as often as a product.
        roundings = self._roundings + 1
        local = sum_rounding(roundings + self._entry_roundings) * absolute * computed
        local = local + sum_rounding(roundings) * bias
        local = local + self._kernel_rounding() * norm * computed
        # Entries of the kernel may be flushed to zero too, so every entry counts as a term.
        entries = self._positions * self.kernel.shape[-1]
        per_size, offset = flushing(math.prod(self.kernel.shape) + 2, entries, largest)
        return norm * size + bias, norm * error + local + per_size * computed + offset

    def _shifted(self, outputs: Tensor) -> Tensor:
        return outputs if self.bias is None else outputs + self.bias

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "parametrization": self.parametrization,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }


@keras.saving.register_keras_serializable(package="zoo")
class NonexpansiveDense(NonexpansiveKernel):
    """Dense layer with an L2 norm of at most 1 by default.

    Args:
        units: number of outputs.
        parametrization: how the effective kernel, which inputs are multiplied by, is made from the
            trained kernel. ``"row_sum"`` divides the trained kernel by a bound of its norm.
            ``"almost_orthogonal"`` divides each of its rows, or of its columns, by a number of its
            own. ``"orthogonal"`` uses it unchanged, but brings it close to an orthogonal one after
            each step of an optimizer (:class:`zoo.constraints.Orthogonal`). ``"free"`` uses it
            unchanged; the layer is then nonexpansive only if a regulariser
            (:class:`zoo.losses.RowSumRegularizer`) has made it so.
        use_bias: whether to add a trainable bias.
        kernel_initializer, kernel_regularizer: initializer and regulariser of the trained kernel,
            as in ``keras.layers.Dense``.

    Call arguments:
        inputs: tensor of shape ``(batch, …, inputs)``, float. The kernel is applied at every
            position of the axes in between, such as the pixels of an image.

    Returns:
        Tensor of shape ``(batch, …, units)``.

    Raises:
        ValueError: if an argument is out of range.

    Examples:
        >>> import numpy as np, zoo
        >>> layer = zoo.layers.NonexpansiveDense(3)
        >>> tuple(layer(np.zeros((2, 5))).shape), layer.lipschitz() <= 1.00001
        ((2, 3), True)

    Reference:
        Qian, Wegman: L2-Nonexpansive Neural Networks, ICLR 2019, section 2.2 (row sums). For the
        other parametrizations see :mod:`zoo.ops.parametrizations`.
    """

    def __init__(
        self,
        units: int,
        *,
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
        self.units = checks.positive_integer(units, "units")

    def build(self, input_shape: BatchShape) -> None:
        if input_shape[-1] is None:
            raise ValueError(f"the last dimension of the inputs must be known, got {input_shape}")
        self._positions_shape = tuple(input_shape[1:-1])
        self._add_weights((input_shape[-1], self.units))

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        # Training needs no bound of the rounding error, so it uses the faster ordinary product.
        product = ops.matmul if training else blocked_matmul
        # One product of two matrices is faster than one for each image or each row of pixels.
        rows = ops.reshape(inputs, (-1, inputs.shape[-1])) if len(inputs.shape) > 2 else inputs
        outputs = self._shifted(product(rows, self.effective_kernel()))
        if rows is inputs:
            return outputs
        return ops.reshape(outputs, (-1, *ops.shape(inputs)[1:-1], self.units))

    def condensed(self, inputs: Tensor) -> Tensor:
        """Apply a Keras layer with the effective kernel, in the same blocks, to ``inputs``."""
        blocks, _ = blocks_of(inputs.shape[-1])
        batch = "abcdefgh"[: len(inputs.shape) - 1]
        layer = keras.layers.EinsumDense(
            f"{batch}ki,kio->{batch}ko",
            (*inputs.shape[1:-1], blocks, self.units),
            bias_axes="ko" if self.use_bias else None,
            name=self.name,
        )
        outputs = layer(blocked_inputs(inputs))
        weights = [blocked_kernel(self.effective_kernel())]
        if self.bias is not None:
            # Only the first block gets the bias, which must be added once.
            weights.append(ops.pad(self.bias[None], ((0, blocks - 1), (0, 0))))
        layer.set_weights([ops.convert_to_numpy(w) for w in weights])
        return sum_of_halves(outputs)

    @property
    def _positions(self) -> int:
        return entries_of(self, self._positions_shape)

    @property
    def _roundings(self) -> int:
        return blocks_of(self.kernel.shape[0])[1]

    def _norm(self, kernel: Array) -> float:
        return dense_norm(kernel)

    def compute_output_shape(self, input_shape: BatchShape) -> BatchShape:
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}
