"""The ℓ∞-distance neuron as a layer."""

import numbers
from typing import Any

import keras
import numpy as np
from keras import ops

from zoo.ops import linf_interval, lp_distance
from zoo.ops.lp_distance import INFINITE, Implementation, numba_available
from zoo.typing import BatchShape, Shape, Tensor
from zoo.utils import checks


class DistanceNeurons(keras.layers.Layer):
    """Base of the layers of ℓ∞-distance neurons, with the exponent, the weights and their settings.

    Args:
        p, use_bias, kernel_initializer, implementation: see :class:`LinfDistance`.
    """

    _implementations = ("auto", "numba", "pallas", "portable")

    def __init__(
        self,
        *,
        p: float,
        use_bias: bool,
        kernel_initializer: keras.initializers.Initializer | str,
        implementation: Implementation,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.implementation: Implementation = checks.one_of(self._implementations)(
            implementation, "implementation"
        )
        self._initial_p = _checked_p(p)
        # On TensorFlow, XLA cannot compile a call into numba, so Keras must not compile models with
        # this layer by XLA. JAX can make such calls from compiled code.
        uses_numba = implementation == "numba" or (implementation == "auto" and numba_available())
        if keras.backend.backend() == "tensorflow" and uses_numba:
            self.supports_jit = False

    def _add_weights(self, kernel_shape: Shape, neurons: int) -> None:
        self.kernel = self.add_weight(
            name="kernel", shape=kernel_shape, initializer=self.kernel_initializer
        )
        self.bias = (
            self.add_weight(name="bias", shape=(neurons,), initializer="zeros")
            if self.use_bias
            else None
        )
        # The exponent is a weight, so that a callback can change it without retracing the training
        # step.
        self._p = self.add_weight(
            name="p",
            shape=(),
            initializer=keras.initializers.Constant(_held(self._initial_p)),
            trainable=False,
            dtype="float32",
        )

    def load_own_variables(self, store: Any) -> None:
        values = {key: np.asarray(store[key]) for key in store.keys()}  # noqa: SIM118
        # A file may hold an infinite exponent, which is the last weight.
        last = str(len(self.weights) - 1)
        if last in values:
            values[last] = np.minimum(values[last], INFINITE)
        super().load_own_variables(values)

    @property
    def p(self) -> float:
        """The exponent used in training; assign a number of at least 2."""
        if not self.built:
            return self._initial_p
        value = float(ops.convert_to_numpy(self._p))
        return value if value < INFINITE else float("inf")

    @p.setter
    def p(self, value: float) -> None:
        self._initial_p = _checked_p(value)
        if self.built:
            self._p.assign(_held(self._initial_p))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "p": self.p,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "implementation": self.implementation,
        }


