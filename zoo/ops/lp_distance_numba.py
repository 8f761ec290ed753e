"""CPU kernels of :func:`zoo.ops.lp_distance`, compiled by numba.

Shapes: inputs ``x (batch, inputs)``, kernel ``w (units, inputs)``, output ``u (batch, units)``, all
float32. No kernel holds anything of size batch x units x inputs.

Three things make them fast. The power is ``exp2(p * log2(t))`` with polynomials that the compiler
turns into vector instructions. Rows are padded to whole registers, so nothing is left to a scalar
loop. And terms below ``2**-40`` of the largest are skipped, a chunk of a row at a time: as ``p``
grows that is nearly all of them.
"""

import numba
import numpy as np
from numba import float32, int32

# Powers below 2**-40 of the largest term are not computed.
_NEGLIGIBLE = -40.0
# Entries that are skipped or computed together; rows are padded to a multiple of it.
_CHUNK = 64
# The bits of infinity; larger ones are NaN, which compares as no number once fastmath is on.
_INFINITY = int32(0x7F800000)
# Rows of x that share one reading of w.
_ROWS = 16

_jit = numba.njit(fastmath=True, parallel=True, cache=True, error_model="numpy")
_inline = numba.njit(fastmath=True, inline="always", error_model="numpy")


@numba.extending.intrinsic
def _as_int(typingctx, value):
    """The bits of a float32 as an int32."""

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], context.get_value_type(int32))

    return int32(float32), codegen


@numba.extending.intrinsic
def _as_float(typingctx, value):
    """The float32 with the given bits."""

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], context.get_value_type(float32))

    return float32(int32), codegen


@_inline
def _power(t, p):
    """``t ** p`` for t in [0, 1]; relative error below 3e-6 + 6e-6 * p * log2(1/t)."""
    bits = _as_int(t)
    # t = 2**exponent * (1 + f) with f in [sqrt(1/2) - 1, sqrt(2) - 1): nothing cancels near t = 1.
    exponent = int32(int32(bits - int32(0x3F3504F3)) >> int32(23))
    f = _as_float(int32(bits - int32(exponent << int32(23)))) - float32(1.0)
    # Minimax polynomial of log2(1 + f) / f.
    q = float32(-0.2061909970228704)
    q = q * f + float32(0.3181998922399878)
    q = q * f + float32(-0.36649171169545136)
    q = q * f + float32(0.4798118568895761)
    q = q * f + float32(-0.7212063896017668)
    q = q * f + float32(1.442701617862547)
    y = p * (float32(exponent) + f * q)
    y = y if y > float32(-64.0) else float32(-64.0)
    # y = whole + part with part in [-1/2, 1/2]; conversion truncates and y <= 0, hence the half.
    whole = int32(y - float32(0.5))
    part = y - float32(whole)
    # Minimax polynomial of 2**part with 2**0 = 1 exactly.
    e = float32(0.009582853038412513)
    e = e * part + float32(0.05590642467794038)
    e = e * part + float32(0.24024098611601893)
    e = e * part + float32(0.6931241934031516)
    e = e * part + float32(1.0)
    return _as_float(int32(_as_int(e) + int32(whole << int32(23))))


@_inline
def _largest(x, b, w, o, c):
    """``max |x[b, c] - w[o, c]|``; NaN where a difference is."""
    # Non-negative floats are ordered like their bits, and an integer maximum vectorises.
    m = int32(0)
    for i in range(_CHUNK):
        m = max(m, int32(_as_int(x[b, c, i] - w[o, c, i]) & int32(0x7FFFFFFF)))
    return _as_float(m)


