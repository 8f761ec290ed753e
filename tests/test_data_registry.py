"""Image sets are found by their files, and may bring their own loader and splits."""

import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

import zoo
from zoo.data import DATASETS, Dataset

NEW_FILE = """
import numpy as np

from zoo.data.registry import Dataset, register


def load(split):
    count = {"train": 5, "validation": 3, "test": 2}[split]
    return np.zeros((count, 4, 4, 1), np.uint8), np.arange(count)


register(
    Dataset(
        name="black",
        image_shape=(4, 4, 1),
        num_classes=5,
        load=load,
        splits=("train", "validation", "test"),
    )
)
"""


def black(split):
    count = {"train": 5, "validation": 3, "test": 2}[split]
    return np.zeros((count, 4, 4, 1), np.uint8), np.arange(count, dtype=np.int32)


@pytest.fixture
def register():
    """A function that registers a set for the time of a test."""

    def register(**changes):
        settings = {"name": "black", "image_shape": (4, 4, 1), "num_classes": 5, "load": black}
        zoo.data.register(Dataset(**{**settings, **changes}))

    yield register
    DATASETS.pop("black", None)


def test_a_new_file_is_a_new_set(tmp_path):
    package = pathlib.Path(zoo.__file__).parent
    shutil.copytree(package, tmp_path / "zoo", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "zoo" / "data" / "black.py").write_text(NEW_FILE)
    program = "import zoo; print(zoo.__file__, len(zoo.data.load('black', 'validation')))"
    run = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split() == [str(tmp_path / "zoo" / "__init__.py"), "3"]


def test_sets_that_need_no_download_come_first():
    names = zoo.data.registry.known_names()
    assert names[0] == "digits"
    assert {"mnist", "fashion-mnist", "cifar10", "svhn", "gtsrb"} <= set(names) == set(DATASETS)


def test_a_set_with_a_validation_split(register, tmp_path):
    register(splits=("train", "validation", "test"))
    held_out = zoo.data.load("black", "validation")
    assert (held_out.name, len(held_out), held_out.num_classes) == ("black/validation", 3, 5)
    assert held_out.labels.dtype == np.int64
    zoo.data.save(tmp_path / "black.npz", "black")
    for split, count in (("train", 5), ("validation", 3), ("test", 2)):
        assert len(zoo.data.load(tmp_path / "black.npz", split)) == count
    with pytest.raises(ValueError, match="must be 'train', 'validation' or 'test', got 'val'"):
        zoo.data.load("black", "val")


def test_a_file_without_a_validation_split_says_so(tmp_path):
    zoo.data.save(tmp_path / "digits.npz", "digits")
    with pytest.raises(ValueError, match="lacks x_validation; it has"):
        zoo.data.load(tmp_path / "digits.npz", "validation")


def test_a_name_is_registered_once(register):
    register()
    with pytest.raises(ValueError, match="there is a data set 'black' already"):
        register()


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"load": None}, "black: .* needs a builder"),
        ({"splits": ("train",)}, "splits lacks test"),
        ({"class_names": ("a", "b", "b", "c", "d")}, "5 different names, got 5 of which 4 differ"),
    ],
)
def test_incomplete_sets_are_refused(register, changes, complaint):
    with pytest.raises(ValueError, match=complaint):
        register(**changes)


def test_a_loader_that_gives_other_images_is_named(register):
    register(image_shape=(4, 4, 3))
    with pytest.raises(ValueError, match=r"black/test: expected images \('n', 4, 4, 3\).*4, 4, 1"):
        zoo.data.load("black")


@pytest.mark.parametrize("name", ["gtsrb", "pneumonia-mnist", "cifar100"])
def test_sets_of_others_name_their_source_and_licence(name):
    dataset = DATASETS[name]
    assert dataset.source.startswith("https://")
    assert dataset.license
    assert dataset.citation
    assert dataset.class_names is not None
    classes = [label for group in dataset.groups.values() for label in group]
    assert sorted(classes) in ([], list(range(dataset.num_classes)))
