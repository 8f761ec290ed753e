"""The classes whose objects a checkpoint may hold in its configuration.

A network of the user's own is stored in Keras's serialised form, which names classes and their
arguments. Keras would look for any class, and some of them run code or read files: lambdas, saved
TensorFlow programs, vocabularies. Which of them it refuses depends on its version. So each name is
looked up here first, in the same way as Keras does it.
"""

import operator
from typing import Any

import keras

from zoo.bounds.rules.rule import rule_for_type

# Parts of a network that are no layers with a rule.
_PARTS = (keras.layers.InputLayer, keras.DTypePolicy)
_BASES = (
    keras.initializers.Initializer,
    keras.regularizers.Regularizer,
    keras.constraints.Constraint,
)
# Keras's layers for augmentation that have no rule. They run no stored code and read no file, and a
# model of the zoo uses its augmentation in training only.
_AUGMENTATION = tuple(
    getattr(keras.layers, name)
    for name in (
        "AutoContrast",
        "CenterCrop",
        "ContrastLimitedAdaptiveHistogramEqualization",
        "Equalization",
        "Pipeline",
        "RandomCrop",
        "Resizing",
    )
    if hasattr(keras.layers, name)  # older versions of Keras lack some of them
)
# What Keras writes for arrays in a configuration, and the numbers in them.
_ARRAYS = ("__numpy__", "__tensor__")
_NUMBERS = ("bool", "uint8", "int32", "int64", "float16", "float32", "float64")


def require_allowed(config: Any) -> dict[str, type]:
    """Raise unless a configuration holds objects of allowed classes alone.

    These are: layers and operations that have a rule of :mod:`zoo.bounds` (the user's own as well,
    see :func:`zoo.bounds.register_rule`), Keras's layers for augmentation, Sequential and
    functional models of them, and initializers, regularizers and constraints.

    Args:
        config: nested dictionaries and lists, as JSON has them.

    Returns:
        The classes that are registered with Keras, by the names of their registration.

    Raises:
        ValueError: naming the class that is not allowed.
    """
    registered = {}
    rest = [config]
    while rest:
        value = rest.pop()
        if isinstance(value, dict):
            if "class_name" in value:
                registered.update(_require_allowed_object(value))
            rest += value.values()
        elif isinstance(value, (list, tuple)):
            rest += value
    return registered


def _require_allowed_object(value: dict[str, Any]) -> dict[str, type]:
    name, config = value["class_name"], value.get("config")
    if name == "__keras_tensor__":
        return {}
    if name in _ARRAYS:
        dtype = config.get("dtype") if isinstance(config, dict) else None
        if dtype not in _NUMBERS:
            raise ValueError(f"it has an array of {dtype!r}, which are not numbers")
        return {}
    found = _class_of(value)
    if found is None or not _is_allowed(found) or found.__name__ != name:
        raise ValueError(
            f"it names the class {value.get('module')}.{name}, which a checkpoint may not use; it "
            "may use layers that have a rule (see zoo.bounds.supported), Keras's layers for "
            "augmentation, initializers, regularizers and constraints"
        )
    registered = value.get("registered_name")
    return {registered: found} if isinstance(registered, str) else {}


def _class_of(value: dict[str, Any]) -> Any:
    """The class that Keras would find for an object, or None."""
    name, module, registered = (
        value.get(key) for key in ("class_name", "module", "registered_name")
    )
    # Without a module, Keras takes the object for one of an old version and goes other ways.
    if not (isinstance(name, str) and isinstance(module, str)):
        return None
    if isinstance(registered, str):
        found = keras.saving.get_registered_object(registered)
        if found is not None:
            return found
    package, _, path = f"{module}.{name}".partition(".")
    if package != "keras":
        return None
    try:
        return operator.attrgetter(path)(keras)
    except AttributeError:
        return None


def _is_allowed(found: Any) -> bool:
    if not isinstance(found, type):
        return False
    if found.__module__.startswith("keras.") and issubclass(found, keras.Model):
        # Keras has no public name for the class of its functional models.
        return found in (keras.Sequential, keras.Model) or found.__name__ == "Functional"
    if found in (*_PARTS, *_AUGMENTATION) or issubclass(found, _BASES):
        return True
    return rule_for_type(found) is not None
