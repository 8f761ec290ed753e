"""The ℓp distance between every input row and every kernel row."""

import contextlib
import contextvars
import functools
import importlib.util
import math
import numbers
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, TypeAlias

import keras
import numpy as np
from keras import ops

from zoo.ops.gradients import traced_once
from zoo.ops.host_call import host_call, on_cpu
from zoo.typing import BatchShape, Tensor

#: The name of an implementation of the distance, see :func:`lp_distance`.
Implementation: TypeAlias = Literal["auto", "numba", "pallas", "portable"]
#: The exponents for which the numba kernel computes powers by multiplications alone. It is several
#: times as fast at these exponents as at others.
FAST_EXPONENTS = tuple(2.0 * m * 2**j for j in range(8) for m in (4, 6))[:-1]

#: Exponents of at least this number stand for infinity. A tensor can hold it while a debugger
#: checks every tensor for NaN and infinity. From here on, float32 computes powers with errors of a
#: percent and more.
INFINITE = 2.0**17

# The portable form computes at most this many (sample, unit, input) triples at once.
_BLOCK_TRIPLES = 1 << 24
# The batch size that is assumed if it is not known when the graph is built.
_USUAL_BATCH = 256
_WITHOUT_LOOPS: contextvars.ContextVar[bool] = contextvars.ContextVar(
    "without_loops", default=False
)


@contextlib.contextmanager
def without_loops() -> Iterator[None]:
    """Let the portable form build graphs without loops.

    TensorFlow lets equal loops of two layers share nodes, which the converter to ONNX cannot read.
    Without loops a graph is larger, and may compute several blocks at the same time.
    """
    token = _WITHOUT_LOOPS.set(True)
    try:
        yield
    finally:
        _WITHOUT_LOOPS.reset(token)


def has_loops() -> bool:
    """Whether the portable form may contain loops: False within :func:`without_loops`."""
    return not _WITHOUT_LOOPS.get()


def lp_distance(
    x: Tensor, w: Tensor, p: Tensor, *, implementation: Implementation = "auto"
) -> Tensor:
    """Distance ``u[b, o] = ‖x[b] − w[o]‖_p``.

    It is computed as ``r · (Σ (|x − w| / r)^p)^(1/p)``, where ``r`` is the largest difference, so
    that no power overflows and the largest one is 1. Its gradient has the closed form
    ``sign(x − w) · (|x − w| / u)^(p−1)``. Neither needs a tensor of shape (batch, units, inputs) at
    once. At ``p = inf`` the gradient goes to the largest difference, in equal shares among ties.

    Args:
        x: tensor of shape ``(batch, inputs)``, float32.
        w: tensor of shape ``(units, inputs)``, float32.
        p: at least 2; a number or a scalar tensor. The distance for ``inf`` is exact in float32. An
            exponent of 2¹⁷ or more is taken for infinite. If ``inf`` is given as a number, no
            tensor holds an infinity.
        implementation: ``"numba"`` (compiled CPU kernel), ``"pallas"`` (NVIDIA GPU kernel, for JAX
            only; on other devices it is interpreted, which is slow), ``"portable"`` (plain
            ``keras.ops``, which work everywhere, even in an exported program) or ``"auto"``, which
            is numba on a CPU if it is installed, pallas with JAX on an NVIDIA GPU, and portable
            otherwise. For derivatives of the gradient, choose ``"portable"``: TensorFlow leaves out
            those through a compiled kernel, and JAX refuses them.

    Returns:
        Tensor of shape ``(batch, units)``, float32.

    Raises:
        ValueError: if the shapes do not fit, ``p`` is a number below 2, or the implementation is
            unknown or does not work on this backend.

    Examples:
        >>> import numpy as np
        >>> from zoo.ops import lp_distance
        >>> x, w = np.zeros((1, 2), "float32"), np.array([[3.0, 4.0]], "float32")
        >>> round(float(lp_distance(x, w, p=2.0)[0, 0]), 4)
        5.0
        >>> float(lp_distance(x, w, p=float("inf"))[0, 0])
        4.0

    Reference:
        Zhang, Cai, Lu, He, Wang: Towards Certifying ℓ∞ Robustness using Neural Networks with
        ℓ∞-dist Neurons, ICML 2021, section 4 (smoothed approximated gradients).
    """
    x, w = ops.convert_to_tensor(x, "float32"), ops.convert_to_tensor(w, "float32")
    if len(x.shape) != 2 or len(w.shape) != 2 or x.shape[1] != w.shape[1]:
        raise ValueError(
            "lp_distance expects x of shape (batch, inputs) and w of shape (units, inputs), "
            f"got {tuple(x.shape)} and {tuple(w.shape)}"
        )
    form = _FORMS[chosen_implementation(implementation)]
    if form is _FORMS["portable"] and not has_loops():
        form = (_unrolled_forward, _portable_backward)
    # Reshaping makes a tensor of a variable. A custom gradient must not see TensorFlow variables.
    x, w = ops.reshape(x, (-1, x.shape[1])), ops.reshape(w, w.shape)
    return with_exponent(functools.partial(_distance, form), x, w, p)


