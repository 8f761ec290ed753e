"""Seconds per training epoch of a recipe at several p, from a few steps on random images."""

import argparse
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from rich.console import Console
from rich.table import Table

from training import recipe as recipes
from training.hardware import hardware
from training.run import build
from zoo import data
from zoo.ops.lp_distance import FAST_EXPONENTS

EXPONENTS = (8.0, 96.0, FAST_EXPONENTS[-1], float("inf"))


class Clock(keras.callbacks.Callback):
    """Records the seconds of each batch."""

    def on_train_begin(self, logs=None):
        self.seconds = []

    def on_train_batch_begin(self, batch, logs=None):
        self._start = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        self.seconds.append(time.perf_counter() - self._start)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipes", nargs="+", choices=recipes.names(), metavar="RECIPE")
    parser.add_argument("--steps", type=int, default=5)
    options = parser.parse_args()
    table = Table("recipe", "multiply-adds", *(f"p = {p:g}" for p in EXPONENTS))
    for name in options.recipes:
        recipe = recipes.load(name)
        model, settings = build(recipe), recipe["training"]
        kernels = [w for w in model.trainable_weights if len(w.shape) == 2]
        size = sum(int(np.prod(w.shape)) for w in kernels)
        model.compile(keras.optimizers.Adam(settings["learning_rate"]))
        steps = len(data.load(recipe["data"]["name"], "train")) // settings["batch_size"]
        random = np.random.default_rng(0)
        count = settings["batch_size"] * options.steps
        x = random.uniform(size=(count, *model.image_shape)).astype("float32")
        y = random.integers(0, model.num_classes, count)
        cells = []
        for p in EXPONENTS:
            model.p = p
            clock = Clock()
            # The first epoch compiles the step, so we take the second.
            for _ in range(2):
                model.fit(x, y, settings["batch_size"], verbose=0, callbacks=[clock])
            cells.append(f"{steps * np.median(clock.seconds):.0f} s")
        table.add_row(name, f"{size / 1e6:.2f} M", *cells)
    console = Console(width=110)
    console.print(f"seconds per epoch; {hardware()}, {keras.backend.backend()} backend")
    console.print(table)


if __name__ == "__main__":
    main()
