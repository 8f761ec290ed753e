"""The command line on one's own images and models."""

import csv
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import zoo
from tests.test_cli import run
from zoo.models.logit_network import logit_network

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def folder(tmp_path_factory, digits):
    """Twelve digits: as a folder for each class, as a folder without labels, and as arrays."""
    folder = tmp_path_factory.mktemp("own")
    pixels = np.rint(digits.images[:12, ..., 0] * 255).astype(np.uint8)
    for i, (image, label) in enumerate(zip(pixels, digits.labels[:12], strict=True)):
        for path in (folder / "classes" / str(label), folder / "flat"):
            path.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path / f"{i:02}.png")
    np.savez(folder / "arrays.npz", x=pixels)
    return folder


@pytest.fixture(scope="module")
def keras_model(folder):
    """An ordinary classifier of bytes with a softmax, saved as a file and as a folder."""
    import keras

    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(8, activation="relu", name="hidden"),
            # This is what Keras itself calls the first dense layer of another process.
            keras.layers.Dense(10, activation="softmax", name="dense"),
        ]
    )
    model.save(folder / "own.keras")
    model.save(folder / "own", zipped=False)
    return model


def result_of(capsys, *arguments):
    code, out, err = run(capsys, *map(str, arguments), "--json", "--quiet")
    assert code == 0, err
    return json.loads(out)


def test_images_in_every_form_have_the_same_radii(capsys, folder):
    for data in ("classes", "flat", "arrays.npz", "flat/00.png"):
        found = result_of(
            capsys, "certify", "linf-dist-digits", "--data", folder / data, "--eps", "0.1"
        )
        names = found["file"] or [f"{i:02}.png" for i in range(12)]
        images = [np.asarray(Image.open(folder / "flat" / pathlib.Path(n).name)) for n in names]
        expected = zoo.load("linf-dist-digits").certify(np.stack(images)[..., None])
        assert found["radius"] == expected.radius.tolist()
        assert found["certified"] == {"0.1": expected.certified(0.1).tolist()}
        (row,) = found["budgets"]
        assert row["certified_predictions"] == expected.certified(0.1).sum()
        if data == "classes":
            assert found["label"] == [int(pathlib.Path(name).parent.name) for name in names]
            assert row["certified_accuracy"] == expected.accuracy(found["label"], 0.1)
        else:
            assert (found["label"], found["clean"], row["certified_accuracy"]) == (None,) * 3


def test_the_summary_comes_first_and_the_file_has_all_images(capsys, folder):
    path = folder / "radii.csv"
    code, out, _ = run(
        capsys, "certify", "linf-dist-digits", "--n", "25", "--eps", "0.1", "8/255", "--quiet",
        "--csv", str(path),
    )  # fmt: skip
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "linf-dist-digits on digits/test: n = 25, linf, interval"
    assert lines[2].startswith("at eps 0.1: ")
    assert lines[3].startswith("at eps 8/255: ")
    assert lines[-1] == "… and 5 more; --csv FILE writes all"
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    certificate = zoo.load("linf-dist-digits").certify(zoo.data.load("digits").images[:25])
    assert [float(row["radius"]) for row in rows] == certificate.radius.tolist()
    assert [row["certified 8/255"] for row in rows] == [
        str(yes) for yes in certificate.certified("8/255").tolist()
    ]


def test_nearest(capsys, folder):
    found = result_of(
        capsys, "certify", "linf-dist-digits", "--data", folder / "flat/00.png", "--nearest"
    )
    assert found["nearest"][0] >= found["radius"][0]


def test_a_keras_model_in_a_file_or_folder(capsys, folder, keras_model):
    images = np.stack([np.asarray(Image.open(p)) for p in sorted((folder / "flat").iterdir())])
    predicted = np.argmax(keras_model.predict(images[..., None].astype(float), verbose=0), axis=1)
    radii = []
    for name in ("own.keras", "own"):
        found = result_of(
            capsys, "certify", folder / name, "--data", folder / "flat", "--norm", "l2"
        )
        assert found["prediction"] == predicted.tolist()
        assert (found["norm"], found["method"], found["budgets"]) == ("l2", "crown", [])
        radii.append(found["radius"])
    assert radii[0] == radii[1]
    # In units of a byte, by the way that knows nothing of [0, 1].
    logits = logit_network(keras_model).network
    bytes_ = zoo.certify(logits, images[..., None], norm="l2", valid_range=(0, 255)).radius
    np.testing.assert_allclose(np.array(radii[0]) * 255, bytes_, rtol=1e-3)