def with_exponent(
    distance: Callable[[bool], Callable[..., Tensor]], x: Tensor, w: Tensor, p: Tensor
) -> Tensor:
    """``distance(True)(x, w)`` if p is infinite, otherwise ``distance(False)(x, w, p)``.

    Args:
        distance: function of a bool that returns a function of tensors.
        x, w: tensors.
        p: at least 2; a number or a scalar tensor.

    Raises:
        ValueError: if ``p`` is a number below 2.
    """
    if not isinstance(p, numbers.Real):
        p = ops.cast(p, "float32")
        # So large that p - 1 is infinite too.
        return distance(False)(x, w, ops.where(p >= INFINITE, np.finfo(np.float32).max, p))
    if not float(p) >= 2:
        raise ValueError(f"the distance expects p >= 2, got p = {p}")
    if float(p) >= INFINITE:
        return distance(True)(x, w)
    return distance(False)(x, w, ops.convert_to_tensor(p, "float32"))


@functools.cache
def _distance(
    form: tuple[Callable[..., Any], Callable[..., Any]], exact: bool
) -> Callable[..., Any]:
    forward, backward = form

    # `forward` and `backward` are given p = inf as a number, and any other exponent as a tensor.
    @ops.custom_gradient
    def distance(x: Tensor, w: Tensor, *exponent: Tensor) -> Any:
        p = math.inf if exact else exponent[0]
        u, residual = forward(x, w, p)

        def gradient(upstream: Tensor) -> Any:
            return (*backward(x, w, p, u, residual, upstream), *map(ops.zeros_like, exponent))

        return u, gradient

    # Only the portable implementation contains loops.
    return traced_once(distance, on_jax=forward is _portable_forward)


def chosen_implementation(implementation: Implementation) -> Implementation:
    """The implementation to use: ``"numba"``, ``"pallas"`` or ``"portable"``; resolves ``"auto"``.

    Raises:
        ValueError: if the implementation is unknown or does not work on this backend.
    """
    if implementation == "auto":
        if numba_available():
            return "numba"
        return "pallas" if _pallas_pays() else "portable"
    if implementation not in _FORMS:
        raise ValueError(
            "implementation must be 'auto', 'numba', 'pallas' or 'portable', "
            f"got {implementation!r}"
        )
    backend = keras.backend.backend()
    if implementation == "pallas" and backend != "jax":
        raise ValueError(
            f"implementation 'pallas' needs the jax backend, this is {backend!r}; "
            "'portable' works on every one"
        )
    return implementation


