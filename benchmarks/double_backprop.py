"""The time of a training step of model C with and without the penalty.

Run ``python benchmarks/double_backprop.py``.
"""

import argparse
import time

import keras
import numpy as np

from training.hardware import hardware
from zoo.models import DoubleBackpropNet

NETWORK = {"name": "c", "image_shape": (28, 28, 1), "num_classes": 10}
SETTINGS = {
    "plain": {"penalty_weight": 0.0},
    "summed form": {"penalty_weight": 1e-3, "form": "summed"},
    "full form": {"penalty_weight": 1e-3},
    "adversarial": {"penalty_weight": 0.0, "epsilon": 0.3},
    "adversarial, summed form": {"penalty_weight": 1e-3, "form": "summed", "epsilon": 0.3},
    "adversarial, full form": {"penalty_weight": 1e-3, "epsilon": 0.3},
    "adversarial, full form of every 4th image": {
        "penalty_weight": 1e-3,
        "epsilon": 0.3,
        "penalty_every": 4,
    },
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    random = np.random.default_rng(0)
    x = random.uniform(size=(128 * options.steps, 28, 28, 1)).astype("float32")
    y = random.integers(0, 10, len(x))
    models = {}
    for name, setting in SETTINGS.items():
        models[name] = DoubleBackpropNet(NETWORK, **setting)
        models[name].compile("adam")
        models[name].fit(x, y, batch_size=128, verbose=0)  # compiles
    best = dict.fromkeys(models, np.inf)
    for _ in range(options.repeats):  # the models take turns, so that they meet the same load
        for name, model in models.items():
            start = time.perf_counter()
            model.fit(x, y, batch_size=128, verbose=0)
            best[name] = min(best[name], (time.perf_counter() - start) / options.steps)
    print(f"batch 128; {hardware()}; {keras.backend.backend()}")
    for name, seconds in best.items():
        print(f"{name:45s} {1e3 * seconds:7.1f} ms a step  {seconds / best['plain']:5.1f} x plain")


if __name__ == "__main__":
    main()