def test_evaluate_and_attack_take_them_too(capsys, folder, keras_model):
    model, data = folder / "own.keras", folder / "classes"
    path = folder / "images.csv"
    found = result_of(
        capsys, "evaluate", model, "--data", data, "--eps", "0.02", "--attacks", "fgsm",
        "--csv", path,
    )  # fmt: skip
    (row,) = found["rows"]
    assert found["clean"] >= row["attacked"]["fgsm"] >= row["certified"]
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    fooled = [row["fooled by fgsm at 0.02"] == "True" for row in rows]
    # An attack may make a wrong prediction right, which does not count.
    right = [row["prediction"] == row["label"] for row in rows]
    left = [r and not f for r, f in zip(right, fooled, strict=True)]
    assert np.mean(left) == pytest.approx(row["attacked"]["fgsm"])
    found = result_of(
        capsys, "evaluate", model, "--data", data, "--eps", "0.02", "--attacks", "none"
    )
    assert found["rows"] == [{"eps": "0.02", "attacked": {}, "certified": row["certified"]}]
    found = result_of(
        capsys, "attack", model, "--data", folder / "flat", "--eps", "0.5", "--attack", "fgsm",
        "--save", folder / "attacked.npz",
    )  # fmt: skip
    changed = np.array(found["prediction"]) != np.array(found["attacked"])
    assert found["fooled"] == changed.tolist()
    assert changed.any()
    assert found["accuracy"] is None
    assert zoo.data.load(folder / "attacked.npz").labels is None


def test_an_attack_towards_a_class_counts_that_class_alone(capsys):
    found = result_of(
        capsys, "attack", "linf-dist-digits", "--n", "100", "--eps", "0.2", "--attack", "pgd",
        "--target", "3",
    )  # fmt: skip
    attacked, label = np.array(found["attacked"]), np.array(found["label"])
    before = np.array(found["prediction"])
    fooled = (attacked == 3) & (before != 3)
    assert (fooled != ((attacked == 3) & (label != 3))).any()  # some are taken for a 3 already
    assert found["target"] == 3
    assert found["fooled"] == fooled.tolist()
    assert 0 < fooled.sum() < (attacked != label).sum()
    assert found["accuracy"] == np.mean((before == label) & (attacked == label))


def test_an_image_that_an_attack_turns_right_was_not_withstood(capsys, monkeypatch, digits):
    """The attack makes an image that is classified rightly of every image."""
    model = zoo.load("linf-dist-digits")
    before = np.argmax(model.logits(digits.images[:100]), axis=1)
    wrong = np.flatnonzero(before != digits.labels[:100])[0]
    target = np.flatnonzero((before == digits.labels[:100]) & (before == digits.labels[wrong]))[0]
    image = digits.images[target]
    monkeypatch.setattr(
        zoo.attacks.FGSM, "run", lambda self, victim, x, *_: np.broadcast_to(image, x.shape).copy()
    )
    found = result_of(
        capsys, "attack", "linf-dist-digits", "--n", "100", "--attack", "fgsm", "--eps", "1"
    )
    right = before == digits.labels[:100]
    assert found["attacked"][wrong] == found["label"][wrong]
    assert found["accuracy"] == np.mean(right & (digits.labels[:100] == before[target]))


def test_logits_that_are_nan_are_no_answer(capsys, folder, tmp_path, keras_model):
    import keras

    model = keras.models.clone_model(keras_model)
    model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
    model.save(tmp_path / "broken.keras")
    command = ("attack", tmp_path / "broken.keras", "--data", folder / "flat", "--norm", "l2")
    code, out, err = run(capsys, *map(str, command), "--attack", "fgsm", "--eps", "0.1")
    assert code == 0
    assert "logits are NaN for 12 of 12 images" in err
    assert "12 of 12 images given another class" in out


