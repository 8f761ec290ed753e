"""The ℓp distance between every input row and every kernel row."""

import importlib.util

import keras
from keras import ops

from zoo.ops.host_call import host_call, on_cpu

#: Exponents at which the numba kernel needs multiplications alone, several times as fast as others.
FAST_EXPONENTS = tuple(2.0 * m * 2**j for j in range(8) for m in (4, 6))[:-1]

# The portable form computes at most this many (sample, unit, input) triples at once.
_BLOCK_TRIPLES = 1 << 24
# Assumed where the batch size is not known while the graph is built.
_USUAL_BATCH = 256


def lp_distance(x, w, p, *, implementation="auto"):
    """Distance ``u[b, o] = ‖x[b] − w[o]‖_p``.

    Computed as ``r · (Σ (|x − w| / r)^p)^(1/p)`` with ``r`` the largest difference, so no power
    over- or underflows. Its gradient ``sign(x − w) · (|x − w| / u)^(p−1)`` is a closed form; the
    batch × units × inputs tensor is never held. At ``p = inf`` the gradient goes to the largest
    difference, in equal shares among ties.

    Args:
        x: tensor of shape ``(batch, inputs)``, float32.
        w: tensor of shape ``(units, inputs)``, float32.
        p: at least 2; a number or a scalar tensor. ``inf`` is exact in float32.
        implementation: ``"numba"`` (compiled CPU kernel), ``"pallas"`` (NVIDIA GPU kernel, JAX
            alone; on other devices it is interpreted, slowly), ``"portable"`` (plain ``keras.ops``:
            works everywhere, also in an exported program and where a kernel does not compile) or
            ``"auto"``: numba on a CPU where it is installed, pallas with JAX on an NVIDIA GPU,
            portable elsewhere.

    Returns:
        Tensor of shape ``(batch, units)``, float32.

    Raises:
        ValueError: if the shapes do not fit, ``p`` is a number below 2, or the implementation is
            unknown or not for this backend.

    Example:

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
    if isinstance(p, (int, float)) and not p >= 2:
        raise ValueError(f"lp_distance expects p >= 2, got p = {p}")
    forward, backward = _FORMS[chosen_implementation(implementation)]

    @ops.custom_gradient
    def distance(x, w, p):
        u, residual = forward(x, w, p)

        def gradient(*args, upstream=None):
            upstream = args[0] if upstream is None else upstream
            return (*backward(x, w, p, u, residual, upstream), ops.zeros_like(p))

        return u, gradient

    # Reshaped, a variable is a tensor: a custom gradient must not see TensorFlow variables.
    x, w = ops.reshape(x, (-1, x.shape[1])), ops.reshape(w, w.shape)
    return distance(x, w, ops.cast(p, "float32"))


def chosen_implementation(implementation):
    """The form that is meant: ``"numba"``, ``"pallas"`` or ``"portable"``."""
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


def _pallas_pays():
    """Whether the GPU kernels are compiled here rather than interpreted."""
    if keras.backend.backend() != "jax":
        return False
    import jax

    if jax.default_backend() != "gpu":
        return False
    # JAX calls AMD's a GPU too; the kernels' instructions are NVIDIA's.
    return "rocm" not in jax.devices()[0].client.platform_version.lower()


def numba_available():
    """Whether ``implementation="auto"`` means the numba kernel here."""
    return importlib.util.find_spec("numba") is not None and on_cpu()


def _numba_forward(x, w, p):
    from zoo.ops import lp_distance_numba as kernels

    shape = (x.shape[0], w.shape[0])
    record = (*shape, kernels.words(x.shape[1]))
    return host_call(kernels.forward, [x, w, p], [(shape, "float32"), (record, "int32")])


def _numba_backward(x, w, p, u, counted, g):
    from zoo.ops import lp_distance_numba as kernels

    shapes = [(x.shape, "float32"), (w.shape, "float32")]
    return host_call(kernels.backward, [x, w, p, u, counted, g], shapes)


def _pallas_forward(x, w, p):
    from zoo.ops import lp_distance_pallas as kernels

    return kernels.forward(x, w, p), ()


def _pallas_backward(x, w, p, u, residual, g):
    from zoo.ops import lp_distance_pallas as kernels

    return kernels.backward(x, w, p, u, g)


def _portable_forward(x, w, p):
    units, inputs = w.shape

    def block(w):
        d = ops.abs(x[:, None, :] - w[None, :, :])
        r = ops.max(d, axis=-1, keepdims=True, initial=0.0)
        # At p = inf this counts the ties, which share the gradient.
        total = ops.sum(_share(d, r, p), axis=-1)
        return ops.squeeze(r, -1) * ops.power(total, 1.0 / p), total

    # A block of units at a time: (blocks, size, inputs) -> (blocks, batch, size)
    size = _block_size(units, (x.shape[0] or _USUAL_BATCH) * inputs)
    u, total = ops.map(block, ops.reshape(_fill(w, size, axis=0), (-1, size, inputs)))

    def join(blocks):
        joined = ops.transpose(blocks, (1, 0, 2))
        return ops.reshape(joined, (ops.shape(x)[0], -(-units // size) * size))[:, :units]

    return join(u), join(total)


def _portable_backward(x, w, p, u, total, g):
    units, inputs = w.shape
    # At p = inf, ties have share 1 each.
    g = ops.where(ops.isinf(p), g / total, g)[:, :, None]

    def block(rows):
        x, w = rows
        d = x[:, None, :] - w[None, :, :]
        term = g * ops.sign(d) * _share(ops.abs(d), u[:, :, None], p - 1.0)
        return ops.sum(term, axis=1), -ops.sum(term, axis=0)

    # A block of inputs at a time, so that both sums are whole: (blocks, batch or units, size)
    size = _block_size(inputs, (x.shape[0] or _USUAL_BATCH) * units)

    blocks = -(-inputs // size)

    def split(rows):
        rows = _fill(rows, size, axis=1)
        return ops.transpose(ops.reshape(rows, (ops.shape(rows)[0], blocks, size)), (1, 0, 2))

    def join(split, like):
        joined = ops.reshape(ops.transpose(split, (1, 0, 2)), (ops.shape(like)[0], blocks * size))
        return joined[:, :inputs]

    dx, dw = ops.map(block, (split(x), split(w)))
    return join(dx, x), join(dw, w)


def _share(d, largest, p):
    """``(d / largest) ** p``: in [0, 1], 0 where the largest is 0; at p = inf 1 for the largest."""
    positive = largest > 0
    ratio = ops.where(positive, d / ops.where(positive, largest, 1.0), 0.0)
    power = ops.power(ratio, ops.where(ops.isinf(p), 1.0, p))
    # Not by the power's own limit: a rounded ratio may be just below 1.
    return ops.where(ops.isinf(p), ops.cast(d >= largest, "float32"), power)


def _block_size(count, triples_each):
    return min(count, max(1, _BLOCK_TRIPLES // triples_each))


def _fill(rows, size, axis):
    """``rows`` with zeros appended along ``axis`` up to a multiple of ``size``."""
    missing = -rows.shape[axis] % size
    return ops.pad(rows, [(0, missing if a == axis else 0) for a in range(2)])


_FORMS = {
    "numba": (_numba_forward, _numba_backward),
    "pallas": (_pallas_forward, _pallas_backward),
    "portable": (_portable_forward, _portable_backward),
}
