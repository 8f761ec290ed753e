"""Errors about the constructor arguments that replace those of a stored model."""

import inspect
import re
from collections.abc import Mapping
from typing import Any

from zoo.typing import Path


def require_arguments(kind: type, config: Mapping[str, Any], overrides: Mapping[str, Any]) -> None:
    """Raise unless a class of models has arguments of these names.

    Args:
        kind: the class.
        config: the stored arguments.
        overrides: the arguments that replace them.

    Raises:
        TypeError: naming the argument that the class does not have.
    """
    own: dict[str, None] = {}
    for base in kind.__mro__:
        # Keras's own arguments, beside these, have no effect on what a model computes.
        if base.__module__.partition(".")[0] not in ("keras", "builtins"):
            own.update(dict.fromkeys(inspect.signature(base.__init__).parameters))
    names = [name for name in own if name not in ("self", "args", "kwargs")]
    for name in overrides:
        if name not in {*names, *config, "name", "trainable", "dtype"}:
            raise TypeError(f"{kind.__name__} has no argument {name!r}; it has {', '.join(names)}")


def does_not_fit(path: Path, config: Mapping[str, Any], overrides: Mapping[str, Any]) -> str:
    """One line that says that overrides do not fit the stored weights, and what does.

    Args:
        path: the file with the weights.
        config: the stored arguments of the model.
        overrides: the arguments that replaced them.
    """
    changed = {name: value for name, value in overrides.items() if config.get(name, value) != value}
    own = {name: config[name] for name in changed}
    text = (
        f"{written(changed or overrides)} does not fit the weights in {path}, which are those of "
        f"{written(own) or 'other settings'}; weights=False makes the model without them"
    )
    return f"{text}. Or resize the images" if "image_shape" in changed else text


def written(arguments: Mapping[str, Any]) -> str:
    """Arguments as they stand in a call."""
    return ", ".join(f"{name}={value!r}" for name, value in arguments.items())


def in_one_line(error: BaseException) -> str:
    """What an error says, without the configuration that Keras prints along with it."""
    if unknown := re.search(r"Could not locate (class|function) '([^']+)'", str(error)):
        kind, name = unknown.groups()
        return (
            f"it uses the {kind} {name!r}, which is not registered here; in Python, import the "
            "module that defines and registers it, and load the file then"
        )
    if "safe_mode" in str(error):
        return (
            "it holds Python code, as a Lambda layer does, and code from a file is not run; "
            "replace the Lambda layer by layers of Keras"
        )
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # Keras puts the error that a constructor raised at the end.
    mark = "Error encountered during deserialization:"
    for line in lines:
        if line.startswith(mark):
            return line.removeprefix(mark).strip()
    # Weights that do not fit are described in the line after a general one.
    details = [line for line in lines if line.startswith("Layer ")]
    return (details or lines or [type(error).__name__])[0]
