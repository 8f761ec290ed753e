"""Speed of the ℓp distance on a GPU: the Pallas kernels against the portable implementation.

``KERAS_BACKEND=jax python benchmarks/lp_distance_gpu.py`` prints billions of (sample, unit, input)
triples per second, and the ratio of the floor to the measured time. The floor is a lower bound of
the time. For a pass, it is the longest of three times: that of its special functions (log2 and
exp2, the bottleneck at finite p), that of its comparisons, and that of all its instructions. For
the whole function, it is the sum over the passes, or the time of the memory traffic if that is
longer. The default peak rates are those of an H200.

On a CPU the Pallas kernels are interpreted: choose tiny sizes, and ignore the numbers.
"""

import argparse
import functools
import os
import time

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import jax
import keras
import numpy as np
from rich.console import Console
from rich.table import Table

from zoo.ops import lp_distance

INF = float("inf")

# Counts per triple for each pass: special functions, instructions at half rate (maxima,
# comparisons, operations on bits), and all instructions. See zoo/ops/lp_distance_pallas.py.
LARGEST, SUM, POWERS = (0, 1, 2), (2, 0, 6), (2, 1, 7)
TIES, SHARES = (0, 1, 3), (0, 2, 4)
FORWARD = {False: [LARGEST, SUM], True: [LARGEST]}
BACKWARD = {False: [POWERS, POWERS], True: [TIES, SHARES, SHARES]}


def seconds(function, repeat):
    """The time of the fastest of several runs after a warm-up."""
    jax.block_until_ready(function())
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        jax.block_until_ready(function())
        times.append(time.perf_counter() - start)
    return min(times)


def floor(triples, arrays, passes, options):
    """The floor in seconds: a lower bound of the time that the passes take."""
    # The peak counts a fused multiply-add as two operations.
    per_second = options.tflops * 1e12 / 2

    def least(special, half, every):
        return triples * max(
            special / (options.gspecial * 1e9), 2 * half / per_second, every / per_second
        )

    return max(sum(least(*p) for p in passes), 4 * arrays / (options.gbytes * 1e9))


def programs(form):
    """The compiled forward pass, and forward with backward; p is an argument, as in training."""

    def forward(x, w, p, g):
        return lp_distance(x, w, p, implementation=form)

    def total(x, w, p, g):
        return (forward(x, w, p, g) * g).sum()

    return {
        "forward": jax.jit(forward),
        "both": jax.jit(jax.grad(total, argnums=(0, 1))),
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--inputs", type=int, default=5120)
    parser.add_argument("--units", type=int, default=5120)
    parser.add_argument("--repeat", type=int, default=10)
    parser.add_argument("--forms", nargs="+", default=["pallas", "portable"])
    parser.add_argument(
        "--tflops", type=float, default=67.0, help="peak of float32 operations, 10¹² per second"
    )
    parser.add_argument(
        "--gbytes", type=float, default=4800.0, help="memory bandwidth, 10⁹ bytes per second"
    )
    parser.add_argument(
        "--gspecial",
        type=float,
        default=132 * 16 * 1.8,
        help="peak of exp2 and log2, 10⁹ per second: multiprocessors × 16 × GHz",
    )
    options = parser.parse_args()
    if keras.backend.backend() != "jax":
        parser.error("needs KERAS_BACKEND=jax")
    batch, inputs, units = options.batch, options.inputs, options.units
    random = np.random.default_rng(0)
    x, w, g = (
        jax.device_put(random.normal(size=shape).astype("float32"))
        for shape in ((batch, inputs), (units, inputs), (batch, units))
    )
    triples = batch * inputs * units
    forward_arrays = x.size + w.size + g.size
    # The backward pass reads x, w, g and the distance, and writes the gradients of x and w.
    both_arrays = forward_arrays + 2 * x.size + 2 * w.size + 2 * g.size

    table = Table("", "p", "form", "ms", "G triples/s", "of the floor", "portable / this")
    compiled = {form: programs(form) for form in options.forms}
    for what in ("forward", "both"):
        for p in (8.0, 100.0, 1000.0, INF):
            passes = FORWARD[p == INF] + (BACKWARD[p == INF] if what == "both" else [])
            arrays = forward_arrays if what == "forward" else both_arrays
            least = floor(triples, arrays, passes, options)
            times = {
                form: seconds(
                    functools.partial(compiled[form][what], x, w, np.float32(p), g), options.repeat
                )
                for form in options.forms
            }
            for form, spent in times.items():
                faster = f"{times['portable'] / spent:.1f}" if "portable" in times else "–"
                table.add_row(
                    what,
                    f"{p:g}",
                    form,
                    f"{spent * 1e3:.2f}",
                    f"{triples / spent / 1e9:.1f}",
                    f"{least / spent:.0%}",
                    faster,
                )
    device = jax.devices()[0]
    console = Console(width=100)
    console.print(f"batch {batch}, inputs {inputs}, units {units}; {device.device_kind}")
    console.print(
        f"jax {jax.__version__}, keras {keras.__version__}; floor from "
        f"{options.tflops:g} TFLOP/s, {options.gbytes:g} GB/s, "
        f"{options.gspecial / 1e3:.2f}e12 special functions/s"
    )
    if device.platform == "cpu":
        console.print("On a CPU the Pallas kernels are interpreted: these numbers mean nothing.")
    console.print(table)


if __name__ == "__main__":
    main()
