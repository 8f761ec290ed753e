"""Image sets."""

import dataclasses

import numpy as np
import pytest

import zoo
from tests import datasets


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


def test_a_shape_that_a_set_does_not_have_is_refused(tmp_path, monkeypatch):
    zoo.data.save(tmp_path / "digits.npz", "digits")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("digits", "~/digits.npz"):
        assert len(zoo.data.load(name, "test", image_shape=[8, 8, 1])) == 500
        with pytest.raises(ValueError, match=r"have the shape \(8, 8, 1\), not \(28, 28, 1\)"):
            zoo.data.load(name, "test", image_shape=(28, 28, 1))


def test_sets_are_compared_by_identity():
    first, second = (zoo.data.load("digits", "test") for _ in range(2))
    assert first == first
    assert len({first, second}) == 2


def test_as_tf_data():
    pytest.importorskip("tensorflow")
    test = zoo.data.load("digits").take(10)
    batches = list(test.to_tf_data(4))
    assert [len(labels) for _, labels in batches] == [4, 4, 2]
    np.testing.assert_array_equal(np.concatenate([images for images, _ in batches]), test.images)


def test_tf_data_in_another_order():
    pytest.importorskip("tensorflow")
    test = zoo.data.load("digits").take(100)

    def read(**options):
        batches = test.to_tf_data(32, **options).as_numpy_iterator()
        return [np.concatenate(part) for part in zip(*batches, strict=True)]

    def pairs(images, labels):
        return sorted((image.tobytes(), label) for image, label in zip(images, labels, strict=True))

    plain, one, again, other = read(), *(read(shuffle=True, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one[1], again[1])
    assert (one[1] != plain[1]).any()
    assert (one[1] != other[1]).any()
    assert pairs(*one) == pairs(*plain)


def test_unknown_names_are_named():
    with pytest.raises(ValueError, match="unknown image set 'imagenet'; known: digits"):
        zoo.data.load("imagenet")
    with pytest.raises(ValueError, match="split must be 'train' or 'test', got 'val'"):
        zoo.data.load("digits", "val")


def test_bad_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        zoo.data.load("nowhere.npz")
    np.savez(tmp_path / "lacking.npz", x_train=np.zeros(3))
    with pytest.raises(ValueError, match="lacks x_test; it has"):
        zoo.data.load(tmp_path / "lacking.npz")
    (tmp_path / "page.npz").write_text("<html>")
    (tmp_path / "empty.npz").touch()
    np.save(tmp_path / "array.npy", np.zeros(3))
    (tmp_path / "array.npy").rename(tmp_path / "array.npz")
    for name in ("page", "empty", "array"):
        with pytest.raises(ValueError, match=f"{name}.npz is no .npz file"):
            zoo.data.load(tmp_path / f"{name}.npz")
    np.savez(tmp_path / "labels.npz", x_test=np.zeros((1, 2, 2, 1)), y_test=np.array([0.9]))
    with pytest.raises(ValueError, match="labels must be integers, got dtype float64"):
        zoo.data.load(tmp_path / "labels.npz")
    np.savez(tmp_path / "shapes.npz", x_test=np.zeros((3, 2)), y_test=np.zeros(3, int))
    with pytest.raises(ValueError, match=r"got \(3, 2\) and \(3,\)"):
        zoo.data.load(tmp_path / "shapes.npz")


@pytest.mark.integration
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar10"])
def test_tfds_sets(name):
    test = datasets.load(name)
    assert test.images.shape == (10_000, *zoo.data.DATASETS[name].image_shape)
    assert test.images.dtype == np.uint8
    np.testing.assert_array_equal(np.unique(test.labels), np.arange(10))


def test_a_set_that_cannot_be_had_says_what_to_do(monkeypatch):
    import tensorflow_datasets as tfds

    def unreachable(*args, **kwargs):
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(tfds, "load", unreachable)
    with pytest.raises(RuntimeError, match="svhn_cropped .* no route.* set TFDS_DATA_DIR"):
        zoo.data.load("svhn")


def test_a_set_is_read_from_the_folder_of_now_and_reported_on_standard_error(monkeypatch, capsys):
    """The command line prints results, such as JSON, to standard output."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    def load(name, *, data_dir, **options):
        print("Dataset prepared in", data_dir)
        return tf.zeros((2, 32, 32, 3), tf.uint8), tf.zeros(2, tf.int64)

    capsys.readouterr()  # what the imports wrote
    monkeypatch.setattr(tfds, "load", load)
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.setenv("TFDS_DATA_DIR", "~/sets")
    assert len(zoo.data.load("svhn")) == 2
    out, errors = capsys.readouterr()
    assert (out, errors) == ("", "Dataset prepared in /home/someone/sets\n")


def test_names_of_another_kind_are_named():
    for name in (3, None, ["digits"], b"digits.npz"):
        with pytest.raises(TypeError, match="name must be that of an image set"):
            zoo.data.load(name)


def test_a_file_that_cannot_be_written_is_noticed_before_the_set_is_loaded(tmp_path, monkeypatch):
    def loaded(*args):
        raise AssertionError("loaded first")

    monkeypatch.setattr(zoo.data, "load", loaded)
    with pytest.raises(OSError, match="there is no folder"):
        zoo.data.save(tmp_path / "missing" / "digits.npz", "digits")


def test_take_refuses_what_is_no_number_of_images():
    digits = zoo.data.load("digits")
    for numbers in ((-1,), (0, -2)):
        with pytest.raises(ValueError, match="at least 0"):
            digits.take(*numbers)
    for numbers in (("a",), (0, 2.5)):
        with pytest.raises(TypeError, match="take\\(\\) needs whole numbers, got ('a'|2.5)"):
            digits.take(*numbers)


@pytest.mark.parametrize("chosen", [slice(-5, None), [3, 1], "threes", np.array([], int)])
def test_a_set_is_sliced_as_an_array_is(chosen):
    digits = zoo.data.load("digits").take(50)
    digits = dataclasses.replace(digits, files=tuple(f"{i}.png" for i in range(50)))
    chosen = digits.labels == 3 if isinstance(chosen, str) else chosen
    part = digits[chosen]
    np.testing.assert_array_equal(part.images, digits.images[chosen])
    np.testing.assert_array_equal(part.labels, digits.labels[chosen])
    assert part.files == tuple(f"{i}.png" for i in np.arange(50)[chosen])
    assert (part.name, part.num_classes) == (digits.name, digits.num_classes)


def test_one_number_gives_what_iteration_gives():
    digits = zoo.data.load("digits").take(3)
    for image, label in (digits[-1], list(digits)[2]):
        np.testing.assert_array_equal(image, digits.images[2])
        assert label == digits.labels[2]
    np.testing.assert_array_equal(dataclasses.replace(digits, labels=None)[1], digits.images[1])
    for index in (3, "a", (0, 1), None):
        with pytest.raises(IndexError):
            digits[index]


def test_a_file_of_another_kind_is_not_reported_as_missing(tmp_path):
    path = tmp_path / "images.npy"
    np.save(path, np.zeros((1, 8, 8, 1)))
    with pytest.raises(ValueError, match="neither an .npz file, nor an image, nor a folder"):
        zoo.data.load(path)
