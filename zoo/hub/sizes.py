"""Check that a model fits its weight file before memory is allocated for it."""

import collections
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import keras

from zoo.bounds.graph import nodes_of
from zoo.models import CertifiedModel
from zoo.models.wrapped_model import WrappedModel, network_from
from zoo.typing import Shape

# Arguments that set the number of layers: a number, or a list with an entry for each layer.
_LAYERS = ("depth", "filters", "hidden")
# No tensor in a network may have more entries for one image: 1 GiB of float32.
_LARGEST_TENSOR = 2**28

_Result = TypeVar("_Result")


class UnlikeFile(Exception):
    """The configuration asks for a weight that the file does not hold."""


def require_fit(
    kind: type[CertifiedModel],
    arguments: dict[str, Any],
    stored: Sequence[Shape],
    registered: Mapping[str, type],
) -> None:
    """Raise unless all weights of a model are in its weight file.

    Args:
        kind: class of the model.
        arguments: its configuration.
        stored: shapes of the arrays in the file.
        registered: classes by the names under which the configuration has them.

    Raises:
        UnlikeFile: naming a weight that the file does not hold.
        Exception: whatever the constructor raises.
    """
    network: Any = arguments.get("network")
    for table in (arguments, network if isinstance(network, dict) else {}):
        for name in _LAYERS:
            value = table.get(name)
            count = value if name == "depth" else len(value) if isinstance(value, list) else 0
            if isinstance(count, int) and count > len(stored):
                raise UnlikeFile(
                    f"{name} asks for {count} layers, and the file has {len(stored)} arrays"
                )
    if issubclass(kind, WrappedModel):
        # The constructor computes with the network, so the network is looked at first.
        shapes, tensors = _without_memory(lambda: _network_shapes(kind, network), registered)
        _require_in(stored, shapes)
        for tensor in tensors:
            if math.prod(tensor) > _LARGEST_TENSOR:
                raise ValueError(f"a layer takes tensors of the shape {tensor}")
    try:
        shapes = _without_memory(lambda: _shapes_of(kind.from_config(arguments)), registered)
    except Exception:
        # Constructors of other packages may need the values of their weights.
        if kind.__module__.partition(".")[0] == "zoo":
            raise
        return
    _require_in(stored, shapes)


def _without_memory(make: Callable[[], _Result], registered: Mapping[str, type]) -> _Result:
    """The result of a function whose new variables get a shape but no value.

    Keras would remember these variables and give them values later. It does so for each thread, and
    this thread ends here.
    """
    results: list[_Result] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            scope = keras.StatelessScope(initialize_variables=False)
            with keras.saving.custom_object_scope(dict(registered)), scope:
                results.append(make())
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _network_shapes(kind: type[WrappedModel], network: Any) -> tuple[list[Shape], list[Shape]]:
    """The shapes of the weights of a network, and of the tensors that its layers take."""
    model = network_from(network, kind.networks)
    return _shapes_of(model), [tuple(node.input_shape or ()) for node in nodes_of(model)]


def _shapes_of(model: keras.Model) -> list[Shape]:
    return [tuple(weight.shape) for weight in model.weights]


def _require_in(stored: Sequence[Shape], needed: Sequence[Shape]) -> None:
    missing = collections.Counter(needed) - collections.Counter(stored)
    if missing:
        shape = max(missing, key=math.prod)
        raise UnlikeFile(f"it has no array of the shape {shape}, which the configuration asks for")
