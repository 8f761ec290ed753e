"""An ordinary Keras model as a list of its layers in the order they run."""

import dataclasses
import functools

import keras
import numpy as np

from zoo.bounds.model_state import require_own_methods
from zoo.errors import UnsupportedLayerError

# Layers that merge their inputs entry by entry, and would broadcast unequal shapes.
_ENTRY_BY_ENTRY = (keras.layers.Add, keras.layers.Subtract, keras.layers.Average)


@dataclasses.dataclass(frozen=True)
class Constant:
    """An operand that is no tensor of the network.

    Attributes:
        value: float64 array.
    """

    value: np.ndarray


@dataclasses.dataclass(frozen=True)
class Node:
    """One use of a layer, or of an operation such as the sum in ``a + b``.

    Attributes:
        layer: the Keras layer, or the ``keras.Operation``.
        inputs: which outputs go in: 0 is the model's input, ``i + 1`` is node ``i``'s output.
        input_shape: of the first input, without the batch; None after a layer that does not tell
            the shape of its output.
        operands: of an operation: for each argument its place among ``inputs``, or a
            :class:`Constant`; None for a layer.
    """

    layer: keras.Operation
    inputs: tuple
    input_shape: tuple | None
    operands: tuple | None = None


def nodes_of(model):
    """The layers of a model, models inside it unfolded, in the order they run.

    Args:
        model: ``keras.Sequential`` or functional model, built, with one input and one output.

    Returns:
        List of :class:`Node`; the last one's output is the model's.

    Raises:
        TypeError: if it is another kind of model.
        ValueError: if it is not built, has several inputs or outputs, or one of unknown size.
        UnsupportedLayerError: if a layer is called with more than tensors, or is a bare operation;
            if inputs are not float32, or are added in different shapes; if a method of a layer was
            replaced.

    Example:

    >>> import keras
    >>> from zoo.bounds.graph import nodes_of
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.ReLU(name="a")])
    >>> [node.layer.name for node in nodes_of(model)]
    ['a']
    """
    if not _is_graph(model):
        raise TypeError(
            f"expected a keras.Sequential or a functional keras.Model, got {type(model).__name__}"
        )
    if not model.built:
        raise ValueError("the model is not built: let it begin with a keras.Input")
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(
            f"the model must have one input and one output, "
            f"got {len(model.inputs)} and {len(model.outputs)}"
        )
    # Keras forgets in `output_shape` that a single tensor is inside something.
    for what, tensors in (("takes", "_inputs_struct"), ("returns", "_outputs_struct")):
        kind = type(getattr(model, tensors, None))
        # Keras itself puts one tensor into a list of inputs, but not into a dictionary.
        if kind is dict or (what == "returns" and kind in (list, tuple)):
            raise ValueError(
                f"the model {what} a {kind.__name__} of tensors; it must be one tensor"
            )
    require_own_methods(model._flatten_layers())
    if None in model.inputs[0].shape[1:]:
        raise ValueError(f"the model's input has an unknown size: {tuple(model.inputs[0].shape)}")
    nodes = []
    output = _unfold(model, _Place(0, tuple(model.inputs[0].shape[1:])), nodes)
    if not nodes:
        raise ValueError("the model has no layers")
    if output.index != len(nodes):
        raise ValueError("the model runs layers that its output does not come from")
    return nodes


def advice_on(layer):
    """What to say of a layer that is refused, after its name: how to do without a softmax.

    Args:
        layer: the Keras layer.

    Returns:
        Text that begins with a comma, or is empty.
    """
    softmax = (keras.activations.softmax, keras.activations.log_softmax)
    if type(layer) is keras.layers.Softmax or getattr(layer, "activation", None) in softmax:
        return ", which leaves the order of classes as it is: certify the model without it"
    return ""


def _is_graph(model):
    # Exact types: a subclass may call its layers in another way.
    return type(model) in (keras.Sequential, _functional())


@functools.cache
def _functional():
    """The class of functional models, which Keras does not name."""
    inputs = keras.Input((1,))
    return type(keras.Model(inputs, inputs))