def test_folders_with_the_names_of_a_models_classes(capsys, tmp_path):
    """Their alphabetical order would be another one."""
    names = zoo.data.DATASETS["gtsrb"].class_names
    for name in (names[14], names[13]):
        (tmp_path / name).mkdir()
        Image.new("RGB", (32, 32)).save(tmp_path / name / "sign.png")
    command = ("certify", "lc-lmt-gtsrb", "--data", tmp_path)
    found = result_of(capsys, *command)
    expected = [names.index(pathlib.Path(file).parent.name) for file in found["file"]]
    assert found["label"] == expected
    assert sorted(expected) == [13, 14]
    # The option has the last word.
    classes = ",".join(reversed(names))
    assert result_of(capsys, *command, "--classes", classes)["label"] == [42 - i for i in expected]


def test_models_that_number_classes_differently_are_not_compared(capsys, tmp_path):
    names = zoo.data.DATASETS["gtsrb"].class_names
    for name in (names[14], names[13]):
        (tmp_path / "signs" / name).mkdir(parents=True)
        Image.new("RGB", (32, 32)).save(tmp_path / "signs" / name / "sign.png")
    import keras

    layers = [keras.layers.Flatten(), keras.layers.Dense(2)]
    own = tmp_path / "own.keras"
    keras.Sequential([keras.Input((32, 32, 3)), *layers]).save(own)
    command = ["compare", str(own), "lc-lmt-gtsrb", "--data", str(tmp_path / "signs")]
    code, out, error = run(capsys, *command, "--eps", "0.1", "--norm", "l2", "--quiet")
    assert (code, out, error.count("\n")) == (1, "", 1)
    assert f"lc-lmt-gtsrb and {own} number the classes of" in error


def test_an_attack_in_a_norm_without_a_certificate(capsys):
    command = ["attack", "linf-dist-digits", "--n", "20", "--norm", "l2", "--attack", "pgd"]
    found = result_of(capsys, *command, "--eps", "2.0")
    assert sum(found["fooled"]) > 10
    code, _, error = run(capsys, *command)
    assert (code, error.count("\n")) == (1, 1)
    assert "no budget in l2 at which linf-dist-digits was attacked; give --eps" in error


def test_evaluate_by_class(capsys, tmp_path, digits):
    """Two of ten classes have images."""
    names = ["round", "straight", *map(str, range(2, 10))]
    zeros, ones = digits.images[digits.labels == 0][:3], digits.images[digits.labels == 1][:1]
    for name, images in {"round": zeros, "straight": ones}.items():
        (tmp_path / name).mkdir()
        for i, image in enumerate(np.rint(images[..., 0] * 255).astype(np.uint8)):
            Image.fromarray(image).save(tmp_path / name / f"{i}.png")
    arguments = ("evaluate", "linf-dist-digits", "--data", tmp_path, "--eps", "0.1")
    arguments += ("--attacks", "none", "--by-class", "--classes", ", ".join(names))
    found = result_of(capsys, *arguments)
    classes = found["by_class"]
    assert classes["classes"] == names
    assert classes["n"] == [3, 1] + [0] * 8
    assert classes["clean"][2:] == [None] * 8
    for of_all, of_each in (
        (found["clean"], classes["clean"]),
        (found["rows"][0]["certified"], classes["rows"][0]["certified"]),
    ):
        assert of_all == pytest.approx((3 * of_each[0] + of_each[1]) / 4)
    code, out, err = run(capsys, *map(str, arguments), "--quiet")
    assert code == 0, err
    assert re.search(r"^round +3 ", out, re.MULTILINE)
    assert "balanced" in out
    for number, name in enumerate(names[:2]):
        (tmp_path / name).rename(tmp_path / str(number))
    found = result_of(capsys, *arguments[:-2])
    assert found["by_class"]["classes"] == list(map(str, range(10)))
    assert found["by_class"]["clean"] == classes["clean"]
    code, out, err = run(
        capsys, "evaluate", "lc-lmt-digits", "--n", "40", "--eps", "0.5", "0.1",
        "--attacks", "none", "--by-class", "--quiet",
    )  # fmt: skip
    assert code == 0, err
    pairs = out.partition("within 0.5:\n")[2].splitlines()
    assert pairs[0].split() == ["class", "may", "become", "images"]
    assert 1 < len(pairs) <= 11


