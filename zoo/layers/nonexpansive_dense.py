"""The dense layer that moves no two inputs apart."""

import keras
from keras import ops

from zoo import checks
from zoo.ops.parametrizations import PARAMETRIZATIONS
from zoo.ops.singular_values import dense_norm


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

    def lipschitz(self):
        """Upper bound of the L2 Lipschitz constant, by a float64 SVD of the effective kernel."""
        return dense_norm(self.effective_kernel())

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def get_config(self):
        return {**super().get_config(), "units": self.units}
