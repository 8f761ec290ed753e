"""Radius and seconds per image of bounds for ordinary networks: ``python benchmarks/certify.py``.

The networks are shipped checkpoints, and a network with two hidden layers of 1,024 ReLUs that is
trained here for one epoch without any defence.
"""

import argparse
import time

import keras
import numpy as np
from rich.console import Console
from rich.table import Table

import zoo
from training.hardware import hardware
from zoo.certificates.network_bounds import METHODS

SHIPPED = ("double-backprop-a-mnist", "double-backprop-b-mnist", "double-backprop-c-mnist")


def plain_network(train):
    keras.utils.set_random_seed(0)
    hidden = [keras.layers.Dense(1024, activation="relu") for _ in range(2)]
    parts = [keras.Input((28, 28, 1)), keras.layers.Flatten(), *hidden, keras.layers.Dense(10)]
    model = keras.Sequential(parts)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss)
    model.fit(train.images / np.float32(255), train.labels, batch_size=128, verbose=0)
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=16, help="number of test images")
    options = parser.parse_args()
    x = zoo.data.load("mnist", "test").take(options.n).images
    shipped = {record.name for record in zoo.list_models()}
    networks = {name: zoo.load(name).network for name in SHIPPED if name in shipped}
    networks["plain 2x1024 ReLU"] = plain_network(zoo.data.load("mnist", "train"))
    table = Table(title=f"n = {options.n}; {hardware()}; keras {keras.__version__}")
    for column in ("network", "norm", "method", "median radius", "s/image"):
        table.add_column(column)
    for name, network in networks.items():
        for norm in ("linf", "l2"):
            for method in METHODS:
                start = time.perf_counter()
                radius = zoo.certify(network, x, norm=norm, method=method).radius
                seconds = (time.perf_counter() - start) / len(x)
                table.add_row(name, norm, method, f"{np.median(radius):.4f}", f"{seconds:.3f}")
    Console().print(table)


if __name__ == "__main__":
    main()