def test_a_model_of_pixels_in_another_range(capsys, folder):
    """Budgets and radii are in units of the [0, 1] image, whatever range the model takes."""
    import keras

    keras.utils.set_random_seed(0)
    layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]
    keras.Sequential(layers).save(folder / "signed.keras")
    images = np.stack([np.asarray(Image.open(p)) for p in sorted((folder / "flat").iterdir())])
    signed = images[..., None] / 127.5 - 1
    expected = zoo.certify(keras.Sequential(layers), signed, norm="l2", valid_range=(-1, 1))
    np.savez(folder / "signed.npz", x=signed)
    shutil.copy(folder / "signed.npz", folder / "UPPER.NPZ")
    for data in ("flat", "signed.npz", "UPPER.NPZ"):
        found = result_of(
            capsys, "certify", folder / "signed.keras", "--data", folder / data,
            "--valid-range", "-1", "1", "--norm", "2",
        )  # fmt: skip
        assert found["prediction"] == expected.prediction.tolist()
        np.testing.assert_allclose(2 * np.array(found["radius"]), expected.radius, rtol=1e-3)
    found = result_of(
        capsys, "attack", folder / "signed.keras", "--data", folder / "flat",
        "--valid-range", "-1", "1", "--eps", "0.5", "--attack", "fgsm",
        "--save", folder / "attacked.npz",
    )  # fmt: skip
    assert found["prediction"] == expected.prediction.tolist()
    again = result_of(
        capsys, "certify", folder / "signed.keras", "--data", folder / "attacked.npz",
        "--valid-range", "-1", "1", "--norm", "2",
    )  # fmt: skip
    assert again["prediction"] == found["attacked"]
    np.savez(folder / "one_hot.npz", x=images, y=np.eye(10)[expected.prediction])
    found = result_of(
        capsys, "evaluate", folder / "signed.keras", "--data", folder / "one_hot.npz",
        "--valid-range", "-1", "1", "--eps", "0.001", "--attacks", "none",
    )  # fmt: skip
    assert found["clean"] == 1


def test_compare(capsys, folder):
    names = ["double-backprop-digits", "linf-dist-digits"]
    plot = folder / "curves.png"
    command = ["compare", *names, "--n", "20", "--eps", "0.1", "--plot", str(plot), "--quiet"]
    code, out, err = run(capsys, *command)
    assert code == 0, err
    assert plot.read_bytes().startswith(b"\x89PNG")
    rows = [line.split() for line in out.splitlines()[2:]]
    assert [row[0] for row in rows] == names[::-1]
    for row in rows:
        test = zoo.data.load("digits").take(20)
        certificate = zoo.load(row[0]).certify(test.images)
        assert row[-1] == f"{100 * certificate.accuracy(test.labels, 0.1):.2f}%"


def test_compare_with_attacks_at_the_budgets_of_the_catalog(capsys):
    names = ["double-backprop-digits", "linf-dist-digits"]
    reports = result_of(capsys, "compare", *names, "--n", "20", "--attacks", "fgsm")
    certified = [entry for name in names for entry in zoo.info(name).metrics.certified]
    budgets = sorted(
        {entry.eps for entry in certified if entry.norm == "linf"},
        key=lambda eps: float(zoo.epsilon.Epsilon(eps)),
    )
    for name, report in zip(names, reports, strict=True):
        assert report["model"] == name
        assert [row["eps"] for row in report["rows"]] == budgets
        assert all("fgsm" in row["attacked"] for row in report["rows"])


def test_evaluate_with_the_nearest_images(capsys):
    found = result_of(
        capsys, "evaluate", "crt-digits", "--n", "20", "--attacks", "none", "--nearest"
    )
    assert found["nearest_over_radius"] >= 1


