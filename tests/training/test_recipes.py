"""Recipes."""

import pytest

from training import recipe as recipes
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