@keras.saving.register_keras_serializable(package="zoo")
class LinfDistance(DistanceNeurons):
    """Fully connected layer of ℓ∞-distance neurons, ``u = ‖z − w‖_∞ (+ b)``.

    Every output is 1-Lipschitz in ℓ∞, whatever the weights. No activation follows: the neuron is
    itself non-linear.

    In training the distance is an ℓp distance, whose gradient is not sparse; raise ``layer.p`` from
    about 8 to 1000 while training, then set it to ``inf``. At inference the distance is ℓ∞,
    whatever ``p`` is, because only ``p = inf`` is 1-Lipschitz in ℓ∞.

    Args:
        units: number of neurons.
        p: at least 2, the exponent used in training. Assignable: ``layer.p = 20.0``. A number of
            2¹⁷ or more is taken for ``inf``.
        use_bias: whether to add a trainable bias.
        kernel_initializer: initializer of the kernel, whose shape is ``(units, inputs)``.
        implementation: ``"auto"``, ``"numba"``, ``"pallas"`` or ``"portable"``, see
            :func:`zoo.ops.lp_distance`.

    Call arguments:
        inputs: tensor of shape ``(batch, …, inputs)``, float32.
        training: whether to use ``p`` (True) or the ℓ∞ distance. A layer with
            ``trainable = False`` computes the ℓ∞ distance in training too.

    Returns:
        Tensor of shape ``(batch, …, units)``.

    Raises:
        ValueError: if ``p`` is below 2 or the implementation is unknown; when the layer is built,
            if the last dimension of the inputs is not known.

    Examples:
        >>> import numpy as np, zoo
        >>> layer = zoo.layers.LinfDistance(3)
        >>> tuple(layer(np.zeros((2, 5))).shape)
        (2, 3)

    Reference:
        Zhang et al., ICML 2021, sections 3 and 4.
    """

    def __init__(
        self,
        units: int,
        *,
        p: float = float("inf"),
        use_bias: bool = False,
        kernel_initializer: keras.initializers.Initializer | str = "zoo>NearIdentity",
        implementation: Implementation = "auto",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            p=p,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            implementation=implementation,
            **kwargs,
        )
        self.units = checks.positive_integer(units, "units")

    def build(self, input_shape: BatchShape) -> None:
        inputs = input_shape[-1]
        if inputs is None:
            raise ValueError(f"the last dimension of the inputs must be known, got {input_shape}")
        self._add_weights((self.units, inputs), self.units)

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        p = self._p if training and self.trainable else float("inf")
        rows = ops.reshape(inputs, (-1, inputs.shape[-1]))
        u = lp_distance(rows, self.kernel, p, implementation=self.implementation)
        return self._finish(u, inputs)

    def interval(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Bounds of the outputs (at ``p = inf``) over a box of inputs.

        Args:
            lower, upper: tensors of shape ``(batch, inputs)``, ends of the box.

        Returns:
            ``(lower, upper)``, tensors of shape ``(batch, units)``.
        """
        low, high = linf_interval(lower, upper, self.kernel, implementation=self.implementation)
        return self._finish(low, lower), self._finish(high, upper)

    def _finish(self, u: Tensor, inputs: Tensor) -> Tensor:
        if self.bias is not None:
            u = u + self.bias
        shape = ops.shape(inputs)
        return ops.reshape(u, (*shape[:-1], self.units))

    def compute_output_shape(self, input_shape: BatchShape) -> BatchShape:
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable(package="zoo")
class NearIdentity(keras.initializers.Initializer):
    """Standard normal kernel with which unit ``o`` passes on input ``o mod inputs``.

    If there are at least as many units as inputs, entry ``(o, o mod inputs)`` is −10. For inputs of
    usual size the difference at this entry is the largest, so the unit's output is that input plus
    10. With fewer units than inputs all entries are standard normal.

    Args:
        seed: integer, or None for a random seed.

    Call arguments:
        shape: ``(units, inputs)``, as the kernels of :class:`LinfDistance` have it.
        dtype: of the kernel.

    Examples:
        >>> import zoo
        >>> kernel = zoo.layers.NearIdentity(seed=0)((4, 2))
        >>> float(kernel[0, 0]), float(kernel[3, 1])
        (-10.0, -10.0)
    """

    def __init__(self, seed: int | None = None) -> None:
        self.seed = seed
        self._normal = keras.initializers.RandomNormal(0.0, 1.0, seed=seed)

    def __call__(self, shape: Shape, dtype: Any = None) -> Tensor:
        units, inputs = shape
        kernel = self._normal(shape, dtype=dtype)
        if inputs > units:
            return kernel
        own = ops.equal(ops.arange(units)[:, None] % inputs, ops.arange(inputs)[None, :])
        return ops.where(own, ops.cast(-10.0, kernel.dtype), kernel)

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.seed}


def _held(p: float) -> float:
    """The exponent as a finite number, in which form the weight holds it."""
    return min(p, INFINITE)


def _checked_p(p: Any) -> float:
    if isinstance(p, bool) or not isinstance(p, numbers.Real) or not float(p) >= 2:
        raise ValueError(f"p must be a number of at least 2 (or inf), got {p!r}")
    return float(p)
