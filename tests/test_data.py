"""Image sets."""

import os
import pathlib

import numpy as np
import pytest

import zoo


def test_digits():
    train, test = zoo.data.load("digits", "train"), zoo.data.load("digits", "test")
    assert train.images.shape == (1297, 8, 8, 1)
    assert test.images.shape == (500, 8, 8, 1)
    assert test.images.dtype == np.float32
    assert test.images.min() == 0
    assert test.images.max() == 1
    assert set(test.labels) == set(range(10))
    assert len(test.take(3)) == 3
    np.testing.assert_array_equal(test.take(3, 5).labels, test.labels[3:5])


def test_npz_round_trip(tmp_path):
    zoo.data.save(tmp_path / "digits.npz", "digits")
    for split in ("train", "test"):
        copy, original = (
            zoo.data.load(tmp_path / "digits.npz", split),
            zoo.data.load("digits", split),
        )
        np.testing.assert_array_equal(copy.images, original.images)
        np.testing.assert_array_equal(copy.labels, original.labels)
        assert copy.num_classes == 10


def test_unknown_names_are_named():
    with pytest.raises(ValueError, match="unknown image set 'imagenet'; known: digits"):
        zoo.data.load("imagenet")
    with pytest.raises(ValueError, match="split must be 'train' or 'test', got 'val'"):
        zoo.data.load("digits", "val")


def test_bad_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        zoo.data.load("nowhere.npz")
    np.savez(tmp_path / "lacking.npz", x_train=np.zeros(3))
    with pytest.raises(ValueError, match="lacks x_test, y_test"):
        zoo.data.load(tmp_path / "lacking.npz")
    np.savez(tmp_path / "shapes.npz", x_test=np.zeros((3, 2)), y_test=np.zeros(3, int))
    with pytest.raises(ValueError, match=r"got \(3, 2\) and \(3,\)"):
        zoo.data.load(tmp_path / "shapes.npz")


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar10"])
def test_tfds_sets(name):
    folder = pathlib.Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()
    builder, shape, _ = zoo.data.DATASETS[name]
    if not (folder / builder).is_dir():
        pytest.skip(f"{builder} is not in {folder}; set TFDS_DATA_DIR to a folder that has it")
    test = zoo.data.load(name, "test")
    assert test.images.shape == (10_000, *shape)
    assert test.images.dtype == np.uint8
    np.testing.assert_array_equal(np.unique(test.labels), np.arange(10))
