"""Image sets in tests: used where they are, never downloaded."""

import os
import pathlib

import pytest

import zoo


def load(name, split="test"):
    """An image set, or a skip that says why."""
    builder = zoo.data.DATASETS[name][0]
    if builder is not None:
        folder = pathlib.Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()
        if not (folder / builder).is_dir():
            pytest.skip(f"{builder} is not in {folder}; set TFDS_DATA_DIR to a folder that has it")
    return zoo.data.load(name, split)
