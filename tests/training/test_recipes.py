"""Recipes."""

import numpy as np
import pytest

import zoo
from training import recipe as recipes
from training.images import splits
from training.run import build
from zoo.hub import catalog


@pytest.mark.parametrize("name", recipes.names())
def test_shipped_recipes_build(name):
    recipe = recipes.load(name)
    assert recipe["name"] == name
    if name.endswith("-full"):  # 330 MB and more
        recipe["model"]["width"] = 16
    model = build(recipe)
    settings = recipe["model"].get("network")
    settings = settings if isinstance(settings, dict) else recipe["model"]
    assert list(model.image_shape) == settings["image_shape"]


def test_every_checkpoint_has_a_recipe():
    assert {record.training.recipe for record in catalog.list_models()} <= set(recipes.names())


def test_unknown_recipe():
    with pytest.raises(
        FileNotFoundError, match="no recipe 'nothing'; there are: .*linf-dist-mnist"
    ):
        recipes.load("nothing")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("epochs = 200", "epochs = 0", r"training\.epochs: 0 is less than"),
        ("epochs = 200", 'epochs = "many"', r"training\.epochs: 'many' is not of type"),
        ("batch_size = 128", "batchsize = 128", "training: 'batch_size' is a required"),
        ("seed = 0", "", "'seed' is a required property"),
        ("seed = 0", "seed = ", "line"),
        ("eps = [", 'eps = ["much", ', r"measure\.eps: eps must be a finite number.*'much'"),
    ],
)
def test_bad_recipes_are_named(tmp_path, old, new, message):
    path = tmp_path / "mine.toml"
    text = (recipes.RECIPES / "linf-dist-digits.toml").read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=message):
        recipes.load(path)


@pytest.fixture
def black(tmp_path):
    """A set with a validation split of its own, registered for the time of a test."""

    def load(split):
        count = {"train": 5, "validation": 3, "test": 2}[split]
        return np.full((count, 4, 4, 1), count, np.uint8), np.arange(count)

    splits_of_set = ("train", "validation", "test")
    shape = {"image_shape": (4, 4, 1), "num_classes": 5}
    zoo.data.register(zoo.data.Dataset(name="black", load=load, splits=splits_of_set, **shape))
    yield "black"
    del zoo.data.DATASETS["black"]


def test_validation_images_come_from_the_own_split_of_a_set(black, tmp_path):
    zoo.data.save(tmp_path / "black.npz", black)
    for file in (None, tmp_path / "black.npz"):
        training, validation = splits({"data": {"name": black, "validation": 2}}, file)
        assert (len(training), training.images.max()) == (5, 5)
        assert (len(validation), validation.images.max()) == (2, 3)
    training, validation = splits({"data": {"name": black}})
    assert (len(training), len(validation)) == (5, 0)
    with pytest.raises(ValueError, match="black/validation has 3 images, not 4"):
        splits({"data": {"name": black, "validation": 4}})
    with np.load(tmp_path / "black.npz") as file:
        kept = {name: file[name] for name in file.files if "validation" not in name}
    np.savez(tmp_path / "short.npz", **kept)
    with pytest.raises(ValueError, match="short.npz lacks x_validation"):
        splits({"data": {"name": black, "validation": 2}}, tmp_path / "short.npz")
    # A file of its own, under no name of a set, has the split too.
    own = {"name": str(tmp_path / "black.npz"), "validation": 2}
    training, validation = splits({"data": own})
    assert (len(training), validation.images.max()) == (5, 3)


def test_images_that_are_sorted_by_class_are_held_out_from_all_classes(tmp_path):
    labels = np.repeat([0, 1, 2], 100)
    images = np.broadcast_to(labels[:, None, None, None], (300, 2, 2, 1)).astype(np.uint8)
    np.savez(tmp_path / "sorted.npz", x_train=images, y_train=labels)
    own = {"name": str(tmp_path / "sorted.npz"), "validation": 50}
    for limit in ({}, {"images": 150}):
        parts = splits({"data": own | limit})
        for part, again in zip(parts, splits({"data": own | limit}), strict=True):
            assert set(part.labels) == {0, 1, 2}
            np.testing.assert_array_equal(part.images[:, 0, 0, 0], part.labels)
            np.testing.assert_array_equal(part.labels, again.labels)
        assert sum(map(len, parts)) == limit.get("images", 300)
