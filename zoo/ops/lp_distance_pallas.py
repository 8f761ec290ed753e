"""GPU kernels of :func:`zoo.ops.lp_distance` for JAX, written in Pallas and compiled by Triton.

Shapes: inputs ``x (batch, inputs)``, kernel ``w (units, inputs)``, output ``u (batch, units)``, all
float32. No kernel holds anything of size batch x units x inputs.

Each program owns a tile of the result (64 x 64 if there are enough such tiles) and keeps its sums
in registers. It loops over the inputs (forward) or over the rows of the other operand (backward).
In each step it reads one short vector of either operand, and every thread combines a few values of
both. At finite p the forward pass has two loops: one for the largest difference ``r``, and one for
the sum of ``(|d| / r)**p``. An online form with one loop would need a third special function per
triple. The backward pass computes the powers twice, once for dx and once for dw, so that no two
programs add to the same entry. At ``p = inf`` there are no powers. The branch on ``p`` is inside
the kernels, so an infinite ``p`` skips the second loop even if it is not known while tracing, and
the host never waits for ``p``.

The table gives lower bounds of the time per triple (sample, unit, input). A multiprocessor of a
Hopper GPU starts at most 128 instructions per clock (counted for single threads). At most 64 of
them may be comparisons, maxima and bit operations, and at most 16 special functions. In clocks:

==============================  =============================================  ===============
pass                            instructions                                   clocks
==============================  =============================================  ===============
forward: largest difference     add, max                                       1/64
forward: sum, finite p          add, mul, log2, mul, exp2, add                 2/16
backward, finite p, dx and dw   add, mul, log2, mul, exp2, copy sign, fma      2/16 each
backward, p = inf: ties         add, compare, add                              3/128
backward, p = inf, dx and dw    add, compare, copy sign, fma                   2/64 each
==============================  =============================================  ===============

With 132 multiprocessors at 1.8 GHz the upper limits are, in 10**12 triples per second: forward 15
at p = inf and 1.7 at finite p, backward 2.8 and 0.95. Memory traffic is no limit. A step of a
64 x 64 tile reads 128 floats for 4096 triples, which is 1/8 byte per triple and loop (3/16
backward, where one operand brings the distance and the gradient). Most of it comes from the L2
cache, at 1.9 TB/s for the highest of these rates. Each operand is read from device memory about
once.

Measured on an H200 (batch 512, 5,120 inputs and units): the forward pass reaches 0.99 x 10**12
triples per second at finite p, 0.58 of its limit, and 5.5 at p = inf, 0.33; both passes reach 0.45
at finite p, 0.74 of their limit, and 0.93 at p = inf, 0.36. ``docs/speed.md`` has the table. The
machine code that Triton 3.9 makes for compute capability 9.0 has no spills, and no barriers in the
loops. A step of the forward pass, which is 32 triples per thread, has 12 loads and 25 instructions
for their addresses. These run on the same units as the maxima, so p = inf reaches at best 0.56 of
its limit. At finite p they are not the bottleneck.
"""

import functools
import math
import types

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu

from zoo.ops.float32 import SMALLEST_NORMAL
from zoo.typing import Tensor

# A tile has the shape (R, C, *_THREADS). Each of the 8 x 16 threads (four warps) computes R * C
# sums: Triton spreads the last axes over the threads by itself. It would cut a plain 64 x 64 tile
# into columns of 32, whose 33 loads a step cost more than the arithmetic.
_THREADS = (8, 16)
_WARPS = 4
# The first (R, C) is taken with which there are at least _ENOUGH_TILES for the multiprocessors.
_TILES = ((8, 4), (4, 2), (2, 1))
_ENOUGH_TILES = 2 * 128
# Number of steps that are unrolled, so that their loads overlap in time.
_UNROLL = 4


def _instruction(body, operands):
    """A PTX instruction as a function of float32 arrays of one shape."""

    def apply(*values):
        [result] = plgpu.elementwise_inline_asm(
            f"{{ .reg .f32 a; {body} }}",
            args=values,
            constraints="=f" + ",f" * operands,
            pack=1,
            result_shape_dtypes=[jax.ShapeDtypeStruct(values[0].shape, jnp.float32)],
        )
        return result

    return apply


