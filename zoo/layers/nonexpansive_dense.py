"""The dense layer that moves no two inputs apart."""

import math

import keras
import numpy as np
from keras import ops

from zoo import checks
from zoo.ops.parametrizations import PARAMETRIZATIONS
from zoo.ops.precision import sum_rounding
from zoo.ops.singular_values import dense_norm

# How far, in L2 norm, two ways of computing an effective kernel in float32 may be apart: eager or
# compiled, on one device or another.
_KERNEL_ERROR = 2.0**-19


class NonexpansiveKernel(keras.layers.Layer):
    """What nonexpansive linear layers share: a kernel made from the one that is trained.

    Args:
        parametrization, use_bias, kernel_initializer, kernel_regularizer: see
            :class:`NonexpansiveDense`.
    """

    def __init__(
        self,
        *,
        parametrization="row_sum",
        use_bias=True,
        kernel_initializer="orthogonal",
        kernel_regularizer=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if parametrization not in PARAMETRIZATIONS:
            known = ", ".join(map(repr, PARAMETRIZATIONS))
            raise ValueError(f"parametrization must be one of {known}, got {parametrization!r}")
        self.parametrization = parametrization
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def _add_weights(self, kernel_shape):
        self.kernel = self.add_weight(
            name="kernel",
            shape=kernel_shape,
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
        )
        self.bias = (
            self.add_weight(name="bias", shape=kernel_shape[-1:], initializer="zeros")
            if self.use_bias
            else None
        )

    def effective_kernel(self):
        """The kernel that inputs meet: a tensor of the shape of ``kernel``."""
        kernel = ops.convert_to_tensor(self.kernel)
        # A convolution's as a matrix on patches.
        matrix = ops.reshape(kernel, (-1, kernel.shape[-1]))
        return ops.reshape(PARAMETRIZATIONS[self.parametrization](matrix), kernel.shape)

    def lipschitz(self):
        """Upper bound of the L2 Lipschitz constant, in float64, of the effective kernel."""
        return self._norm(ops.convert_to_numpy(self.effective_kernel()))

    def rounding(self, size, error):
        """How large the outputs are, and the error that float32 has made in them.

        Args:
            size: float64 array ``(n,)``, bounds of the L2 norm of the exact inputs.
            error: float64 array ``(n,)``, bounds of the L2 norm of ``computed − exact`` inputs.

        Returns:
            ``(size, error)`` of the outputs, likewise.
        """
        kernel = ops.convert_to_numpy(self.effective_kernel()).astype(np.float64)
        bias = 0.0 if self.bias is None else ops.convert_to_numpy(self.bias).astype(np.float64)
        bias = np.linalg.norm(bias) * math.sqrt(self._positions)
        terms = math.prod(kernel.shape[:-1]) + 2
        computed = size + error
        local = sum_rounding(terms) * (self._norm(np.abs(kernel)) * computed + bias)
        # The kernel is made anew in each graph.
        local = local + _KERNEL_ERROR * computed
        norm = self._norm(kernel)
        return norm * size + bias, norm * error + local

    def _copied(self, layer, inputs):
        outputs = layer(inputs)
        bias = [] if self.bias is None else [self.bias]
        layer.set_weights([ops.convert_to_numpy(w) for w in [self.effective_kernel(), *bias]])
        return outputs

    def _shifted(self, outputs):
        return outputs if self.bias is None else outputs + self.bias

    def get_config(self):
        return {
            **super().get_config(),
            "parametrization": self.parametrization,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }


@keras.saving.register_keras_serializable(package="zoo")
class NonexpansiveDense(NonexpansiveKernel):
    """Dense layer with an L2 norm of at most 1, for any weights.

    Args:
        units: number of outputs.
        parametrization: how the kernel that is used comes from the one that is trained.
            ``"row_sum"`` divides it by a bound of its norm; ``"almost_orthogonal"`` divides its
            rows or columns one by one; ``"orthogonal"`` takes the orthogonal matrix near it;
            ``"free"`` leaves it alone: nonexpansive only as far as a regulariser
            (:class:`zoo.losses.RowSumRegularizer`) has brought it.
        use_bias: whether to add a trainable bias.
        kernel_initializer, kernel_regularizer: of the kernel that is trained, as in
            ``keras.layers.Dense``.

    Call arguments:
        inputs: tensor of shape ``(batch, …, inputs)``, float.

    Returns:
        Tensor of shape ``(batch, …, units)``.

    Raises:
        ValueError: if an argument is out of range.

    Example:

    >>> import numpy as np, zoo
    >>> layer = zoo.layers.NonexpansiveDense(3)
    >>> tuple(layer(np.zeros((2, 5))).shape), layer.lipschitz() <= 1.00001
    ((2, 3), True)

    Reference:
        Qian, Wegman: L2-Nonexpansive Neural Networks, ICLR 2019, section 2.2; the others:
        :mod:`zoo.ops.parametrizations`.
    """

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = checks.positive_integer(units, "units")

    def build(self, input_shape):
        if input_shape[-1] is None:
            raise ValueError(f"the last dimension of the inputs must be known, got {input_shape}")
        self._add_weights((input_shape[-1], self.units))

    def call(self, inputs):
        return self._shifted(ops.matmul(inputs, self.effective_kernel()))

    def condensed(self, inputs):
        """``inputs`` through a ``keras.layers.Dense`` with the effective kernel."""
        layer = keras.layers.Dense(self.units, use_bias=self.use_bias, name=self.name)
        return self._copied(layer, inputs)

    #: Places that the kernel is applied at.
    _positions = 1

    def _norm(self, kernel):
        return dense_norm(kernel)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def get_config(self):
        return {**super().get_config(), "units": self.units}
