"""Speed of the ℓp distance in billions of (sample, unit, input) triples per second.

Three forms in one run: the numba kernel, the portable form compiled by XLA, and what this machine
reaches at the same number of floating-point operations with nothing else to do.
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

# Vector operations per triple, counted in the compiled loops. Finite p, forward: 3 for the largest
# difference, 32 for the sum of powers; backward: 3 and 37. p = inf, forward: 3.
OPERATIONS = {("forward", False): 35, ("backward", False): 40, ("forward", True): 3}


def seconds(function, repeat):
    """Fastest of several runs after a warm-up."""
    function()
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


@numba.njit(fastmath={"contract"}, parallel=True)  # reassociated, the chain would fold
def _arithmetic(passes, lanes):
    """Dependent multiply-adds and integer operations on values that never leave the registers."""
    threads = numba.get_num_threads()
    sums = np.zeros((threads, 64), np.float32)
    for t in numba.prange(threads):
        a = np.ones(lanes, np.float32)
        for _ in range(passes):
            for i in range(lanes):
                v = a[i]
                for _ in range(16):
                    v = v * np.float32(0.999) + np.float32(0.001)
                    v = v - np.float32(1e-7)
                a[i] = v
        sums[t, 0] = a[0]
    return sums.sum()


def ceiling(repeat):
    """Billions of vectorised operations per second, multiply-adds and subtractions alternating."""
    passes, lanes = 20_000, 512
    operations = passes * lanes * 32 * numba.get_num_threads()
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
    for p in (20.0, 100.0, 1000.0, INF):
        u = kernels.forward(x, w, p)
        by_numba = {
            "forward": rate(kernels.forward, x, w, p),
            "backward": rate(kernels.backward, x, w, p, u, g),
        }
        by_numba["both"] = 1 / sum(1 / speed for speed in by_numba.values())
        by_xla, limits = {}, {}
        if p in (20.0, INF):
            by_xla["forward"] = xla_rate(_xla_forward, x, w, np.float32(p))
            by_xla["both"] = xla_rate(_xla_both, x, w, np.float32(p), g)
            if p == INF:  # whichever way of writing it suits XLA better
                by_xla["forward"] = max(by_xla["forward"], xla_rate(_xla_max, x, w))
            # At larger finite p most terms are skipped: the operations are no longer these.
            for what in ("forward", "backward"):
                if (what, p == INF) in OPERATIONS:
                    limits[what] = per_second / OPERATIONS[what, p == INF]
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