# These operations are PTX instructions, because Triton's own maximum drops NaN and its logarithm
# takes a dozen instructions. The approximate logarithm has an error of 2**-22, which changes a
# power with p = 1000 by a factor of up to 1 ± 2e-4.
_NVIDIA = types.SimpleNamespace(
    larger=_instruction("max.NaN.f32 $0, $1, $2;", 2),
    larger_magnitude=_instruction("abs.f32 a, $2; max.NaN.f32 $0, $1, a;", 2),
    log2_magnitude=_instruction("abs.f32 a, $1; lg2.approx.ftz.f32 $0, a;", 1),
    exp2=_instruction("ex2.approx.ftz.f32 $0, $1;", 1),
)
# The same operations for devices on which Pallas interprets the kernels.
_ELSEWHERE = types.SimpleNamespace(
    larger=jnp.maximum,
    larger_magnitude=lambda a, b: jnp.maximum(a, jnp.abs(b)),
    log2_magnitude=lambda t: jnp.log2(jnp.abs(t)),
    exp2=jnp.exp2,
)


@jax.jit
def forward(x: Tensor, w: Tensor, p: Tensor) -> Tensor:
    """The distances ``u (batch, units)`` for 2 <= p <= inf."""
    tile = _tile(len(x), len(w))
    vectors, result, grid = _specs(x.shape[1], tile, len(x), len(w))
    u = _call(
        _distance_kernel,
        grid,
        [*vectors, _SCALAR],
        [result],
        *_vectors((x.T, w.T), tile),
        p.reshape(1),
    )
    return _joined(u, len(x), len(w))


