"""An ordinary Keras model as a list of its layers, in the order in which they run."""

import contextlib
import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import keras
import numpy as np
from keras.src.models.functional import Functional

from zoo.bounds.model_state import parts_of, require_own_methods
from zoo.errors import UnsupportedLayerError
from zoo.ops.precision import float64
from zoo.typing import Array, Shape

# Layers that merge their inputs entry by entry. Keras broadcasts inputs of unequal shapes here,
# which the bounds do not support.
_ENTRY_BY_ENTRY = (keras.layers.Add, keras.layers.Subtract, keras.layers.Average)


@dataclasses.dataclass(frozen=True)
class Constant:
    """An operand that is a constant rather than a tensor of the network.

    Attributes:
        value: float64 array.
    """

    value: Array


@dataclasses.dataclass(frozen=True)
class Node:
    """One use of a layer, or of an operation such as the sum in ``a + b``.

    Attributes:
        layer: the Keras layer, or the ``keras.Operation``.
        inputs: tuple of the numbers of the input tensors: 0 is the model's input, ``i + 1`` is the
            output of node ``i``.
        input_shape: shape of the first input without the batch; None if the layer that computes
            this input cannot tell its output's shape.
        output_shape: shape of the output that Keras states, likewise.
        operands: for an operation, one item for each argument: the argument's index in ``inputs``,
            or a :class:`Constant`. Empty for a layer.
    """

    layer: keras.Operation
    inputs: tuple[int, ...]
    input_shape: Any
    operands: tuple[Constant | int, ...] = ()
    output_shape: Any = None


def nodes_of(model: keras.Model) -> list[Node]:
    """The layers of a model in the order in which they run, with nested models unfolded.

    Args:
        model: ``keras.Sequential`` or functional model, built, with one input and one output.

    Returns:
        List of :class:`Node`. The output of the last node is the output of the model.

    Raises:
        TypeError: if it is another kind of model.
        ValueError: if the model is not built, has several inputs or outputs, or has an input of
            unknown size.
        UnsupportedLayerError: if a layer is called with more than tensors; if an operation has
            arguments other than tensors and numbers; if inputs are not float32, or are added in
            different shapes; if a method of a layer was replaced.

    Examples:
        >>> import keras
        >>> from zoo.bounds.graph import nodes_of
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.ReLU(name="a")])
        >>> [node.layer.name for node in nodes_of(model)]
        ['a']
    """
    require_graph(model)
    require_own_methods(parts_of(model))
    if None in model.inputs[0].shape[1:]:
        raise ValueError(f"the model's input has an unknown size: {tuple(model.inputs[0].shape)}")
    nodes = []
    output = _unfold(model, _Place(0, tuple(model.inputs[0].shape[1:])), nodes)
    if not nodes:
        raise ValueError("the model has no layers")
    if output.index != len(nodes):
        raise ValueError("the model runs layers whose results its output does not depend on")
    return nodes


def first_nodes(model: keras.Model) -> list[Node]:
    """The nodes before the first layer or operation that :func:`nodes_of` does not support.

    Args:
        model: ``keras.Sequential`` or functional model, built, with one input and one output. Its
            input may be of unknown size.

    Raises:
        TypeError, ValueError: as of :func:`require_graph`.
    """
    require_graph(model)
    nodes = []
    # Operations may do what bounds have no notion of, such as having two results.
    with contextlib.suppress(Exception):
        _unfold(model, _Place(0, tuple(model.inputs[0].shape[1:])), nodes)
    return nodes


def require_graph(model: keras.Model) -> None:
    """Raise unless a model is a graph of layers that leads from one tensor to another one.

    Raises:
        TypeError: if it is neither a ``keras.Sequential`` nor a functional model.
        ValueError: if it is not built, or has several inputs or outputs.
    """
    if not is_graph(model):
        advice = "; keras.Model(model.inputs, model.outputs) is one, if `call` was not overridden"
        raise TypeError(
            "expected a keras.Sequential or a functional keras.Model, got "
            f"{type(model).__name__}{advice if getattr(model, 'inputs', None) else ''}"
        )
    if not model.built:
        raise ValueError("the model is not built: let it begin with a keras.Input")
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(
            f"the model must have one input and one output, "
            f"got {len(model.inputs)} and {len(model.outputs)}"
        )
    # Keras treats a list of one tensor like that tensor, but not a dictionary of one tensor, and
    # `output_shape` does not show the difference.
    for what, tensors in (("takes", "_inputs_struct"), ("returns", "_outputs_struct")):
        struct: Any = getattr(model, tensors, None)
        only = struct[0] if type(struct) in (list, tuple) else struct
        if type(only) in (dict, list, tuple):
            kind = "dict" if type(only) is dict else "nested list"
            raise ValueError(f"the model {what} a {kind} of tensors; it must be one tensor")


