"""A classifier without the softmax or sigmoid at its end: a network that ends in logits."""

import dataclasses
from typing import Any

import keras
import numpy as np

from zoo.bounds.graph import called_with, is_graph, require_graph
from zoo.bounds.model_state import parts_of, require_own_methods, settings_of
from zoo.layers.dense import Dense

#: Float32 may round the probabilities of logits that are closer to each other to equal numbers.
#: A softmax or sigmoid makes errors of a few units in the last place, 1e-7, near such a tie.
LEAST_MARGIN = 1e-5

_LEFT_OFF = {
    keras.activations.softmax: "softmax",
    keras.activations.log_softmax: "log_softmax",
    keras.activations.sigmoid: "sigmoid",
}


@dataclasses.dataclass(frozen=True)
class LogitNetwork:
    """A network that ends in logits, and how it came from a classifier.

    Attributes:
        network: a Keras model that shares the layers of the classifier; the classifier itself if
            nothing was left off.
        left_off: ``"softmax"``, ``"log_softmax"`` or ``"sigmoid"``, which the classifier has at its
            end and the network has not; None if nothing was left off. The one output of a sigmoid
            is the probability of class 1, and the network has the logits ``(0, z)``.
        twins: pairs of a dense layer of the classifier with such an activation, and the layer
            without it that stands for it in the network.
    """

    network: Any
    left_off: str | None = None
    twins: tuple[tuple[Any, Any], ...] = ()

    @property
    def least_margin(self) -> float:
        """What a logit must be ahead by, so that its probability is the largest in float32 too."""
        return LEAST_MARGIN if self.left_off else 0.0

    def classes(self, outputs: Any) -> Any:
        """The classes that outputs of the classifier stand for: int64 array ``(n,)``."""
        outputs = keras.ops.convert_to_numpy(outputs)
        if self.left_off == "sigmoid":
            return (outputs[:, 0] > 0.5).astype(np.int64)
        return np.argmax(outputs, axis=1).astype(np.int64)


def logit_network(model: Any) -> LogitNetwork:
    """The network that a classifier is without a softmax, or a single sigmoid, at its end.

    Both leave the order of the classes as it is. The result is kept with the model until one of its
    settings changes; the weights are the model's own whenever this function returns.

    Args:
        model: any object. Only a built ``keras.Sequential`` or functional model with one input and
            one output can have something left off.
    """
    if not getattr(model, "built", False) or not isinstance(model, keras.Model):
        return LogitNetwork(model)
    settings = settings_of(model)
    known = vars(model).get("_zoo_logits")
    if known is None or known[0] != settings:
        known = (settings, _made(model))
        # Set past Keras's tracking: the network holds the model's layers, and would be its part.
        object.__setattr__(model, "_zoo_logits", known)
    found = known[1]
    for own, twin in found.twins:
        twin.set_weights(own.get_weights())
    return found


def _made(model: keras.Model) -> LogitNetwork:
    try:
        require_graph(model)
        require_own_methods(parts_of(model))
    except (TypeError, ValueError):
        return LogitNetwork(model)  # whoever needs its layers says what is wrong
    twins = []
    cut = _cut(model, twins, model.name)
    if cut is None:
        return LogitNetwork(model)
    network, left_off = cut
    if left_off == "sigmoid":
        zero_and_itself = keras.initializers.Constant(np.array([[0.0, 1.0]], "float32"))
        both = keras.layers.Dense(
            2,
            use_bias=False,
            kernel_initializer=zero_and_itself,
            dtype="float32",
            name=_free_name(network, "logits_of_two_classes"),
        )
        network = _network(network.inputs[0], both(network.outputs[0]), model.name)
    return LogitNetwork(network, left_off, tuple(twins))


def _cut(model: keras.Model, twins: list[tuple[Any, Any]], name: str) -> tuple[Any, str] | None:
    """``(network, left_off)``: a model up to its last activation; None if it stays as it is.

    The network gets a name. Keras refuses two layers of one name, and a name that it makes up may
    be that of a layer of a model from a file.
    """
    inputs, output = model.inputs[0], model.outputs[0]
    # Not the last one of `model.layers`: an operator such as `1 - x` may follow it.
    last, index, _ = output._keras_history
    if isinstance(last, keras.layers.InputLayer):
        return None
    arguments = last._inbound_nodes[index].arguments
    args, kwargs = called_with(last, arguments.args, arguments.kwargs)
    before = keras.tree.flatten(args)
    given = (value for value in kwargs.values() if value is not None)
    if len(before) != 1 or any(value is not False for value in given):
        return None  # a softmax with a mask, for example
    if is_graph(last):
        if len(last.outputs) != 1:
            return None
        # The inner model may be a layer of its own somewhere else in this one.
        inner = _cut(last, twins, _free_name(model, f"{last.name}_logits"))
        if inner is None:
            return None
        return _network(inputs, inner[0](before[0]), name), inner[1]
    left_off = _left_off(last)
    if left_off is None or len(output.shape) != 2:
        return None
    # Of several outputs, a sigmoid leaves each one a probability of its own: it is bounded as such.
    if (left_off == "sigmoid") != (output.shape[1] == 1):
        return None
    if type(last) not in (keras.layers.Dense, Dense):
        return _network(inputs, before[0], name), left_off
    if last.lora_enabled or last.quantization_mode:
        return None
    # Keras would count up from the names that it gave in this process, which the layers of a model
    # from a file need not be among.
    twin = type(last)(
        last.units,
        use_bias=last.use_bias,
        kernel_initializer="zeros",
        dtype=last.dtype_policy,
        name=_free_name(model, f"{last.name}_logits"),
    )
    logits = twin(before[0])
    twins.append((last, twin))
    return _network(inputs, logits, name), left_off


def _network(inputs: Any, outputs: Any, name: str) -> keras.Model:
    """A model that computes in float32 whatever the global policy is, if its layers do."""
    network = keras.Model(inputs, outputs, name=name)
    # Not by the property: that would change a global policy which maps names to policies.
    network._dtype_policy = keras.DTypePolicy("float32")
    return network


def _free_name(model: keras.Model, name: str) -> str:
    """The name, with underscores behind it until no part of the model has it."""
    taken = {part.name for part in parts_of(model)}
    while name in taken:
        name += "_"
    return name


def _left_off(layer: Any) -> str | None:
    if type(layer) is keras.layers.Softmax:
        return "softmax" if layer.axis in (-1, 1) else None
    if type(layer) not in (keras.layers.Activation, keras.layers.Dense, Dense):
        return None
    return next((name for kind, name in _LEFT_OFF.items() if layer.activation is kind), None)
