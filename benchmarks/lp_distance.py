"""Speed of the ℓp distance in billions of (sample, unit, input) triples per second.

Three forms in one run: the numba kernel, the portable form compiled by XLA, and what this machine
reaches at the same number of floating-point operations with nothing else to do.
"""

import argparse
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


@numba.njit(fastmath=True, parallel=True)
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


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--inputs", type=int, default=784)
    parser.add_argument("--units", type=int, default=512)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    batch, inputs, units = options.batch, options.inputs, options.units
    random = np.random.default_rng(0)
    x = random.normal(size=(batch, inputs)).astype("float32")
    w = random.normal(size=(units, inputs)).astype("float32")
    g = random.normal(size=(batch, units)).astype("float32")
    triples = batch * inputs * units

    def rate(function):
        return triples / seconds(function, options.repeat) / 1e9

    tensors = [tf.constant(a) for a in (x, w, g)]
    by_xla = {}
    for p in (20.0, INF):

        @tf.function(jit_compile=True)
        def forward(x, w, p):
            return lp_distance(x, w, p, implementation="portable")

        @tf.function(jit_compile=True)
        def plain_max(x, w):
            return tf.reduce_max(tf.abs(x[:, None, :] - w[None, :, :]), axis=-1)

        @tf.function(jit_compile=True)
        def both(x, w, g, p):
            with tf.GradientTape() as tape:
                tape.watch([x, w])
                total = tf.reduce_sum(lp_distance(x, w, p, implementation="portable") * g)
            return tape.gradient(total, [x, w])

        exponent = tf.constant(p)
        by_xla["forward", p] = rate(lambda: forward(tensors[0], tensors[1], exponent).numpy())
        both_rate = rate(lambda: [t.numpy() for t in both(*tensors, exponent)])
        by_xla["both", p] = both_rate
        if p == INF:
            by_xla["max", p] = rate(lambda: plain_max(tensors[0], tensors[1]).numpy())

    per_second = ceiling(options.repeat)
    table = Table("", "p", "numba", "XLA", "numba / XLA", "ceiling", "numba / ceiling")
    for p in (20.0, 100.0, 1000.0, INF):
        u = kernels.forward(x, w, p)
        speed = {
            "forward": rate(lambda: kernels.forward(x, w, p)),
            "backward": rate(lambda: kernels.backward(x, w, p, u, g)),
        }
        speed["both"] = 1 / (1 / speed["forward"] + 1 / speed["backward"])
        for what, numba_rate in speed.items():
            xla = by_xla.get((what, p))
            if (what, p) == ("forward", INF):
                xla = max(xla, by_xla["max", p])  # whichever way of writing it suits XLA better
            operations = OPERATIONS.get((what, p == INF))
            limit = per_second / operations if operations and p in (20.0, INF) else None
            table.add_row(
                what if what != "both" else "forward + backward",
                f"{p:g}",
                f"{numba_rate:.2f}",
                f"{xla:.2f}" if xla else "–",
                f"{numba_rate / xla:.1f}" if xla else "–",
                f"{limit:.1f}" if limit else "–",
                f"{numba_rate / limit:.0%}" if limit else "–",
            )
    console = Console()
    console.print(f"batch {batch}, inputs {inputs}, units {units}; {hardware()}")
    console.print(
        f"keras {keras.__version__}, tensorflow {tf.__version__}, numba {numba.__version__}, "
        f"{numba.get_num_threads()} threads; billions of triples per second; "
        f"ceiling: {per_second:.0f} G operations/s"
    )
    console.print(table)


if __name__ == "__main__":
    main()