def advice_on(layer: keras.layers.Layer) -> str:
    """Advice for the error about an unsupported layer: what to write instead, if that is known.

    Args:
        layer: the Keras layer or operation that is refused.

    Returns:
        Text to append to the reason; it begins with a comma or a semicolon, or is empty.
    """
    softmax = (keras.activations.softmax, keras.activations.log_softmax)
    if type(layer) is keras.layers.Softmax or getattr(layer, "activation", None) in softmax:
        return ", which leaves the order of classes as it is: certify the model without it"
    if not isinstance(layer, keras.layers.Layer):
        return "; write it as a layer, such as keras.layers.ReLU or keras.layers.Reshape"
    return ""


def is_graph(model: object) -> bool:
    """Whether a layer is a ``keras.Sequential`` or a functional model, and no class of its own."""
    # Only these exact types are accepted, because a subclass may call its layers in another way.
    return type(model) in (keras.Sequential, Functional)


@dataclasses.dataclass(frozen=True)
class _Place:
    """A stand-in for a tensor: its number, as in :attr:`Node.inputs`, and its shape."""

    index: int
    shape: Shape | None


def _unfold(model: keras.Model, place: _Place, nodes: list[Node]) -> _Place:
    """Append the nodes of a model whose input is ``place``; return the place of its output."""
    expected = tuple(model.inputs[0].shape[1:])
    # Keras adds or drops an axis of one, so that the layers see another shape than the caller's.
    if place.shape is not None and (
        len(place.shape) != len(expected)
        or any(side not in (None, own) for side, own in zip(expected, place.shape, strict=True))
    ):
        raise UnsupportedLayerError(
            f"{model.name!r}, a model inside the model, takes inputs of shape {expected} but is "
            f"called with {place.shape}; shapes must be equal"
        )
    dtype = keras.backend.standardize_dtype(model.inputs[0].dtype)
    if dtype != "float32":
        raise UnsupportedLayerError(
            f"the input of {model.name!r} is {dtype}: Keras rounds images to it; make it float32"
        )
    if type(model) is keras.Sequential:
        for layer in model.layers:
            place = _call(layer, nodes, place)
        return place
    # Keras walks through its own graph here, with places instead of tensors.
    try:
        outputs = model._run_through_graph(
            [place],
            operation_fn=lambda layer: lambda *args, **kwargs: _call(layer, nodes, *args, **kwargs),
        )
    except ValueError as error:
        if "is not connected" not in str(error):
            raise
        # Each layer has one place here, so that a second output of one is never computed.
        raise UnsupportedLayerError(
            f"{model.name!r} has a layer or operation with several outputs; only layers with one "
            "output are supported"
        ) from None
    outputs = keras.tree.flatten(outputs)
    if len(outputs) != 1:
        raise UnsupportedLayerError(
            f"{model.name!r}, a model inside the model, has {len(outputs)} outputs, not one"
        )
    return outputs[0]


