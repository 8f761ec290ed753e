"""PneumoniaMNIST: the official file, and its three splits."""

import json

import numpy as np
import pytest

import zoo
from tests import datasets
from zoo.data import pneumonia_mnist

SIZES = {"train": 5, "val": 3, "test": 2}


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """The path of a small file, in the folder for archives that the user has downloaded."""
    # The library reads the variable for its own sets when it is imported, once for all tests.
    pytest.importorskip("tensorflow_datasets")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    path = tmp_path / "downloads" / "manual" / "pneumoniamnist.npz"
    path.parent.mkdir(parents=True)
    random = np.random.default_rng(0)
    arrays = {}
    for split, size in SIZES.items():
        images = random.integers(0, 256, (size, 28, 28), dtype=np.uint8)
        arrays[f"{split}_images"] = images
        arrays[f"{split}_labels"] = (images[:, :1, 0] % 2).astype(np.uint8)
    np.savez(path, **arrays)
    return path


def test_the_official_file_is_read(archive, tmp_path):
    with np.load(archive) as file:
        arrays = dict(file)
    for split, name in {"train": "train", "validation": "val", "test": "test"}.items():
        found = zoo.data.load("pneumonia-mnist", split)
        assert found.images.shape == (SIZES[name], 28, 28, 1)
        np.testing.assert_array_equal(found.labels, found.images[:, 0, 0, 0] % 2)
        assert {image.tobytes() for image in found.images} == {
            image.tobytes() for image in arrays[f"{name}_images"]
        }
        assert found.class_names == ("normal", "pneumonia")
    folder = "pneumonia_mnist/1.0.0"
    for file, parsed in (("features.json", json.loads), ("label.labels.txt", str.split)):
        made = (tmp_path / folder / file).read_text()
        assert parsed(made) == parsed(datasets.load_prepared(f"{folder}/{file}"))


def test_the_real_set_has_a_validation_split():
    counts = {"train": (1214, 3494), "validation": (135, 389), "test": (234, 390)}
    for split, expected in counts.items():
        labels = datasets.load("pneumonia-mnist", split).labels
        assert tuple(np.bincount(labels)) == expected


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"train_images": np.zeros(3)}, "no .npz file with train_images and train_labels"),
        (
            {"train_images": np.zeros((3, 28, 28)), "train_labels": np.zeros(3)},
            r"expected train_images \(n, 28, 28\) and train_labels \(n, 1\), got \(3, 28, 28\)",
        ),
    ],
)
def test_files_of_other_arrays_are_named(archive, arrays, message):
    np.savez(archive, **arrays)
    with pytest.raises(ValueError, match=message):
        list(pneumonia_mnist.examples(archive, "train"))
    with pytest.raises(RuntimeError, match="pneumonia_mnist .* downloaded and prepared"):
        zoo.data.load("pneumonia-mnist", "train")