@_jit
def _forward(x, w, p):
    batch, chunks, _ = x.shape
    units = w.shape[0]
    out = np.empty((batch, units), np.float32)
    cut = float32(2.0 ** (_NEGLIGIBLE / p))
    for block in numba.prange((batch + _ROWS - 1) // _ROWS):
        largest = np.empty(chunks, np.float32)
        for o in range(units):
            for b in range(block * _ROWS, min(batch, (block + 1) * _ROWS)):
                bits = int32(0)
                for c in range(chunks):
                    largest[c] = _largest(x, b, w, o, c)
                    bits = max(bits, _as_int(largest[c]))
                r = _as_float(bits)
                s = float32(0.0)
                if int32(0) < bits < _INFINITY:
                    inverse = float32(1.0) / r
                    for c in range(chunks):
                        if largest[c] >= r * cut:
                            for i in range(_CHUNK):
                                s += _power(abs(x[b, c, i] - w[o, c, i]) * inverse, p)
                    out[b, o] = r * s ** (float32(1.0) / p)
                else:
                    out[b, o] = r
    return out


@_jit
def _forward_max(x, w):
    batch, chunks, _ = x.shape
    units = w.shape[0]
    out = np.empty((batch, units), np.float32)
    for block in numba.prange((batch + _ROWS - 1) // _ROWS):
        for o in range(units):
            for b in range(block * _ROWS, min(batch, (block + 1) * _ROWS)):
                m = int32(0)
                for c in range(chunks):
                    for i in range(_CHUNK):
                        m = max(m, int32(_as_int(x[b, c, i] - w[o, c, i]) & int32(0x7FFFFFFF)))
                out[b, o] = _as_float(m)
    return out


@_jit
def _backward(x, w, u, g, p):
    batch, chunks, _ = x.shape
    units = w.shape[0]
    dx = np.zeros_like(x)
    dw = np.zeros_like(w)
    cut = float32(2.0 ** (_NEGLIGIBLE / (p - 1)))
    q = p - float32(2.0)
    # Each thread owns some inputs, so both gradients are sums that no other thread writes.
    for c in numba.prange(chunks):
        for first in range(0, batch, _ROWS):
            for o in range(units):
                for b in range(first, min(batch, first + _ROWS)):
                    length = u[b, o]
                    if g[b, o] == 0 or length == 0:
                        continue
                    if _largest(x, b, w, o, c) < length * cut:
                        continue
                    inverse = float32(1.0) / length
                    scale = g[b, o] * inverse
                    for i in range(_CHUNK):
                        d = x[b, c, i] - w[o, c, i]
                        # sign(d) * (|d| / u)**(p - 1), written so that it is 0 at d = 0
                        term = scale * d * _power(abs(d) * inverse, q)
                        dx[b, c, i] += term
                        dw[o, c, i] -= term
    return dx, dw


@_inline
def _add_shares(target, row, x, b, w, o, u, share):
    """Add ``sign(x[b] - w[o]) * share`` to a row wherever the difference is the largest."""
    for c in range(x.shape[1]):
        # Most chunks do not hold the largest difference, and one look tells.
        if _largest(x, b, w, o, c) >= u:
            for i in range(_CHUNK):
                d = x[b, c, i] - w[o, c, i]
                if abs(d) >= u:
                    target[row, c, i] += np.sign(d) * share


@_jit
def _backward_max(x, w, u, g):
    batch, chunks, _ = x.shape
    units = w.shape[0]
    dx = np.zeros_like(x)
    dw = np.zeros_like(w)
    share = np.empty((batch, units), np.float32)
    for b in numba.prange(batch):
        for o in range(units):
            if g[b, o] == 0:  # nearly all of them, in the layers below a sparse gradient
                continue
            ties = 0
            for c in range(chunks):
                if _largest(x, b, w, o, c) >= u[b, o]:
                    for i in range(_CHUNK):
                        ties += abs(x[b, c, i] - w[o, c, i]) >= u[b, o]
            share[b, o] = g[b, o] / float32(ties)
            _add_shares(dx, b, x, b, w, o, u[b, o], share[b, o])
    for o in numba.prange(units):
        for b in range(batch):
            if g[b, o] != 0:
                _add_shares(dw, o, x, b, w, o, u[b, o], -share[b, o])
    return dx, dw


def _chunked(rows):
    """``rows (n, inputs)`` as ``(n, chunks, _CHUNK)``; zeros fill it up and add no distance."""
    count, inputs = rows.shape
    chunks = max(1, -(-inputs // _CHUNK))
    padded = np.zeros((count, chunks * _CHUNK), np.float32)
    padded[:, :inputs] = rows
    return padded.reshape(count, chunks, _CHUNK)


def forward(x, w, p):
    """``u[b, o] = ||x[b] - w[o]||_p`` for 2 <= p <= inf."""
    x, w = _chunked(x), _chunked(w)
    if np.isinf(p):
        return _forward_max(x, w)
    return _forward(x, w, np.float32(p))


def backward(x, w, p, u, g):
    """Gradients of ``sum(g * u)`` with respect to ``x`` and ``w``.

    At ``p = inf`` the gradient goes to the input of the largest difference, in equal shares where
    several are equally large.
    """
    chunked = _chunked(x), _chunked(w)
    if np.isinf(p):
        dx, dw = _backward_max(*chunked, u, g)
    else:
        dx, dw = _backward(*chunked, u, g, np.float32(p))
    inputs = x.shape[1]
    return (
        np.ascontiguousarray(dx.reshape(len(x), -1)[:, :inputs]),
        np.ascontiguousarray(dw.reshape(len(w), -1)[:, :inputs]),
    )


@_jit
def _interval(lower, upper, w):
    batch, chunks, _ = lower.shape
    units = w.shape[0]
    low = np.empty((batch, units), np.float32)
    high = np.empty((batch, units), np.float32)
    for block in numba.prange((batch + _ROWS - 1) // _ROWS):
        for o in range(units):
            for b in range(block * _ROWS, min(batch, (block + 1) * _ROWS)):
                # Bits again; those of a negative float are a negative integer, below the 0 of both.
                near = int32(0)
                far = int32(0)
                for c in range(chunks):
                    for i in range(_CHUNK):
                        above = lower[b, c, i] - w[o, c, i]
                        below = w[o, c, i] - upper[b, c, i]
                        near = max(near, max(_as_int(above), _as_int(below)))
                        far = max(far, max(_as_int(-above), _as_int(-below)))
                low[b, o] = _as_float(near)
                high[b, o] = _as_float(far)
    return low, high


def interval(lower, upper, w):
    """Smallest and largest ``||z - w[o]||_inf`` over ``lower[b] <= z <= upper[b]``."""
    return _interval(_chunked(lower), _chunked(upper), _chunked(w))