def _call(layer: keras.Operation, nodes: list[Node], *args: Any, **kwargs: Any) -> _Place:
    if not isinstance(layer, keras.layers.Layer):
        return _operate(layer, nodes, args, kwargs)
    parameters = inspect.signature(layer.call).parameters
    args, kwargs = called_with(layer, args, kwargs)
    places = keras.tree.flatten(args)
    # Keras records `training` even if the caller did not pass it: False, or the layer's own
    # default, which is True for layers of augmentation. `predict` passes on False instead.
    default = parameters.get("training")
    usual = (None, False) if default is None else (None, False, default.default)
    options = {
        name: value
        for name, value in kwargs.items()
        if value is not (parameters[name].default if name in parameters else None)
    }
    if options.get("training") in usual:
        options.pop("training", None)
    if "training" in options:
        raise UnsupportedLayerError(
            f"layer {layer.name!r} is called with training={options['training']}; certificates are "
            "of the model at inference, so call the layer without this argument"
        )
    if options or not all(isinstance(place, _Place) for place in places):
        raise UnsupportedLayerError(
            f"layer {layer.name!r} is called with {', '.join(options) or 'a constant'}; "
            "only tensors that come from the model's input are supported"
        )
    if is_graph(layer) and len(places) == 1:
        return _unfold(layer, places[0], nodes)
    if isinstance(layer, keras.layers.InputLayer):
        return places[0]
    if isinstance(layer, _ENTRY_BY_ENTRY) and len({place.shape for place in places}) > 1:
        given = " and ".join(str(place.shape) for place in places)
        raise UnsupportedLayerError(
            f"{type(layer).__name__} {layer.name!r} merges {given}; shapes must be equal"
        )
    shape = _output_shape(layer, places, isinstance(args[0], (list, tuple)))
    inputs = tuple(place.index for place in places)
    nodes.append(Node(layer, inputs, places[0].shape, output_shape=shape))
    return _Place(len(nodes), shape)


def called_with(
    layer: keras.Operation, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a layer's call, with an input that is given by name as the first one."""
    first = next(iter(inspect.signature(layer.call).parameters), "")
    if args or first not in kwargs:
        return args, kwargs
    return (kwargs[first],), {name: kwargs[name] for name in kwargs if name != first}


def _operate(
    operation: keras.Operation, nodes: list[Node], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> _Place:
    """Append the node of an operation on tensors and constants; return the place of its output."""
    operands, places, symbolic = [], [], []
    for argument in args:
        if isinstance(argument, _Place):
            operands.append(len(places))
            places.append(argument)
            symbolic.append(keras.KerasTensor((None, *(argument.shape or ()))))
        else:
            operands.append(_constant(operation, argument))
            symbolic.append(argument)
    if any(value is not None for value in kwargs.values()) or not places:
        _refuse_operation(operation)
    try:
        output = operation.compute_output_spec(*symbolic)
    except Exception:  # the shape of an operand is not known, for example
        _refuse_operation(operation)
    if not isinstance(output, keras.KerasTensor):
        _refuse_operation(operation)
    shapes = {place.shape for place in places} | {tuple(output.shape[1:])}
    if len(shapes) > 1 or output.shape[0] is not None or output.dtype != "float32":
        given = ", ".join(str(np.shape(operand)) for operand in symbolic)
        raise UnsupportedLayerError(
            f"ops.{type(operation).__name__} {operation.name!r} makes {output.dtype} "
            f"{output.shape} of {given}; all tensors must be float32 and of one shape"
            f"{advice_on(operation)}"
        )
    inputs = tuple(place.index for place in places)
    nodes.append(Node(operation, inputs, places[0].shape, tuple(operands), places[0].shape))
    return _Place(len(nodes), places[0].shape)


def _constant(operation: keras.Operation, argument: Any) -> Constant:
    if isinstance(argument, keras.Variable):
        raise UnsupportedLayerError(
            f"ops.{type(operation).__name__} {operation.name!r} has a variable as an operand, "
            "which can change; write it as a layer"
        )
    try:
        return Constant(float64(argument))
    except (TypeError, ValueError):
        _refuse_operation(operation)


def _refuse_operation(operation: keras.Operation) -> NoReturn:
    raise UnsupportedLayerError(
        f"ops.{type(operation).__name__} {operation.name!r} is an operation with "
        "arguments other than tensors and numbers; write it as a layer"
    )


def _output_shape(layer: keras.layers.Layer, places: Sequence[Any], as_list: bool) -> Shape | None:
    """The shape of a layer's output without the batch; None if the layer cannot tell it.

    A custom layer may have no ``compute_output_shape``, or one that raises. That is not reported
    here, because a layer without a rule is refused later by its name.
    """

    def by_its_method() -> Any:
        shapes = [(None, *place.shape) for place in places]
        return layer.compute_output_shape(shapes if as_list else shapes[0])

    def by_a_symbolic_call() -> Any:
        tensors = [keras.KerasTensor((None, *place.shape)) for place in places]
        return layer.compute_output_spec(tensors if as_list else tensors[0]).shape

    for shape in (by_its_method, by_a_symbolic_call):
        try:
            return tuple(shape()[1:])
        except Exception:  # a user's layer may raise anything
            continue
    return None
