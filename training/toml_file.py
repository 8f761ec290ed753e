"""Read TOML files and check them against a schema."""

import tomllib

from jsonschema.exceptions import best_match
from jsonschema.validators import validator_for


def table(required, optional=None):
    """The JSON schema of a table that has these keys and no others.

    Args:
        required: dictionary from key to schema for the keys that every such table has.
        optional: dictionary from key to schema for the keys that such a table may have.
    """
    properties = {**required, **(optional or {})}
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def read(path):
    """The content of a TOML file as nested dictionaries.

    Args:
        path: a :class:`pathlib.Path`.

    Raises:
        ValueError: naming the file and the line that is not valid TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {error}") from error


def check(content, schema, origin):
    """Raise unless the content fits the schema.

    Args:
        content: nested dictionaries.
        schema: JSON schema.
        origin: text that the error begins with, such as the path of the file.

    Raises:
        ValueError: naming the origin and the entry that is wrong.
    """
    # jsonschema.validate would check the schema as well, every time, which takes far longer.
    validator = validator_for(schema)(schema)
    error = best_match(validator.iter_errors(content))
    if error is not None:
        place = ".".join(map(str, error.absolute_path)) or "the file"
        raise ValueError(f"{origin}: {place}: {error.message}") from error


def merged(base, changes):
    """A copy of nested dictionaries in which some entries are replaced.

    Args:
        base: nested dictionaries.
        changes: nested dictionaries. Dictionaries are merged; any other value replaces the entry
            with the same keys.

    Examples:
        >>> from training.toml_file import merged
        >>> merged({"training": {"epochs": 3, "batch_size": 8}}, {"training": {"epochs": 1}})
        {'training': {'epochs': 1, 'batch_size': 8}}
    """
    result = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else value
    return result
