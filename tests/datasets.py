"""Image sets in tests: used where they are, never downloaded."""

import os
import pathlib

import numpy as np
import pytest

import zoo

# A test may set the variable to a folder of its own.
FOLDER = pathlib.Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()


def load(name, split="test"):
    """An image set, or a skip that says why."""
    builder = zoo.data.DATASETS[name].builder
    if builder is not None:
        _require(builder)
    return zoo.data.load(name, split)


def load_prepared(path):
    """The text of a file that tensorflow-datasets wrote for an image set, or a skip."""
    _require(path.split("/")[0])
    return (FOLDER / path).read_text()


def _require(builder):
    # An interrupted download leaves a folder without this file.
    if not any((FOLDER / builder).glob("**/dataset_info.json")):
        pytest.skip(f"{builder} is not in {FOLDER}; set TFDS_DATA_DIR to a folder that has it")


def made_up(path, image_shape, count):
    """Write an ``.npz`` file of random images, which are the training and the test set at once.

    The two have opposite orders, since a training set that equals the test set is refused.
    """
    random = np.random.default_rng(0)
    images = random.integers(0, 256, size=(count, *image_shape), dtype=np.uint8)
    labels = np.arange(count) % 10
    np.savez(path, x_train=images, y_train=labels, x_test=images[::-1], y_test=labels[::-1])
    return path