@dataclasses.dataclass(frozen=True)
class _Place:
    """What stands for a tensor."""

    index: int
    shape: tuple | None


def _unfold(model, place, nodes):
    """Append the nodes of a model given ``place``; return the place of its output."""
    dtype = keras.backend.standardize_dtype(model.inputs[0].dtype)
    if dtype != "float32":
        raise UnsupportedLayerError(
            f"the input of {model.name!r} is {dtype}: Keras rounds images to it; make it float32"
        )
    if type(model) is keras.Sequential:
        for layer in model.layers:
            place = _call(layer, nodes, place)
        return place
    # Keras's own walk through its graph, with places instead of tensors.
    outputs = model._run_through_graph(
        [place],
        operation_fn=lambda layer: lambda *args, **kwargs: _call(layer, nodes, *args, **kwargs),
    )
    outputs = keras.tree.flatten(outputs)
    if len(outputs) != 1:
        raise UnsupportedLayerError(
            f"{model.name!r}, a model inside the model, has {len(outputs)} outputs, not one"
        )
    return outputs[0]


def _call(layer, nodes, *args, **kwargs):
    if not isinstance(layer, keras.layers.Layer):
        return _operate(layer, nodes, args, kwargs)
    places = keras.tree.flatten(args)
    # Keras notes training=False where nobody asked for anything.
    options = {name: value for name, value in kwargs.items() if value not in (None, False)}
    if options or not all(isinstance(place, _Place) for place in places):
        raise UnsupportedLayerError(
            f"layer {layer.name!r} is called with {', '.join(options) or 'a constant'}; "
            "only tensors that come from the model's input are supported"
        )
    if _is_graph(layer) and len(places) == 1:
        return _unfold(layer, places[0], nodes)
    if isinstance(layer, keras.layers.InputLayer):
        return places[0]
    if isinstance(layer, _ENTRY_BY_ENTRY) and len({place.shape for place in places}) > 1:
        given = " and ".join(str(place.shape) for place in places)
        raise UnsupportedLayerError(
            f"{type(layer).__name__} {layer.name!r} merges {given}; shapes must be equal"
        )
    nodes.append(Node(layer, tuple(place.index for place in places), places[0].shape))
    return _Place(len(nodes), _output_shape(layer, places, isinstance(args[0], (list, tuple))))


def _operate(operation, nodes, args, kwargs):
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
    output = operation.compute_output_spec(*symbolic)
    shapes = {place.shape for place in places} | {tuple(output.shape[1:])}
    if len(shapes) > 1 or output.shape[0] is not None or output.dtype != "float32":
        given = ", ".join(str(np.shape(operand)) for operand in symbolic)
        raise UnsupportedLayerError(
            f"{type(operation).__name__} {operation.name!r} makes {output.dtype} {output.shape} of "
            f"{given}; all tensors must be float32 and of one shape"
        )
    inputs = tuple(place.index for place in places)
    nodes.append(Node(operation, inputs, places[0].shape, tuple(operands)))
    return _Place(len(nodes), places[0].shape)


def _constant(operation, argument):
    try:
        return Constant(np.asarray(keras.ops.convert_to_numpy(argument), np.float64))
    except (TypeError, ValueError):
        _refuse_operation(operation)


def _refuse_operation(operation):
    raise UnsupportedLayerError(
        f"{type(operation).__name__} {operation.name!r} is an operation with arguments other than "
        "tensors and numbers; write it as a layer"
    )


def _output_shape(layer, places, as_list):
    """The shape of a layer's output without the batch; None where the layer cannot tell it.

    A custom layer may have no ``compute_output_shape``, or one that fails. It has no bounds either,
    and the caller refuses it by name.
    """

    def by_its_method():
        shapes = [(None, *place.shape) for place in places]
        return layer.compute_output_shape(shapes if as_list else shapes[0])

    def by_a_symbolic_call():
        tensors = [keras.KerasTensor((None, *place.shape)) for place in places]
        return layer.compute_output_spec(tensors if as_list else tensors[0]).shape

    for shape in (by_its_method, by_a_symbolic_call):
        try:
            return tuple(shape()[1:])
        except Exception:  # a user's layer may raise anything.
            continue
    return None
