"""Speed of the ℓp distance in billions of (sample, unit, input) triples per second.

The benchmark compares the numba kernel with the portable implementation that XLA compiles, and with
a ceiling: the speed that this machine reaches for the same number of floating-point operations
without any memory access.
"""

import argparse
import functools
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numba
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.table import Table

from training.hardware import hardware
from zoo.ops import lp_distance
from zoo.ops import lp_distance_numba as kernels

INF = float("inf")

# 20 is not one of the fast exponents, so it needs a general power. From 32 on, most terms are
# skipped.
EXPONENTS = (8.0, 20.0, 24.0, 96.0, 1024.0, INF)
# Vector operations per triple, counted in the compiled loops for exponents at which no term is
# skipped: 3 for the largest difference, the rest for the powers and their sum, or for the two
# gradients.
OPERATIONS = {
    ("forward", 8.0): 10,
    ("backward", 8.0): 10,
    ("forward", 24.0): 12,
    ("backward", 24.0): 13,
    ("forward", INF): 3,
}


def seconds(function, repeat):
    """The time of the fastest of several runs after a warm-up."""
    function()
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


# Only "contract" is allowed: reassociation would fold the chain of operations into one.
@numba.njit(fastmath={"contract"}, parallel=True)
def _arithmetic(passes, lanes):
    """Multiply-adds and subtractions on values that never leave the registers.

    Each operation of a chain waits for the one before; four independent chains keep the processor's
    units busy.
    """
    threads = numba.get_num_threads()
    sums = np.zeros((threads, 64), np.float32)
    for t in numba.prange(threads):
        a = np.ones((4, lanes), np.float32)
        for _ in range(passes):
            for i in range(lanes):
                v0, v1, v2, v3 = a[0, i], a[1, i], a[2, i], a[3, i]
                for _ in range(16):
                    v0 = v0 * np.float32(0.999) + np.float32(0.001) - np.float32(1e-7)
                    v1 = v1 * np.float32(0.999) + np.float32(0.001) - np.float32(1e-7)
                    v2 = v2 * np.float32(0.999) + np.float32(0.001) - np.float32(1e-7)
                    v3 = v3 * np.float32(0.999) + np.float32(0.001) - np.float32(1e-7)
                a[0, i], a[1, i], a[2, i], a[3, i] = v0, v1, v2, v3
        sums[t, 0] = a.sum()
    return sums.sum()


def ceiling(repeat):
    """Billions of vectorised operations per second, multiply-adds and subtractions alternating."""
    passes, lanes = 10_000, 256
    operations = passes * lanes * 4 * 32 * numba.get_num_threads()
    return operations / seconds(lambda: _arithmetic(passes, lanes), repeat) / 1e9


@tf.function(jit_compile=True)
def _xla_forward(x, w, p):
    return lp_distance(x, w, p, implementation="portable")


@tf.function(jit_compile=True)
def _xla_both(x, w, p, g):
    with tf.GradientTape() as tape:
        tape.watch([x, w])
        total = tf.reduce_sum(lp_distance(x, w, p, implementation="portable") * g)
    return tape.gradient(total, [x, w])


@tf.function(jit_compile=True)
def _xla_max(x, w):
    return tf.reduce_max(tf.abs(x[:, None, :] - w[None, :, :]), axis=-1)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--inputs", type=int, default=784)
    parser.add_argument("--units", type=int, default=512)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    batch, inputs, units = options.batch, options.inputs, options.units
    random = np.random.default_rng(0)
    shapes = ((batch, inputs), (units, inputs), (batch, units))
    x, w, g = (random.normal(size=shape).astype("float32") for shape in shapes)
    triples = batch * inputs * units

    def rate(function, *arguments):
        return triples / seconds(functools.partial(function, *arguments), options.repeat) / 1e9

    def xla_rate(function, *arrays):
        tensors = [tf.constant(array) for array in arrays]
        return rate(lambda: [np.asarray(t) for t in tf.nest.flatten(function(*tensors))])

    per_second = ceiling(options.repeat)
    table = Table("", "p", "numba", "XLA", "numba / XLA", "ceiling", "numba / ceiling")
    for p in EXPONENTS:
        u, counted = kernels.forward(x, w, p)
        by_numba = {
            "forward": rate(kernels.forward, x, w, p),
            "backward": rate(kernels.backward, x, w, p, u, counted, g),
        }
        by_numba["both"] = 1 / sum(1 / speed for speed in by_numba.values())
        by_xla = {}
        if p in (20.0, INF):
            by_xla["forward"] = xla_rate(_xla_forward, x, w, np.float32(p))
            by_xla["both"] = xla_rate(_xla_both, x, w, np.float32(p), g)
            if p == INF:  # XLA is faster with one of two ways to write this, so we take the faster
                by_xla["forward"] = max(by_xla["forward"], xla_rate(_xla_max, x, w))
        limits = {what: per_second / n for (what, at), n in OPERATIONS.items() if at == p}
        for what, speed in by_numba.items():
            xla, limit = by_xla.get(what), limits.get(what)
            table.add_row(
                "both" if what == "both" else what,
                f"{p:g}",
                f"{speed:.2f}",
                f"{xla:.2f}" if xla else "–",
                f"{speed / xla:.1f}" if xla else "–",
                f"{limit:.1f}" if limit else "–",
                f"{speed / limit:.0%}" if limit else "–",
            )
    console = Console(width=100)
    console.print(f"batch {batch}, inputs {inputs}, units {units}; {hardware()}")
    console.print(
        f"keras {keras.__version__}, tensorflow {tf.__version__}, numba {numba.__version__}, "
        f"{numba.get_num_threads()} threads; billions of triples per second; "
        f"ceiling: {per_second:.0f} G operations/s"
    )
    console.print(table)


if __name__ == "__main__":
    main()
