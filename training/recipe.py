"""Recipes: a TOML file that holds all settings of a training run."""

import importlib
import pathlib

from training import toml_file
from training.toml_file import table
from zoo.epsilon import Epsilon
from zoo.utils.paths import expanded

RECIPES = pathlib.Path(__file__).parent / "recipes"

_NUMBER = {"type": "number"}
_COUNT = {"type": "integer", "minimum": 1}


_SCHEMA = table(
    {
        "approach": {"type": "string"},
        "seed": {"type": "integer", "minimum": 0},
        "data": table(
            {"name": {"type": "string"}},
            {"validation": {"type": "integer", "minimum": 0}, "images": _COUNT},
        ),
        "model": {
            "type": "object",
            "properties": {"class": {"type": "string"}, "module": {"type": "string"}},
            "required": ["class"],
        },
        "training": table(
            {
                "epochs": _COUNT,
                "batch_size": _COUNT,
                "learning_rate": _NUMBER,
            },
            {
                "optimizer": {"enum": ["adam", "sgd"]},
                "beta_1": _NUMBER,
                "beta_2": _NUMBER,
                "epsilon": _NUMBER,
                "momentum": _NUMBER,
                # At each step, all weights decay by this factor times the learning rate.
                "weight_decay": _NUMBER,
                # Epochs at which the learning rate falls to a tenth. Without this entry it follows
                # half a cosine; with an empty list it is constant.
                "drops": {"type": "array", "items": _COUNT},
                # Whether XLA compiles the training step; without this entry, Keras decides.
                "jit_compile": {"type": "boolean"},
                # A loss that replaces the model's own.
                "loss": {"enum": ["cross_entropy"]},
            },
        ),
        "measure": table(
            {
                "eps": {"type": "array", "items": {"type": ["number", "string"]}, "minItems": 1},
                "attack_steps": _COUNT,
                "attack_restarts": _COUNT,
            },
            {
                "attacks": {"type": "array", "items": {"type": "string"}},
                # Methods of the certificates to measure; without this entry, all of the norm.
                "methods": {"type": "array", "items": {"type": "string"}, "minItems": 1},
                # Number of test images, and of validation images after a run, to measure. It limits
                # the time that a slow certificate takes.
                "images": _COUNT,
                # Number of those test images to attack; without this entry, all of them.
                "attacked_images": _COUNT,
            },
        ),
    },
    {
        "notes": {"type": "string"},
        "float16": {"type": "boolean"},
        "augment": table(
            {}, {"shift": {"type": "integer", "minimum": 0}, "flip": {"type": "boolean"}}
        ),
        "p_schedule": table(
            {
                "first": _NUMBER,
                "last": _NUMBER,
                "start_epoch": {"type": "integer", "minimum": 0},
                "end_epoch": _COUNT,
            },
            {"cross_entropy_weight_last": _NUMBER},
        ),
        "epsilon_schedule": table({"epochs": _COUNT}),
        # The training ends early if the accuracy on the validation images has not risen by more
        # than min_delta for `patience` epochs. The first start_epoch epochs are ignored.
        "stop": table(
            {"patience": _COUNT},
            {
                "min_delta": {"type": "number", "minimum": 0},
                "start_epoch": {"type": "integer", "minimum": 0},
            },
        ),
        # After each epoch, the history records the mean margin of the first test images, and the
        # margin that the certified Lipschitz constant requires.
        "monitor": table({"quantity": {"enum": ["margin"]}, "images": _COUNT}),
    },
)


def names():
    """Sorted names of the recipes in :data:`RECIPES`."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def load(name, overrides=None):
    """Read and check a recipe.

    Args:
        name: name of a recipe in :data:`RECIPES`, or the path of a ``.toml`` file.
        overrides: nested dictionaries of entries that replace entries of the file or are added.

    Returns:
        The recipe as nested dictionaries, with ``name`` added.

    Raises:
        FileNotFoundError: if there is no such recipe.
        ValueError: naming the file and the entry that is wrong.
    """
    path = _path(name)
    if not path.is_file():
        raise FileNotFoundError(f"no recipe {name!r}; there are: {', '.join(names())}")
    recipe = toml_file.merged(toml_file.read(path), overrides or {})
    origin = f"{path}, with overrides" if overrides else path
    toml_file.check(recipe, _SCHEMA, origin)
    try:
        for eps in recipe["measure"]["eps"]:
            Epsilon(eps)
    except ValueError as error:
        raise ValueError(f"{origin}: measure.eps: {error}") from error
    if "stop" in recipe and not recipe["data"].get("validation"):
        raise ValueError(f"{origin}: stop needs validation images; set data.validation")
    return {"name": path.stem, **recipe}


def _path(name):
    return expanded(name) if str(name).endswith(".toml") else RECIPES / f"{name}.toml"


def require_checkpoint(name):
    """Raise if a recipe is one of the papers' tables, which do not make checkpoints.

    Args:
        name: as for :func:`load`.

    Raises:
        ValueError: saying how a network of the tables is measured.
    """
    # A recipe of the tables may have the name of a checkpoint, whose record it must not replace.
    if _path(name).resolve().parent == RECIPES.resolve() / "tables":
        raise ValueError(
            f"{name} is a recipe of the papers' tables, not of a checkpoint; "
            "python -m training.tables measures it"
        )


def import_module(recipe):
    """Import the module, if a recipe names one, that registers the recipe's model class.

    Raises:
        ValueError: if there is no such module.
    """
    module = recipe["model"].get("module")
    if module is None:
        return
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise ValueError(f"recipe {recipe['name']}: {error}") from error
