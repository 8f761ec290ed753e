"""CPU kernels of :func:`zoo.ops.lp_distance`, compiled by numba.

Shapes: inputs ``x (batch, inputs)``, kernel ``w (units, inputs)``, output ``u (batch, units)``, all
float32. No kernel holds anything of size batch x units x inputs.

What makes them fast:

* At the exponents ``FAST_EXPONENTS`` a power is a few multiplications; the kernels for such an
  exponent are compiled on first use. At others it is ``exp2(q * log2(t))`` by polynomials. Both
  become vector code.
* The largest difference is found for two rows and two units at a time, so each value loaded is
  used twice.
* Rows are padded to whole registers, so nothing is left to a scalar loop.
* Terms below ``2**-32`` of the largest are skipped, a chunk of a row at a time. For large ``p``
  these are nearly all terms. The forward pass records the chunks that it did not skip, one bit
  each, and the backward pass visits only these.
"""

import functools
import hashlib
import math
import pathlib
import threading

import llvmlite.binding
import numba
import numpy as np
from numba import float32, int32
from numba.core.codegen import get_host_cpu_features

from zoo.ops.lp_distance import FAST_EXPONENTS
from zoo.typing import Array

# Terms below 2**_NEGLIGIBLE of the largest one are skipped at exponents of at least _SPARSE_FROM.
# At smaller exponents there are too few such terms for the search to pay.
_NEGLIGIBLE = -32.0
_SPARSE_FROM = 32.0
# Terms below 2**_SMALLEST_POWER are replaced by this number, because computing with subnormal
# numbers is slow.
_SMALLEST_POWER = -64.0
# Number of entries that are skipped or computed together; rows are padded to a multiple of it.
_CHUNK = 64
# Number of bits in a word of the record of chunks.
_WORD = 32
_MAGNITUDE = int32(0x7FFFFFFF)
# The bits of infinity. Larger ones are the bits of NaN. They are compared as integers, because
# fastmath assumes that there is no NaN among floats.
_INFINITY = int32(0x7F800000)
# The bits of the smallest normal number. The reciprocals of many smaller numbers are infinite.
_NORMAL = int32(0x00800000)
# Number of rows of x for which a row of w is read once.
_ROWS = 16

_inline = numba.njit(fastmath=True, inline="always", error_model="numpy")
# Only one kernel runs at a time. Each uses all cores anyway, and without OpenMP and TBB numba ends
# the process if two threads start a kernel at once.
_RUNNING = threading.Lock()


