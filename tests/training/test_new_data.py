"""The recipes for road signs, X-rays and CIFAR-100 run from their data to a checkpoint."""

import numpy as np
import pytest

import zoo
from tests.backend import BACKEND
from training import recipe as recipes
from training.__main__ import main
from zoo.hub import checkpoint

SETS = ("gtsrb", "pneumonia-mnist", "cifar100")
NAMES = [name for name in recipes.names() if recipes.load(name)["data"]["name"] in SETS]


def made_up(path, dataset):
    """An ``.npz`` file of random images, with all splits that the set has."""
    random, arrays = np.random.default_rng(0), {}
    for split in dataset.splits:
        arrays[f"x_{split}"] = random.integers(0, 256, (8, *dataset.image_shape), dtype=np.uint8)
        arrays[f"y_{split}"] = np.arange(8) % dataset.num_classes
    np.savez(path, **arrays)
    return path


def smaller(text):
    """The text of a recipe with fewer units and images, and with everything else as it is."""
    changes = {
        "width = 1024": "width = 8",
        "width = 768": "width = 8",
        "width = 512": "width = 8",
        "width = 1.0": "width = 0.05",
        "filters = [32, 32, 64, 64]": "filters = [2, 2, 4, 4]",
        "filters = [32, 64]": "filters = [2, 4]",
        "hidden = [512, 512]": "hidden = [8, 8]",
        "hidden = [1024]": "hidden = [8]",
        "hidden = [256]": "hidden = [8]",
        "batch_size = 128": "batch_size = 4",
        "batch_size = 64": "batch_size = 4",
        "validation = 1310": "validation = 8",
        "validation = 524": "validation = 8",
    }
    for old, new in changes.items():
        text = text.replace(old, new)
    return text


@pytest.mark.slow
@pytest.mark.skipif(BACKEND == "jax", reason="nothing of it depends on the backend")
@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_runs_to_a_checkpoint(name, tmp_path, capsys):
    recipe = recipes.load(name)
    dataset = zoo.data.DATASETS[recipe["data"]["name"]]
    (tmp_path / "recipe.toml").write_text(smaller((recipes.RECIPES / f"{name}.toml").read_text()))
    file = made_up(tmp_path / "images.npz", dataset)
    out = tmp_path / "run"
    arguments = [str(tmp_path / "recipe.toml"), "--data", str(file), "--out", str(out), "--quiet"]
    assert main([*arguments, "--epochs", "1"]) == 0, capsys.readouterr().err
    model = checkpoint.load(out)
    certificate = model.certify(zoo.data.load(file).images)
    assert certificate.num_classes == dataset.num_classes
    assert certificate.per_class.shape == (8, dataset.num_classes)


@pytest.mark.integration
@pytest.mark.skipif(BACKEND == "jax", reason="nothing of it depends on the backend")
def test_tiny_imagenet_runs_to_a_checkpoint_from_a_file(tmp_path, capsys):
    """Made images of its shape, one of each of its 200 classes; the recipe but for the width."""
    name = "linf-dist-mlp-tiny-imagenet-full"
    text = (recipes.RECIPES / f"{name}.toml").read_text(encoding="utf-8")
    for old, new in (("width = 5120", "width = 8"), ("batch_size = 512", "batch_size = 50")):
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "recipe.toml").write_text(text, encoding="utf-8")
    random, labels = np.random.default_rng(0), np.arange(200)
    images = random.integers(0, 256, (200, 56, 56, 3), dtype=np.uint8)
    file = tmp_path / "images.npz"
    np.savez(file, x_train=images, y_train=labels, x_test=images, y_test=labels)
    out = tmp_path / "run"
    arguments = [str(tmp_path / "recipe.toml"), "--out", str(out), "--quiet", "--epochs", "1"]
    assert main([*arguments, "--data", str(file)]) == 0, capsys.readouterr().err
    model, test = checkpoint.load(out), zoo.data.load(file).take(20)
    budgets = recipes.load(name)["measure"]["eps"]
    report = model.evaluate_robustness(
        test.images, test.labels, eps=budgets, attacks=["fgsm"], verbose=0
    )
    (row,) = report.rows
    assert report.certificate.num_classes == 200
    assert 0 <= row["certified"] <= row["attacked"]["fgsm"] <= 1
    assert main(arguments) == 1
    assert "tiny-imagenet" in capsys.readouterr().err


def test_every_set_has_its_recipes():
    expected = {
        "gtsrb": ("linf-dist", "lc-lmt", "lc-lmt-standard", "l2nnn"),
        "pneumonia-mnist": ("linf-dist", "crt", "crt-standard", "lc-lmt", "lc-lmt-standard"),
        "cifar100": ("linf-dist", "lc-lmt"),
    }
    assert sorted(NAMES) == sorted(f"{a}-{d}" for d, names in expected.items() for a in names)
    for name in NAMES:
        recipe = recipes.load(name)
        dataset = zoo.data.DATASETS[recipe["data"]["name"]]
        network = recipe["model"].get("network")
        settings = network if isinstance(network, dict) else recipe["model"]
        assert tuple(settings["image_shape"]) == dataset.image_shape
        assert settings["num_classes"] == dataset.num_classes
        # Signs and X-rays have a left and a right.
        assert not recipe["augment"].get("flip") or dataset.name == "cifar100"


@pytest.mark.parametrize(
    ("plain", "certified"),
    [
        ("lc-lmt-standard-gtsrb", "lc-lmt-gtsrb"),
        ("lc-lmt-standard-pneumonia-mnist", "lc-lmt-pneumonia-mnist"),
        ("crt-standard-pneumonia-mnist", "crt-pneumonia-mnist"),
    ],
)
def test_a_plain_network_is_of_the_same_size_and_trained_as_long(plain, certified):
    plain, certified = recipes.load(plain), recipes.load(certified)
    assert plain["model"]["network"] == certified["model"]["network"]
    for entry in ("data", "augment"):
        assert plain[entry] == certified[entry]
    # The attacks may differ: a plain network is fooled by a cheap one.
    assert plain["measure"]["eps"] == certified["measure"]["eps"]
    assert plain["training"]["epochs"] == certified["training"]["epochs"]
