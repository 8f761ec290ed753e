"""Radius and seconds per image of bounds for ordinary networks: ``python benchmarks/certify.py``.

The networks are trained here for one epoch without any defence, on 20,000 images of MNIST.
"""

import argparse
import time

import keras
import numpy as np
import rich.box
from keras import layers
from rich.console import Console
from rich.table import Table

import zoo
from training.hardware import hardware
from zoo.certificates.network_bounds import METHODS

NETWORKS = {
    "2 × 1024 ReLU": lambda: [
        layers.Flatten(),
        layers.Dense(1024, activation="relu"),
        layers.Dense(1024, activation="relu"),
    ],
    "2 × 256 tanh": lambda: [
        layers.Flatten(),
        layers.Dense(256, activation="tanh"),
        layers.Dense(256, activation="tanh"),
    ],
    "two convolutions, ReLU": lambda: [
        layers.Conv2D(16, 4, strides=2, activation="relu"),
        layers.Conv2D(32, 4, strides=2, activation="relu"),
        layers.Flatten(),
        layers.Dense(100, activation="relu"),
    ],
}


def trained(hidden, train):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((28, 28, 1)), *hidden(), layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss)
    model.fit(train.images / np.float32(255), train.labels, batch_size=128, verbose=0)
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=8, help="number of test images")
    options = parser.parse_args()
    zoo.ops.use_float32_products()
    x = zoo.data.load("mnist", "test").take(options.n).images / np.float32(255)
    train = zoo.data.load("mnist", "train").take(20_000)
    table = Table(
        title=f"{options.n} images; {hardware()}; keras {keras.__version__}", box=rich.box.MARKDOWN
    )
    for column in ("network", "norm", "method", "mean radius", "s/image"):
        table.add_column(column)
    for name, hidden in NETWORKS.items():
        network = trained(hidden, train)
        for norm in ("linf", "l2"):
            for method in METHODS:
                # A first call compiles what the bounds of this network need.
                zoo.certify(network, x[:1], norm=norm, method=method)
                start = time.process_time()
                radius = zoo.certify(network, x, norm=norm, method=method).radius
                seconds = (time.process_time() - start) / len(x)
                table.add_row(name, norm, method, f"{radius.mean():.3g}", f"{seconds:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
