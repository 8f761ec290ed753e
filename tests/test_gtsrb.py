"""GTSRB: the official archives, and which images are training, validation and test images."""

import csv
import hashlib
import http.server
import io
import itertools
import json
import pathlib
import threading
import zipfile

import numpy as np
import pytest
from PIL import Image

import zoo
from tests import datasets
from zoo.data import gtsrb

FOLDER = pathlib.Path("downloads/manual")


def ppm(color, side=40):
    file = io.BytesIO()
    Image.new("RGB", (side, side + 3), color).save(file, "PPM")
    return file.getvalue()


def color_of(label, track, frame):
    return (5 * label, 10 * track, 20 * frame)


def training_archive(path, tracks=7, frames=7, classes=(0, 42)):
    with zipfile.ZipFile(path, "w") as files:
        files.writestr("GTSRB/Readme-Images.txt", "about the images")
        for label in classes:
            files.writestr(f"GTSRB/Final_Training/Images/{label:05d}/GT-{label:05d}.csv", "a;b")
            for track in range(tracks):
                for frame in range(frames):
                    name = f"{label:05d}/{track:05d}_{frame:05d}.ppm"
                    color = color_of(label, track, frame)
                    files.writestr(f"GTSRB/Final_Training/Images/{name}", ppm(color))


def archives_of_test_images(images, labels, classes=(3, 41)):
    with zipfile.ZipFile(images, "w") as files:
        for index, label in enumerate(classes):
            files.writestr(f"GTSRB/Final_Test/Images/{index:05d}.ppm", ppm((label, index, 9)))
    text = io.StringIO()
    writer = csv.writer(text, delimiter=";", lineterminator="\r\n")
    writer.writerow(["Filename", "Width", "Height", "Roi.X1", "ClassId"])
    for index, label in enumerate(classes):
        writer.writerow([f"{index:05d}.ppm", 40, 43, 5, label])
    with zipfile.ZipFile(labels, "w") as files:
        files.writestr("GT-final_test.csv", text.getvalue())


@pytest.fixture
def archives(tmp_path, monkeypatch):
    """Paths of small archives, in the folder for archives that the user has downloaded."""
    # The library reads the variable for its own sets when it is imported, once for all tests.
    pytest.importorskip("tensorflow_datasets")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    (tmp_path / FOLDER).mkdir(parents=True)
    paths = {
        name: tmp_path / FOLDER / address.rpartition("/")[2]
        for name, (address, _) in gtsrb.ARCHIVES.items()
    }
    training_archive(paths["training"])
    archives_of_test_images(paths["test"], paths["test labels"])
    return paths


def test_the_official_archives_are_read(archives, tmp_path):
    train, validation, test = (
        zoo.data.load("gtsrb", split) for split in ("train", "validation", "test")
    )
    colors = {tuple(pixel) for pixel in train.images[:, 16, 16].tolist()}
    # Every third frame of every track, except track 5, which is held out.
    expected = {
        color_of(label, track, frame)
        for label in (0, 42)
        for track in (0, 1, 2, 3, 4, 6)
        for frame in (0, 3, 6)
    }
    assert colors == expected
    assert len(train) == len(expected)
    assert train.images.shape[1:] == (32, 32, 3)
    np.testing.assert_array_equal(train.labels, train.images[:, 0, 0, 0] // 5)
    assert set(validation.images[:, 0, 0, 1]) == {50}
    assert sorted(validation.labels) == [0, 0, 0, 42, 42, 42]
    assert validation.caption(list(validation.labels).index(42)) == (
        "end of no overtaking by lorries"
    )
    assert dict(zip(test.images[:, 0, 0, 1], test.labels, strict=True)) == {0: 3, 1: 41}


def test_the_features_are_those_of_prepared_copies(archives, tmp_path):
    zoo.data.load("gtsrb", "test")
    (made,) = tmp_path.glob("gtsrb/1.0.0/features.json")
    assert json.loads(made.read_text()) == json.loads(
        datasets.load_prepared("gtsrb/1.0.0/features.json")
    )


@pytest.mark.integration
def test_every_split_of_the_real_set_has_every_sign():
    splits = {split: datasets.load("gtsrb", split) for split in ("train", "validation", "test")}
    assert {name: len(split) for name, split in splits.items()} == {
        "train": 11_760,
        "validation": 1_310,
        "test": 12_630,
    }
    for split in splits.values():
        np.testing.assert_array_equal(np.unique(split.labels), np.arange(43))


@pytest.mark.parametrize(
    ("archive", "content", "message"),
    [
        ("training", {"a/b.ppm": b""}, "has no images such as 00000/00000_00000.ppm"),
        ("training", {"00043/00000_00000.ppm": ppm(0)}, "has the label 43; labels are 0 to 42"),
        ("test labels", {"labels.csv": b""}, "has no GT-final_test.csv"),
        ("test labels", {"GT-final_test.csv": b"a;b\n1;2\n"}, "no columns Filename and ClassId"),
        (
            "test labels",
            {"GT-final_test.csv": b"Filename;ClassId\n00000.ppm;\n"},
            "has the label ''; labels are 0 to 42",
        ),
        ("test", {"00000.ppm": ppm(0)}, "has no image 00001.ppm, which .* has a label of"),
    ],
)
def test_incomplete_archives_are_named(archives, archive, content, message):
    with zipfile.ZipFile(archives[archive], "w") as files:
        for name, data in content.items():
            files.writestr(name, data)
    examples = itertools.chain(
        gtsrb.training_examples(archives["training"]),
        gtsrb.test_examples(archives["test"], archives["test labels"]),
    )
    with pytest.raises(ValueError, match=message):
        list(examples)


def test_a_download_must_be_the_official_one(archives, tmp_path, monkeypatch):
    """The real archives come over the network, here from the loopback."""
    content = archives["training"].read_bytes()
    archives["training"].unlink()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/{archives['training'].name}"
    digest = hashlib.md5(content).hexdigest()
    try:
        for given in ("0" * 32, digest):
            monkeypatch.setitem(gtsrb.ARCHIVES, "training", (address, f"md5:{given}"))
            if given == digest:
                assert len(zoo.data.load("gtsrb", "train")) == 36
                continue
            with pytest.raises(RuntimeError, match=f"md5 digest {digest}, expected 000"):
                zoo.data.load("gtsrb", "train")
    finally:
        server.shutdown()
        server.server_close()


def test_groups_of_signs_hold_every_sign_once():
    members = sorted(sign for signs in gtsrb.GROUPS.values() for sign in signs)
    assert members == list(range(43))
    assert all("speed limit" in gtsrb.CLASSES[sign] for sign in gtsrb.GROUPS["speed limits"])