def _version():
    """A short text that changes with this file, numba and the processor."""
    parts = (
        pathlib.Path(__file__).read_text(encoding="utf-8"),
        numba.__version__,
        llvmlite.binding.get_host_cpu_name(),
        get_host_cpu_features(),
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


_VERSION = _version()


def _jit(function):
    """Compile a kernel that runs on all cores, and that threads may call at the same time."""
    # numba's cache finds a kernel by its name. It first records that a kernel is up to date, and
    # then writes the kernel to a file that may hold an older version of it. If the process ends in
    # between or the disk is full, the older version would be loaded from then on. So the
    # versions need different names.
    function.__qualname__ += f"_{_VERSION}"
    options = {"fastmath": True, "parallel": True, "error_model": "numpy"}
    try:
        kernel = numba.njit(**options, cache=True)(function)
    except RuntimeError:  # numba finds no writable folder for its cache
        kernel = numba.njit(**options)(function)

    @functools.wraps(function)
    def run(*arguments):
        nonlocal kernel
        with _RUNNING:
            try:
                return kernel(*arguments)
            except OSError:  # the disk of the cache is full, or the folder is gone
                kernel = numba.njit(**options)(function)
                return kernel(*arguments)

    return run


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


@numba.extending.intrinsic
def _use_widest_vectors(typingctx):
    """Let the loops of the compiled function that calls this use the widest registers there are.

    For processors with AVX-512, LLVM prefers registers of half the width, because some of them
    lower their clock for the wide ones. These kernels run longer at half the width on all that were
    measured. The attribute belongs to one compiled function, so other code of the process is
    compiled as before. Each body of ``prange`` is a function of its own.
    """

    def codegen(context, builder, signature, args):
        # add() of this set refuses attributes that carry a value, though LLVM takes them.
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return numba.void(), codegen


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
def _raised(s, q, m, j):
    """``s ** q``, where ``q = m * 2**j`` unless ``m`` is 0; ``m`` and ``j`` are constants."""
    if m == 0:
        return _power(s, q)
    square = s * s
    y = square * square
    if m == 6:
        y = y * square
    for _ in range(j):
        y = y * y
    return y


@_inline
def _raised_less_one(s, q, m, j):
    """``s ** (q - 1)``, with the arguments of :func:`_raised`.

    It is ``s**(m - 1)`` times the product of ``s**(m * 2**i)`` over all i < j.
    """
    if m == 0:
        return _power(s, q - float32(1.0))
    square = s * s
    y = square * square
    product = square * s
    if m == 6:
        product = y * s
        y = y * square
    for _ in range(j):
        product = product * y
        y = y * y
    return product


@_inline
def _magnitude(a):
    """The bits of ``|a|``. They are ordered like the floats, and integer maxima vectorise."""
    return int32(_as_int(a) & _MAGNITUDE)


@_inline
def _bits(a, b):
    """The bits of ``|a - b|``."""
    return _magnitude(a - b)


@_inline
def _largest_of_block(x, w, first, last, out):
    """``out[b, o] = max |x[b] - w[o]|`` for the rows ``first <= b < last`` and all units."""
    units = w.shape[0]
    for o in range(0, units, 2):
        # If the number of units is odd, the last one is computed twice; likewise for rows.
        o1 = min(o + 1, units - 1)
        for b in range(first, last, 2):
            b1 = min(b + 1, last - 1)
            m00, m01, m10, m11 = int32(0), int32(0), int32(0), int32(0)
            for i in range(x.shape[1]):
                x0, x1, w0, w1 = x[b, i], x[b1, i], w[o, i], w[o1, i]
                m00 = max(m00, _bits(x0, w0))
                m01 = max(m01, _bits(x0, w1))
                m10 = max(m10, _bits(x1, w0))
                m11 = max(m11, _bits(x1, w1))
            out[b, o], out[b, o1] = _as_float(m00), _as_float(m01)
            out[b1, o], out[b1, o1] = _as_float(m10), _as_float(m11)


@_jit
def _forward_max(x, w):
    batch = x.shape[0]
    out = np.empty((batch, w.shape[0]), np.float32)
    for block in numba.prange((batch + _ROWS - 1) // _ROWS):
        _use_widest_vectors()
        _largest_of_block(x, w, block * _ROWS, min(batch, (block + 1) * _ROWS), out)
    return out


@functools.cache
def _kernels(m, j):
    """Forward (dense and sparse) and backward kernels with the constants compiled in."""

    def compiled(function):
        # Each variant needs its own name, by which numba's cache, shared by processes, finds it.
        function.__qualname__ = f"{function.__name__}_{m}_{j}"
        return _jit(function)

    @compiled
    def dense(x, w, q, smallest):
        batch, inputs = x.shape
        units = w.shape[0]
        out = np.empty((batch, units), np.float32)
        root = float32(0.5) / q
        for block in numba.prange((batch + _ROWS - 1) // _ROWS):
            _use_widest_vectors()
            first, last = block * _ROWS, min(batch, (block + 1) * _ROWS)
            _largest_of_block(x, w, first, last, out)
            for o in range(units):
                for b in range(first, last):
                    r = out[b, o]
                    if not _NORMAL <= _as_int(r) < _INFINITY:
                        continue
                    inverse = float32(1.0) / r
                    s = float32(0.0)
                    for i in range(inputs):
                        t = (x[b, i] - w[o, i]) * inverse
                        t = t * t
                        s += _raised(t if t > smallest else smallest, q, m, j)
                    out[b, o] = r * s**root
        return out

    @compiled
    def sparse(x, w, q, smallest, cut):
        batch, chunks, _ = x.shape
        units = w.shape[0]
        out = np.empty((batch, units), np.float32)
        counted = np.zeros((batch, units, (chunks + _WORD - 1) // _WORD), np.int32)
        root = float32(0.5) / q
        flat_x, flat_w = x.reshape(batch, chunks * _CHUNK), w.reshape(units, chunks * _CHUNK)
        for block in numba.prange((batch + _ROWS - 1) // _ROWS):
            _use_widest_vectors()
            first, last = block * _ROWS, min(batch, (block + 1) * _ROWS)
            _largest_of_block(flat_x, flat_w, first, last, out)
            for o in range(units):
                for b in range(first, last):
                    r = out[b, o]
                    if not _NORMAL <= _as_int(r) < _INFINITY:
                        continue
                    inverse = float32(1.0) / r
                    floor = _as_int(r * cut)
                    s = float32(0.0)
                    for c in range(chunks):
                        if _reaches(x, b, w, o, c, floor):
                            counted[b, o, c // _WORD] |= int32(int32(1) << int32(c % _WORD))
                            for i in range(_CHUNK):
                                t = (x[b, c, i] - w[o, c, i]) * inverse
                                t = t * t
                                s += _raised(t if t > smallest else smallest, q, m, j)
                    out[b, o] = r * s**root
        return out, counted

    @compiled
    def backward(x, w, u, counted, g, q, smallest):
        batch, chunks, _ = x.shape
        units = w.shape[0]
        dx = np.zeros_like(x)
        dw = np.zeros_like(w)
        # Each thread owns some inputs, so no two threads add to the same entry of a gradient.
        for c in numba.prange(chunks):
            _use_widest_vectors()
            word, bit = c // _WORD, int32(int32(1) << int32(c % _WORD))
            for first in range(0, batch, _ROWS):
                for o in range(units):
                    for b in range(first, min(batch, first + _ROWS)):
                        scale = g[b, o]
                        if counted[b, o, word] & bit == 0 or scale == 0:
                            continue
                        if _as_int(u[b, o]) < _NORMAL:
                            continue
                        inverse = float32(1.0) / u[b, o]
                        for i in range(_CHUNK):
                            t = (x[b, c, i] - w[o, c, i]) * inverse
                            s = t * t
                            s = s if s > smallest else smallest
                            # sign(d) * (|d| / u)**(p - 1) with p - 1 = 1 + 2 * (q - 1)
                            term = scale * t * _raised_less_one(s, q, m, j)
                            dx[b, c, i] += term
                            dw[o, c, i] -= term
        return dx, dw

    return dense, sparse, backward


def _constants(p):
    """Half of p, the smallest square whose power is computed, and the kernels for p."""
    q = p / 2.0
    smallest = 2.0 ** (_SMALLEST_POWER / q)
    m, j = 0, 0
    if p in FAST_EXPONENTS:
        # q = m * 2**j with m = 4 or 6.
        mantissa, exponent = math.frexp(q)
        m, j = int(8 * mantissa), exponent - 3
    return np.float32(q), np.float32(smallest), _kernels(m, j)


@_inline
def _reaches(x, b, w, o, c, floor):
    """Whether an entry of the chunk differs by at least the number with the bits ``floor``."""
    found = False
    for i in range(_CHUNK):
        found |= _bits(x[b, c, i], w[o, c, i]) >= floor
    return found


@_inline
def _add_shares(target, row, x, b, w, o, c, u, share):
    """Add ``sign(x[b] - w[o]) * share`` to a row wherever the difference is the largest."""
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
    share = np.zeros((batch, units), np.float32)
    # The first loop records the chunks with a largest difference, one bit each. The second loop
    # visits only these.
    hit = np.zeros((batch, units, (chunks + _WORD - 1) // _WORD), np.int32)
    for b in numba.prange(batch):
        _use_widest_vectors()
        for o in range(units):
            if g[b, o] == 0:  # true for nearly all pairs if the layer above has a sparse gradient
                continue
            floor = _as_int(u[b, o])
            ties = 0
            for c in range(chunks):
                if _reaches(x, b, w, o, c, floor):
                    hit[b, o, c // _WORD] |= int32(int32(1) << int32(c % _WORD))
                    for i in range(_CHUNK):
                        ties += _bits(x[b, c, i], w[o, c, i]) >= floor
            share[b, o] = g[b, o] / float32(max(ties, 1))
            for c in range(chunks):
                if hit[b, o, c // _WORD] & int32(int32(1) << int32(c % _WORD)) != 0:
                    _add_shares(dx, b, x, b, w, o, c, u[b, o], share[b, o])
    for o in numba.prange(units):
        _use_widest_vectors()
        for b in range(batch):
            if share[b, o] == 0:
                continue
            for c in range(chunks):
                if hit[b, o, c // _WORD] & int32(int32(1) << int32(c % _WORD)) != 0:
                    _add_shares(dw, o, x, b, w, o, c, u[b, o], -share[b, o])
    return dx, dw


def _chunked(rows):
    """Reshape ``(n, inputs)`` to ``(n, chunks, _CHUNK)``; the padded zeros add no distance."""
    count, inputs = rows.shape
    chunks = max(1, -(-inputs // _CHUNK))
    if inputs != chunks * _CHUNK:
        padded = np.zeros((count, chunks * _CHUNK), np.float32)
        padded[:, :inputs] = rows
        rows = padded
    chunked = np.ascontiguousarray(rows, np.float32).reshape(count, chunks, _CHUNK)
    # Backends pass writable and read-only arrays. All become read-only here, because numba would
    # compile each kernel for both kinds.
    chunked = chunked.view()
    chunked.flags.writeable = False
    return chunked


def words(inputs: int) -> int:
    """Number of words in the record of chunks that :func:`forward` returns for a pair of rows."""
    chunks = max(1, -(-inputs // _CHUNK))
    return -(-chunks // _WORD)


def forward(x: Array, w: Array, p: float) -> tuple[Array, Array]:
    """The distances, and the record of chunks for the backward pass.

    Returns:
        ``u[b, o] = ||x[b] - w[o]||_p`` for 2 <= p <= inf, and an int32 array ``(batch, units,
        words)`` with a bit for each chunk of inputs that has a gradient.
    """
    x, w, p = _chunked(x), _chunked(w), float(p)
    everything = (len(x), len(w), -(-x.shape[1] // _WORD))
    if np.isinf(p):
        return _forward_max(_flat(x), _flat(w)), np.full(everything, -1, np.int32)
    q, smallest, (dense, sparse, _) = _constants(p)
    if p < _SPARSE_FROM:
        u = dense(_flat(x), _flat(w), q, smallest)
        return u, np.full(everything, -1, np.int32)
    return sparse(x, w, q, smallest, np.float32(2.0 ** (_NEGLIGIBLE / (p - 1.0))))


def backward(
    x: Array, w: Array, p: float, u: Array, counted: Array, g: Array
) -> tuple[Array, Array]:
    """Gradients of ``sum(g * u)`` with respect to ``x`` and ``w``.

    At ``p = inf`` the gradient goes to the input of the largest difference, in equal shares where
    several are equally large.
    """
    chunked, p = (_chunked(x), _chunked(w)), float(p)
    if np.isinf(p):
        dx, dw = _backward_max(*chunked, u, g)
    else:
        q, smallest, (_, _, kernel) = _constants(p)
        dx, dw = kernel(*chunked, u, counted, g, q, smallest)
    inputs = x.shape[1]
    return (
        np.ascontiguousarray(_flat(dx)[:, :inputs]),
        np.ascontiguousarray(_flat(dw)[:, :inputs]),
    )


def _flat(chunked):
    return chunked.reshape(len(chunked), chunked.shape[1] * _CHUNK)


@_jit
def _interval(lower, upper, w):
    batch, inputs = lower.shape
    units = w.shape[0]
    low = np.empty((batch, units), np.float32)
    high = np.empty((batch, units), np.float32)
    for block in numba.prange((batch + _ROWS - 1) // _ROWS):
        _use_widest_vectors()
        first, last = block * _ROWS, min(batch, (block + 1) * _ROWS)
        for o in range(units):
            for b in range(first, last, 2):
                b1 = min(b + 1, last - 1)
                # The bits are compared. Those of a negative float are a negative integer, which is
                # below the initial value 0. A NaN may have that sign too, but has the largest
                # magnitude, so that `high` becomes NaN.
                near0, near1, far0, far1 = int32(0), int32(0), int32(0), int32(0)
                for i in range(inputs):
                    above0, below0 = lower[b, i] - w[o, i], w[o, i] - upper[b, i]
                    above1, below1 = lower[b1, i] - w[o, i], w[o, i] - upper[b1, i]
                    near0 = max(near0, max(_as_int(above0), _as_int(below0)))
                    near1 = max(near1, max(_as_int(above1), _as_int(below1)))
                    far0 = max(far0, _magnitude(above0), _magnitude(below0))
                    far1 = max(far1, _magnitude(above1), _magnitude(below1))
                low[b, o], low[b1, o] = _as_float(near0), _as_float(near1)
                high[b, o], high[b1, o] = _as_float(far0), _as_float(far1)
    return low, high


def interval(lower: Array, upper: Array, w: Array) -> tuple[Array, Array]:
    """Smallest and largest ``||z - w[o]||_inf`` over ``lower[b] <= z <= upper[b]``."""
    return _interval(*(_flat(_chunked(rows)) for rows in (lower, upper, w)))