def test_attack_writes_a_table(capsys, folder):
    found = result_of(
        capsys, "attack", "linf-dist-digits", "--data", folder / "classes", "--eps", "0.2",
        "--attack", "fgsm", "--csv", folder / "attacked.csv",
    )  # fmt: skip
    with open(folder / "attacked.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for name in ("label", "prediction", "attacked"):
        assert [int(row[name]) for row in rows] == found[name]
    assert [row["fooled"] == "True" for row in rows] == found["fooled"]
    assert len(rows) == 12
    assert any(found["fooled"])


def _with_an_unknown_class(model, path):
    """Save a model with a layer whose class can be imported only here."""
    import keras

    class Unknown(keras.layers.Layer):
        def call(self, inputs):
            return inputs

    keras.Sequential([*model.layers, Unknown()]).save(path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("compare crt-digits linf-dist-digits", "linf-dist-digits certifies linf"),
        ("compare crt-digits crt-mnist", "crt-digits is of digits, crt-mnist is of mnist"),
        ("compare crt-digits ./own.keras", "own.keras has no entry in the catalog"),
        ("certify own.keras", "give --data"),
        ("certify own.keras --data flat --valid-range 1 0", "--valid-range must be two numbers"),
        ("certify own.keras --data flat --valid-range 0 nan", "--valid-range must be two numbers"),
        ("certify own.keras --data far.npz --valid-range -1 1", "must lie in the --valid-range"),
        ("certify missing.keras --data flat", "no such model file: missing.keras"),
        ("certify broken.keras --data flat", "broken.keras is damaged: it is no zip archive"),
        ("certify code.keras --data flat", "it holds Python code, as a Lambda layer does"),
        ("certify custom.keras --data flat", "it uses the class 'Unknown', which is not"),
        ("certify program/ --data flat", "is a SavedModel, a program whose layers are not known"),
        (
            "certify linf-dist-digits --data flat --valid-range 0 255",
            "for a Keras model of your own",
        ),
        ("certify linf-dist-digits --resize", "--resize is for image files"),
        ("certify linf-dist-digits --data nowhere/", "no such folder of images: nowhere"),
        ("certify linf-dist-digits --data large.png", "expected 8 × 8; --resize"),
        (
            "certify linf-dist-digits --data pets",
            "10 classes, pets has 2: cat, dog; call the folders",
        ),
        ("certify linf-dist-digits --data flat --csv missing/x.csv", "no folder missing"),
        ("certify own.keras --data labelled.npz", "y must lie in 0..9"),
        ("evaluate linf-dist-digits --data flat", "flat has no labels"),
        ("evaluate linf-dist-digits crt-digits --csv x.csv", "--csv writes the images of one"),
        ("list --dataset mnits", "there are: cifar10, digits"),
    ],
)
def test_mistakes_are_named_in_one_line(
    capsys, monkeypatch, folder, keras_model, arguments, message
):
    import keras

    monkeypatch.chdir(folder)
    (folder / "broken.keras").write_text("<html>")
    _with_an_unknown_class(keras_model, folder / "custom.keras")
    doubled = keras.layers.Lambda(lambda x: 2.0 * x, output_shape=(8, 8, 1))
    keras.Sequential([keras.Input((8, 8, 1)), doubled]).save(folder / "code.keras")
    (folder / "program").mkdir(exist_ok=True)
    (folder / "program" / "saved_model.pb").touch()
    Image.fromarray(np.zeros((9, 9), np.uint8)).save("large.png")
    np.savez("far.npz", x=np.full((2, 8, 8, 1), 3.0))
    np.savez("labelled.npz", x=np.zeros((2, 8, 8, 1), np.uint8), y=[9, 10])
    for name in ("cat", "dog"):
        (folder / "pets" / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / "pets" / name / "1.png")
    code, out, err = run(capsys, *arguments.split())
    assert (code, out) == (1, "")
    assert err.count("\n") == 1
    assert message in err


def test_no_line_of_the_backend_is_shown(folder, keras_model):
    command = [sys.executable, "-m", "zoo", "certify", str(folder / "own.keras"), "--quiet"]
    options = ["--data", str(folder / "flat"), "--norm", "l2"]
    # Without the setting of these tests that hides them.
    env = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    result = subprocess.run([*command, *options], capture_output=True, text=True, env=env)
    assert (result.returncode, result.stderr) == (0, "")