def _pallas_pays() -> bool:
    """Whether the GPU kernels are compiled here rather than interpreted."""
    if keras.backend.backend() != "jax":
        return False
    import jax

    if jax.default_backend() != "gpu":
        return False
    # JAX calls AMD's devices GPUs too, but the kernels use NVIDIA's instructions.
    if "rocm" in jax.devices()[0].client.platform_version.lower():
        return False
    try:
        from zoo.ops import lp_distance_pallas  # noqa: F401
    except (ImportError, AttributeError):
        # JAX 0.11 calls Pallas's Triton backend deprecated, so a later JAX may not have it.
        return False
    return True


def numba_available() -> bool:
    """Whether ``implementation="auto"`` means the numba kernel here."""
    return importlib.util.find_spec("numba") is not None and on_cpu()


def on_host(
    kernel: Callable[..., Any],
    before: Sequence[Tensor],
    p: Tensor,
    after: Sequence[Tensor],
    outputs: Sequence[tuple[BatchShape, str]],
) -> list[Tensor]:
    """Call ``kernel(*before, p, *after)`` by :func:`zoo.ops.host_call`.

    Args:
        kernel: function of NumPy arrays that numba has compiled.
        before, after: lists of tensors.
        p: scalar tensor, or the Python number infinity, which is not made a tensor.
        outputs: as for :func:`zoo.ops.host_call`.
    """
    exact = isinstance(p, float)
    exponent = [] if exact else [p]
    return host_call(_host_kernel(kernel, exact), [*before, *exponent, *after], outputs)


@functools.cache
def _host_kernel(kernel: Callable[..., Any], exact: bool) -> Callable[..., Any]:
    # The cache gives one function per kernel, because each new function compiles a host call again.
    def call(x: Tensor, w: Tensor, *rest: Any) -> Any:
        p, rest = (INFINITE, rest) if exact else (float(rest[0]), rest[1:])
        return kernel(x, w, np.float32(math.inf if p >= INFINITE else p), *rest)

    return call


def _numba_forward(x: Tensor, w: Tensor, p: Tensor) -> list[Tensor]:
    from zoo.ops import lp_distance_numba as kernels

    shape = (x.shape[0], w.shape[0])
    record = (*shape, kernels.words(x.shape[1]))
    return on_host(kernels.forward, [x, w], p, [], [(shape, "float32"), (record, "int32")])


def _numba_backward(
    x: Tensor, w: Tensor, p: Tensor, u: Tensor, counted: Tensor, g: Tensor
) -> list[Tensor]:
    from zoo.ops import lp_distance_numba as kernels

    shapes = [(x.shape, "float32"), (w.shape, "float32")]
    return on_host(kernels.backward, [x, w], p, [u, counted, g], shapes)


def _pallas_forward(x: Tensor, w: Tensor, p: Tensor) -> tuple[Tensor, tuple[()]]:
    from zoo.ops import lp_distance_pallas as kernels

    return kernels.forward(x, w, _with_infinity(p)), ()


def _pallas_backward(
    x: Tensor, w: Tensor, p: Tensor, u: Tensor, residual: Tensor, g: Tensor
) -> tuple[Tensor, Tensor]:
    from zoo.ops import lp_distance_pallas as kernels

    return kernels.backward(x, w, _with_infinity(p), u, g)


def _with_infinity(p: Tensor) -> Tensor:
    if isinstance(p, float):
        return np.float32(p)
    return ops.where(p >= INFINITE, math.inf, p)


