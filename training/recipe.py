"""Recipes: one TOML file holds everything about one training run."""

import pathlib
import tomllib

import jsonschema

from zoo.epsilon import Epsilon

RECIPES = pathlib.Path(__file__).parent / "recipes"

_NUMBER = {"type": "number"}
_COUNT = {"type": "integer", "minimum": 1}


def _table(required, optional=None):
    properties = {**required, **(optional or {})}
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


_SCHEMA = _table(
    {
        "approach": {"type": "string"},
        "seed": {"type": "integer", "minimum": 0},
        "data": _table(
            {"name": {"type": "string"}},
            {"validation": {"type": "integer", "minimum": 0}, "images": _COUNT},
        ),
        "model": {
            "type": "object",
            "properties": {"class": {"type": "string"}},
            "required": ["class"],
        },
        "training": _table(
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
                # Of all weights at each step, by this times the learning rate.
                "weight_decay": _NUMBER,
                # Epochs at which the learning rate falls to a tenth, in place of a cosine.
                "drops": {"type": "array", "items": _COUNT},
            },
        ),
        "measure": _table(
            {
                "eps": {"type": "array", "items": {"type": ["number", "string"]}},
                "attack_steps": _COUNT,
                "attack_restarts": _COUNT,
            },
            {
                "attacks": {"type": "array", "items": {"enum": ["fgsm", "pgd"]}},
                # Of the certificates of its norm; all, without it.
                "methods": {"type": "array", "items": {"type": "string"}, "minItems": 1},
                # Of the test set the first so many, where a certificate takes its time.
                "images": _COUNT,
            },
        ),
    },
    {
        "notes": {"type": "string"},
        "float16": {"type": "boolean"},
        "augment": _table(
            {}, {"shift": {"type": "integer", "minimum": 0}, "flip": {"type": "boolean"}}
        ),
        "p_schedule": _table(
            {
                "first": _NUMBER,
                "last": _NUMBER,
                "start_epoch": {"type": "integer", "minimum": 0},
                "end_epoch": _COUNT,
            },
            {"cross_entropy_weight_last": _NUMBER},
        ),
        "epsilon_schedule": _table({"epochs": _COUNT}),
    },
)


def names():
    """Names of the recipes that ship, sorted."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def load(name):
    """Read and check a recipe.

    Args:
        name: of a shipped recipe, or the path of a ``.toml`` file.

    Returns:
        The recipe as nested dictionaries, with ``name`` added.

    Raises:
        FileNotFoundError: if there is no such recipe.
        ValueError: naming the file and the entry that is wrong.
    """
    path = pathlib.Path(name) if str(name).endswith(".toml") else RECIPES / f"{name}.toml"
    if not path.is_file():
        raise FileNotFoundError(f"no recipe {name!r}; there are: {', '.join(names())}")
    try:
        recipe = tomllib.loads(path.read_text(encoding="utf-8"))
        jsonschema.validate(recipe, _SCHEMA)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: {error}") from error
    except jsonschema.ValidationError as error:
        place = ".".join(map(str, error.absolute_path)) or "the recipe"
        raise ValueError(f"{path}: {place}: {error.message}") from error
    try:
        for eps in recipe["measure"]["eps"]:
            Epsilon(eps)
    except ValueError as error:
        raise ValueError(f"{path}: measure.eps: {error}") from error
    return {"name": path.stem, **recipe}