@jax.jit
def backward(x: Tensor, w: Tensor, p: Tensor, u: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of ``sum(g * u)`` with respect to ``x`` and ``w``.

    At ``p = inf`` the gradient goes to the largest difference, in equal shares among ties.
    """
    g = jnp.where(u == 0, 0.0, g) / _ties(x, w, p, u)
    scale = jnp.where(p < jnp.inf, jnp.where(u < SMALLEST_NORMAL, 0.0, 1 / u), u)
    return _gradient(x, w, p, scale.T, g.T), _gradient(w, x, p, scale, g)


@jax.jit
def interval(lower: Tensor, upper: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """Smallest and largest ``||z - w[o]||_inf`` over ``lower[b] <= z <= upper[b]``."""
    batch, units = len(lower), len(w)
    tile = _tile(batch, units)
    vectors, result, grid = _specs(w.shape[1], tile, batch, units)
    ends = _call(
        _interval_kernel,
        grid,
        [vectors[0], *vectors],
        [result, result],
        _vectors((lower.T, w.T), tile)[0],
        *_vectors((upper.T, w.T), tile),
    )
    return tuple(_joined(end, batch, units) for end in ends)


def _ties(x, w, p, u):
    """How many inputs attain the largest difference, ``(batch, units)``; 1 at finite p."""
    tile = _tile(len(x), len(w))
    vectors, result, grid = _specs(x.shape[1], tile, len(x), len(w))
    ties = _call(
        _ties_kernel,
        grid,
        [*vectors, result, _SCALAR],
        [result],
        *_vectors((x.T, w.T), tile),
        _split(u, tile),
        p.reshape(1),
    )
    return _joined(ties, len(x), len(w))


def _gradient(rows, others, p, scale, g):
    """``sum_o g[o, b] * sign(d) * (|d| * scale[o, b])**(p - 1)``, d = rows[b, i] - others[o, i].

    At ``p = inf`` the power is 1 where ``|d|`` is at least the scale. Shapes: rows ``(b, i)``,
    others ``(o, i)``, scale and g ``(o, b)``; the result is like rows.
    """
    count, inputs = rows.shape
    # The inputs lie along the tile's longer axis, because two vectors are read along the other one.
    tile = _tile(inputs, count)
    vectors, result, grid = _specs(len(others), tile, inputs, count)
    gradient = _call(
        _gradient_kernel,
        grid,
        [result, *vectors, vectors[1], _SCALAR],
        [result],
        _split(rows.T, tile),
        *_vectors((others, scale), tile),
        _vectors((others, g), tile)[1],
        p.reshape(1),
    )
    return _joined(gradient, inputs, count).T


def _distance_kernel(x, w, p, u, *, native):
    steps, p = x.shape[0], p[0]
    zero = jnp.zeros(u.shape, jnp.float32)
    r = _loop(steps, lambda k, r: native.larger_magnitude(r, _outer(x[k], w[k])), zero)

    def finite():
        # The largest term is 1, so no power overflows, and one that underflows is negligible.
        # The reciprocals of many subnormal numbers are infinite.
        tiny = r < SMALLEST_NORMAL
        inverse = jnp.where(tiny, 0.0, 1 / r)

        def add(k, total):
            return total + _power(native, _outer(x[k], w[k]) * inverse, p)

        total = _loop(steps, add, zero)
        return jnp.where(tiny, r, r * native.exp2(native.log2_magnitude(total) / p))

    u[...] = lax.cond(p < jnp.inf, finite, lambda: r)


def _ties_kernel(x, w, u, p, ties, *, native):
    def count():
        largest = u[...]

        def add(k, total):
            # The forward pass computed the difference in the same way, so the comparison is exact.
            return total + jnp.where(jnp.abs(_outer(x[k], w[k])) >= largest, 1.0, 0.0)

        return _loop(x.shape[0], add, jnp.zeros(u.shape, jnp.float32))

    ties[...] = lax.cond(p[0] < jnp.inf, lambda: jnp.ones(u.shape, jnp.float32), count)


def _gradient_kernel(rows, others, scale, g, p, gradient, *, native):
    steps, p = others.shape[0], p[0]
    own = rows[...]
    zero = jnp.zeros(gradient.shape, jnp.float32)

    def add(k, total, share):
        d = own - _along(others[k])
        return total + _across(g[k]) * _with_sign(share(d, _across(scale[k])), d)

    def finite(d, inverse):
        return _power(native, d * inverse, p - 1)

    def infinite(d, largest):
        return jnp.where(jnp.abs(d) >= largest, 1.0, 0.0)

    gradient[...] = lax.cond(
        p < jnp.inf,
        lambda: _loop(steps, functools.partial(add, share=finite), zero),
        lambda: _loop(steps, functools.partial(add, share=infinite), zero),
    )


def _interval_kernel(lower, upper, w, low, high, *, native):
    def step(k, ends):
        near, far = ends
        above, below = _outer(lower[k], w[k]), -_outer(upper[k], w[k])
        near = native.larger(native.larger(near, above), below)
        return near, native.larger(native.larger(far, -above), -below)

    zero = jnp.zeros(low.shape, jnp.float32)
    low[...], high[...] = _loop(w.shape[0], step, (zero, zero))


def _power(native, t, p):
    """``|t| ** p`` for p > 0."""
    return native.exp2(p * native.log2_magnitude(t))


def _with_sign(magnitude, of):
    """``magnitude >= 0`` with the sign of another array, by one instruction on the bits."""
    sign = lax.bitcast_convert_type(of, jnp.int32) & jnp.int32(-(2**31))
    return lax.bitcast_convert_type(
        lax.bitcast_convert_type(magnitude, jnp.int32) | sign, jnp.float32
    )


def _along(vector):
    """Reshape ``(R, rows)`` to ``(R, 1, rows, 1)``."""
    return vector[:, None, :, None]


def _across(vector):
    """Reshape ``(C, columns)`` to ``(1, C, 1, columns)``."""
    return vector[None, :, None, :]


def _outer(rows, columns):
    """The differences of all pairs of values of two vectors, as a tile."""
    return _along(rows) - _across(columns)


def _loop(steps, step, start):
    """Apply ``carry = step(k, carry)`` for all k; ``steps`` must be a multiple of ``_UNROLL``."""

    def several(k, carry):
        for offset in range(_UNROLL):
            carry = step(k * _UNROLL + offset, carry)
        return carry

    return lax.fori_loop(0, steps // _UNROLL, several, start)


def _tile(rows, columns):
    """``(R, C)`` of the largest tile that gives work to the whole device, or else the smallest."""
    for tile in _TILES:
        per_tile = (n * t for n, t in zip(tile, _THREADS, strict=True))
        tiles = math.prod(-(-n // t) for n, t in zip((rows, columns), per_tile, strict=True))
        if tiles >= _ENOUGH_TILES:
            break
    return tile


_SCALAR = pl.BlockSpec((1,), lambda row, column: (0,))


def _specs(steps, tile, rows, columns):
    """Block specs of both operands' vectors and of the result, and the grid of its tiles."""
    (r, c), (height, width) = tile, _THREADS
    steps = _up(steps, _UNROLL)
    vectors = (
        pl.BlockSpec((steps, r, height), lambda row, column: (0, row, 0)),
        pl.BlockSpec((steps, c, width), lambda row, column: (0, column, 0)),
    )
    result = pl.BlockSpec((r, c, height, width), lambda row, column: (row, column, 0, 0))
    return (
        vectors,
        result,
        (_up(rows, r * height) // (r * height), _up(columns, c * width) // (c * width)),
    )


def _vectors(sides, tile):
    """Reshape both operands ``(steps, n)`` to ``(steps, n / t, t)``, padded with zeros.

    A step in which both operands are zero adds no distance, and has a zero gradient in the backward
    pass.
    """
    return [
        _filled(side, _UNROLL, n * t).reshape(_up(len(side), _UNROLL), -1, t)
        for side, n, t in zip(sides, tile, _THREADS, strict=True)
    ]


def _split(a, tile):
    """Reshape ``(rows, columns)`` to ``(rows / 8, columns / 16, 8, 16)``, padded with zeros."""
    (r, c), (height, width) = tile, _THREADS
    a = _filled(a, r * height, c * width)
    return a.reshape(len(a) // height, height, -1, width).transpose(0, 2, 1, 3)


def _joined(tiles, rows, columns):
    """The reverse of :func:`_split`."""
    r, c, height, width = tiles.shape
    return tiles.transpose(0, 2, 1, 3).reshape(r * height, c * width)[:rows, :columns]


def _filled(a, *multiples):
    return jnp.pad(a, [(0, _up(n, m) - n) for n, m in zip(a.shape, multiples, strict=True)])


def _up(n, multiple):
    """The smallest positive multiple that is at least ``n``: no kernel can be called on nothing."""
    return max(1, -(-n // multiple)) * multiple


def _call(kernel, grid, in_specs, out_specs, *arrays):
    """Run a kernel on every tile: compiled for an NVIDIA GPU, interpreted on other devices."""
    shapes = [
        jax.ShapeDtypeStruct(
            tuple(n * b for n, b in zip((*grid, 1, 1), spec.block_shape, strict=True)), jnp.float32
        )
        for spec in out_specs
    ]

    def build(native, interpret):
        call = pl.pallas_call(
            functools.partial(kernel, native=native),
            grid=grid,
            in_specs=in_specs,
            out_specs=out_specs,
            out_shape=shapes,
            interpret=interpret,
            compiler_params=_compiler_params(num_warps=_WARPS),
            name=kernel.__name__.strip("_"),
        )
        return lambda *arrays: call(*arrays)

    # The choice is made when the program is compiled for a device, which may be another machine's.
    results = lax.platform_dependent(
        *arrays, cuda=build(_NVIDIA, False), default=build(_ELSEWHERE, True)
    )
    return results[0] if len(results) == 1 else results


# Older releases of JAX have only the longer name.
_compiler_params = next(
    getattr(plgpu, name)
    for name in ("CompilerParams", "TritonCompilerParams")
    if hasattr(plgpu, name)
)
