"""What a model's function depends on: the types, settings, methods and weights of its layers."""

import dataclasses
import functools
import hashlib
import inspect
import types
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from zoo.errors import UnsupportedLayerError
from zoo.ops.arithmetic import settings_of_backend

# Methods that Keras itself replaces on instances, and an attribute of models that has the name of
# a method.
_REPLACED_BY_KERAS = {"build", "quantize", "loss"}
# Attributes that Keras sets on every layer or model and that do not change what it computes.
_IRRELEVANT = {
    "build",
    "built",
    "call_signature_parameters",
    "compiled",
    "history",
    "loss",
    "name",
    "optimizer",
    "predict_function",
    "quantize",
    "steps_per_execution",
    "stop_evaluating",
    "stop_predicting",
    "stop_training",
    "test_function",
    "train_function",
    "unrolled_steps_per_execution",
}


# Private attributes that Keras sets on models while they are compiled, fitted or evaluated.
_OF_TRAINING = {
    "_compile_config",
    "_compiled_trainable_state",
    "_eval_epoch_iterator",
    "_jax_state",
}
# Private attributes that the bookkeeping of TensorFlow and of this package set begin like this.
_NOT_THE_USERS = ("_self_", "_tf_", "_zoo_")


def settings_of(model: keras.layers.Layer) -> list[Any]:
    """Everything that a model's function depends on, except for the values of its weights.

    Args:
        model: any Keras layer or model.

    Returns:
        A list that equals the list of an earlier call exactly when no layer or operation was
        exchanged and no public attribute of one has another value. Numbers, arrays and tensors are
        compared by value. Functions, weights and other objects are compared by identity, because
        two functions may have the same name. Of a layer of the user's own, private attributes
        count as well, because a property keeps its value in one.
    """
    # Layers read these settings of Keras when they are called.
    everywhere = (keras.config.epsilon(), keras.config.image_data_format())
    layers = [
        (
            _Identity(layer),
            type(layer),
            getattr(layer, "compute_dtype", None),
            [(name, _frozen(value)) for name, value in vars(layer).items() if _counts(layer, name)],
            _constants_of(layer),
        )
        for layer in parts_of(model)
    ]
    return [everywhere, *layers]


def _counts(layer: keras.Operation, name: str) -> bool:
    """Whether an attribute of a layer may be a setting that its function depends on."""
    if name.startswith("_"):
        private = name in _private_names() or name.startswith(_NOT_THE_USERS)
        return is_the_users(layer) and not private
    return name not in _IRRELEVANT


def is_the_users(layer: keras.Operation) -> bool:
    """Whether the class of a layer or operation is the user's own.

    A class that is derived from one of this package does not count: its private attributes are
    mostly those of this package.
    """
    packages = [kind.__module__.partition(".")[0] for kind in type(layer).__mro__]
    return packages[0] != "keras" and "zoo" not in packages


@functools.cache
def _private_names() -> set[str]:
    """The private attributes that Keras gives to every layer and model, some only while fitting."""
    return {*vars(keras.layers.Layer()), *vars(keras.Model()), *_OF_TRAINING}


def _constants_of(part: keras.Operation) -> list[Any]:
    """The numbers and arrays that an operation such as ``x * c`` has beside tensors."""
    nodes = [] if isinstance(part, keras.layers.Layer) else part._inbound_nodes[:1]
    arguments = keras.tree.flatten([(node.arguments.args, node.arguments.kwargs) for node in nodes])
    return [_frozen(value) for value in arguments if not isinstance(value, keras.KerasTensor)]


def parts_of(model: keras.layers.Layer) -> list[keras.Operation]:
    """All layers of a model and of the models inside it, and the operations such as ``a + b``."""
    layers = list(model._flatten_layers())
    operations = [
        operation
        for layer in layers
        if isinstance(layer, keras.Model)
        for operation in getattr(layer, "operations", ())
        if not isinstance(operation, keras.layers.Layer)
    ]
    return [*layers, *operations]


def digest_of_weights(model: keras.layers.Layer) -> bytes:
    """A hash of the values of all weights of a model: bytes."""
    found = hashlib.sha256()
    for weight in model.get_weights():
        found.update(np.ascontiguousarray(weight).tobytes())
    return found.digest()