def _of_units(x: Tensor, w: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
    """The distances to a few units, and what their gradient takes."""
    d = ops.abs(x[:, None, :] - w[None, :, :])
    r = ops.max(d, axis=-1, keepdims=True, initial=0.0)
    # At p = inf this counts the ties, which share the gradient.
    total = ops.sum(_share(d, r, p), axis=-1)
    largest = ops.squeeze(r, -1)
    return (largest if isinstance(p, float) else largest * ops.power(total, 1.0 / p)), total


def _unrolled_forward(
    x: Tensor, w: Tensor, p: Tensor, batch: int | None = None
) -> tuple[Tensor, Tensor]:
    """As :func:`_portable_forward` without a loop; ``batch`` is the number of rows to expect."""
    units, inputs = w.shape
    size = _block_size(units, (batch or _batch(x)) * inputs)
    parts = [_of_units(x, w[first : first + size], p) for first in range(0, units, size)]
    u, total = (ops.concatenate(part, axis=1) for part in zip(*parts, strict=True))
    return u, total


def _portable_forward(x: Tensor, w: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
    units, inputs = w.shape

    def block(w: Tensor) -> tuple[Tensor, Tensor]:
        return _of_units(x, w, p)

    # One block of units is computed at a time: (blocks, size, inputs) -> (blocks, batch, size).
    size = _block_size(units, _batch(x) * inputs)
    u, total = ops.map(block, ops.reshape(_fill(w, size, axis=0), (-1, size, inputs)))

    def join(blocks: Tensor) -> Tensor:
        joined = ops.transpose(blocks, (1, 0, 2))
        return ops.reshape(joined, (ops.shape(x)[0], -(-units // size) * size))[:, :units]

    return join(u), join(total)


def _portable_backward(
    x: Tensor, w: Tensor, p: Tensor, u: Tensor, total: Tensor, g: Tensor
) -> tuple[Tensor, Tensor]:
    units, inputs = w.shape
    # At p = inf every tie has the share 1 below, so g is divided by their number.
    shared = g / ops.maximum(total, 1.0)
    g = (shared if isinstance(p, float) else ops.where(p >= INFINITE, shared, g))[:, :, None]

    def block(rows: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        x, w = rows
        d = x[:, None, :] - w[None, :, :]
        term = g * ops.sign(d) * _share(ops.abs(d), u[:, :, None], p - 1.0)
        return ops.sum(term, axis=1), -ops.sum(term, axis=0)

    # One block of inputs is computed at a time, so that no sum over units or over the batch is
    # split: (blocks, batch or units, size).
    size = _block_size(inputs, _batch(x) * units)

    blocks = -(-inputs // size)

    def split(rows: Tensor) -> Tensor:
        rows = _fill(rows, size, axis=1)
        return ops.transpose(ops.reshape(rows, (ops.shape(rows)[0], blocks, size)), (1, 0, 2))

    def join(split: Tensor, like: Tensor) -> Tensor:
        joined = ops.reshape(ops.transpose(split, (1, 0, 2)), (ops.shape(like)[0], blocks * size))
        return joined[:, :inputs]

    dx, dw = ops.map(block, (split(x), split(w)))
    return join(dx, x), join(dw, w)


def _share(d: Tensor, largest: Tensor, p: Tensor) -> Tensor:
    """``(d / largest) ** p``, in [0, 1]; 0 if ``largest`` is 0. At p = inf 1 for the largest d."""
    # p = inf is not left to the power, because the rounded ratio of the largest may be below 1.
    is_largest = ops.cast(d >= largest, "float32")
    if isinstance(p, float):
        return is_largest
    positive = largest > 0
    ratio = ops.where(positive, d / ops.where(positive, largest, 1.0), 0.0)
    infinite = p >= INFINITE
    return ops.where(infinite, is_largest, ops.power(ratio, ops.where(infinite, 1.0, p)))


def _batch(x: Tensor) -> int:
    """The number of rows, or a usual number if the graph is built for any number of rows."""
    return x.shape[0] if isinstance(x.shape[0], int) and x.shape[0] else _USUAL_BATCH


def _block_size(count: int, triples_each: int) -> int:
    return min(count, max(1, _BLOCK_TRIPLES // triples_each))


def _fill(rows: Tensor, size: int, axis: int) -> Tensor:
    """``rows`` with zeros appended along ``axis`` up to a multiple of ``size``."""
    missing = -rows.shape[axis] % size
    return ops.pad(rows, [(0, missing if a == axis else 0) for a in range(2)])


_FORMS = {
    "numba": (_numba_forward, _numba_backward),
    "pallas": (_pallas_forward, _pallas_backward),
    "portable": (_portable_forward, _portable_backward),
}