def state_of(model: keras.layers.Layer) -> tuple[list[Any], bytes]:
    """Settings and weights together: equal to an earlier state exactly when nothing changed."""
    return settings_of(model), digest_of_weights(model)


def drop_predict_program(model: keras.Model) -> None:
    """Let an ordinary Keras model compile its next ``predict`` anew.

    Which settings Keras compiled its present program with is not known: a setting may have been
    changed before, and changed back since.
    """
    model.predict_function = None


def drop_outdated_program(model: keras.Model, name: str) -> None:
    """Make Keras compile a program anew if a setting has changed since it was compiled.

    Keras keeps the compiled functions of ``fit``, ``evaluate`` and ``predict``. If a setting is
    changed afterwards, ``model(x)`` and the certificate follow, but those functions do not. The
    backend's settings count as well: XLA compiles the precision of products into a program.

    Args:
        model: any Keras model.
        name: ``"train_function"``, ``"test_function"`` or ``"predict_function"``.
    """
    # This goes past Keras's attribute tracking, which would track the layers in the list again.
    compiled_with = vars(model).setdefault("_zoo_settings", {})
    settings = settings_of(model), settings_of_backend()
    if compiled_with.get(name) != settings:
        setattr(model, name, None)
        compiled_with[name] = settings


def require_own_methods(parts: Iterable[keras.Operation]) -> None:
    """Raise if a method of a layer or an operation was replaced on the instance.

    A certificate follows from what the class of a layer computes. A function that was assigned to
    ``layer.call`` computes something else.

    Args:
        parts: Keras layers, models and operations, see :func:`parts_of`.

    Raises:
        zoo.UnsupportedLayerError: naming the layer and the method.
    """
    for layer in parts:
        for name in vars(layer):
            if name not in _REPLACED_BY_KERAS and inspect.isroutine(
                getattr(type(layer), name, None)
            ):
                raise UnsupportedLayerError(
                    f"{name}() of {type(layer).__name__} {layer.name!r} was replaced on the "
                    "instance, so what it computes is not known; remove the replacement"
                )


def require_float32_weight(layer: keras.layers.Layer, name: str) -> None:
    """Raise unless an attribute of a layer is itself a float32 weight.

    A kernel that is computed from other weights, such as LoRA's ``kernel + A @ B`` or a quantised
    kernel, is rounded differently by each way of executing the layer.

    Args:
        layer: a built Keras layer.
        name: name of the attribute, such as ``"kernel"``.

    Raises:
        zoo.UnsupportedLayerError: naming the layer.
    """
    value = getattr(layer, name)
    if not isinstance(value, keras.Variable) or all(value is not w for w in layer.weights):
        raise UnsupportedLayerError(
            f"the {name} of {type(layer).__name__} {layer.name!r} is computed from other weights "
            "(LoRA or quantisation, for example), and each way of executing the layer rounds it "
            "differently; store the result as an ordinary weight first"
        )
    if keras.backend.standardize_dtype(value.dtype) != "float32":
        raise UnsupportedLayerError(
            f"the {name} of {type(layer).__name__} {layer.name!r} is {value.dtype}, not float32"
        )


class _Identity:
    """Compares an object by identity. It holds the object, so that its id cannot be reused."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and self.value is other.value

    __hash__ = None  # pyright: ignore[reportAssignmentType] (no hash, on purpose)


@dataclasses.dataclass(frozen=True)
class _Symbolic:
    """Stands for any tensor without a value."""


def _frozen(value: Any) -> Any:
    """A copy of a setting that can be compared by ``==``."""
    if isinstance(value, (bool, int, str, bytes, types.NoneType)):
        return type(value), value
    if isinstance(value, float):
        return float, repr(value)
    if isinstance(value, (np.ndarray, np.generic)):
        return value.dtype.str, np.shape(value), np.ascontiguousarray(value).tobytes()
    if hasattr(value, "__array__") and not isinstance(value, keras.Variable):
        # This is a tensor, or a variable of the backend that Keras does not track as a weight.
        try:
            return _frozen(np.asarray(value))
        except Exception:  # each backend raises another type of error
            return _Symbolic()  # left over from tracing; no result depends on it
    if isinstance(value, (tuple, list)):
        return [_frozen(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(map(repr, value))
    if isinstance(value, dict):
        return [(key, _frozen(item)) for key, item in value.items()]
    return _Identity(value)
