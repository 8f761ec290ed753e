"""The base class of models that wrap an ordinary Keras network."""

import copy
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from zoo.bounds.graph import Constant, nodes_of
from zoo.bounds.model_state import is_the_users, parts_of, state_of
from zoo.bounds.rules.rule import rule_for
from zoo.bounds.rules.shape import UnchangedRule
from zoo.layers.dense import Dense
from zoo.models.base import CertifiedModel
from zoo.models.byte_inputs import refuse_byte_inputs
from zoo.models.weights import set_weights
from zoo.ops.precision import require_float32_layers
from zoo.typing import Tensor


class WrappedModel(CertifiedModel):
    """A model of the zoo that wraps a Keras network.

    A subclass lists in ``networks`` the networks that can be chosen by name, and defines in
    :meth:`analyse` what its certificate needs to know about a network.

    Args:
        network: a ``keras.Sequential`` or functional model from images in [0, 1] to logits. It is
            not copied. Or the serialised form of such a model; or the name of a network, a key of
            ``networks``; or a dictionary of this ``name`` and the arguments of that function.
        image_shape: ``(height, width, channels)`` of a network that is given by name.
        num_classes: number of logits of a network that is given by name.
        kwargs: arguments of :class:`CertifiedModel` and ``keras.Model``.

    Raises:
        TypeError, ValueError: if the network is not such a model.
        zoo.UnsupportedLayerError: naming the first unsupported layer.
    """

    #: Functions that make a network, by name.
    networks: dict[str, Callable[..., keras.Model]] = {}
    fixed = ("image_shape", "num_classes", "network")

    def __init__(
        self,
        network: Any,
        *,
        image_shape: Sequence[int] | None = None,
        num_classes: int | None = None,
        **kwargs: Any,
    ) -> None:
        arguments = None
        if isinstance(network, str) or is_by_name(network):
            options = named_options(network, self.networks, image_shape, num_classes)
            arguments = json.dumps(options, default=_plain)
            network, image_shape, num_classes = json.loads(arguments), None, None
        network = network_from(network, self.networks, image_shape, num_classes)
        # The analysis would fail on half kernels. Layers that merely compute in another dtype are
        # refused when the model is used.
        if any("float16" in weight.dtype for weight in getattr(network, "weights", ())):
            require_float32_layers(network)
        analysis = self.analyse(network)
        require_images_to_logits(network)
        super().__init__(network.input_shape[1:], network.output_shape[-1], **kwargs)
        self.network = network
        # Both are texts, because Keras would track dictionaries as parts of the model.
        self._arguments = arguments
        self._as_made = json.dumps(_serialised(network), default=_plain) if arguments else None
        self._analysis = analysis

    @staticmethod
    def analyse(network: Any, /) -> Any:
        """Find out what the certificate needs to know about a network, apart from its weights.

        Raises:
            zoo.UnsupportedLayerError: naming the first unsupported layer.
        """
        raise NotImplementedError

    @property
    def analysis(self) -> Any:
        """What :meth:`analyse` returned for the network when it was last certified."""
        return self._analysis

    def _symbolic(self) -> tuple[Any, Any]:
        # The network's own tensors, so that its layers lie between them.
        return self.network.inputs[0], self.network.outputs[0]

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        return self.network(self._pixels(inputs, training), training=training)

    def weights_state(self) -> Any:
        operands = [operand for node in nodes_of(self.network) for operand in node.operands]
        constants = [x.value.tobytes() for x in operands if isinstance(x, Constant)]
        parts = parts_of(self.network)
        # A layer of the user's own may depend on anything, such as a global variable. Nothing
        # equals this object, so what is derived of such a layer is not kept.
        unknown = object() if any(map(is_the_users, parts)) else None
        return state_of(self.network), constants, [rule_for(part) for part in parts], unknown

    def derive(self) -> Any:
        """``(analysis, derived)``: the pair is replaced as a whole, or not at all."""
        # The user may have changed the network's layers, so it is analysed again.
        analysis = self.analyse(self.network)
        pair = analysis, self.derive_from(analysis)
        self._analysis = analysis
        return pair

    def derive_from(self, analysis: Any) -> Any:
        """Compute what the certificate needs from the weights.

        Args:
            analysis: what :meth:`analyse` returned for the network as it is.
        """
        raise NotImplementedError(f"{type(self).__name__} derives nothing from its weights")

    @property
    def head_layer(self) -> keras.layers.Dense | None:
        """The dense layer without activation that computes the logits, or None."""
        # Layers that do nothing at inference, such as dropout, may follow it.
        layers = [node.layer for node in nodes_of(self.network)]
        last: Any = next((layer for layer in reversed(layers) if not _is_idle(layer)), None)
        if type(last) not in (keras.layers.Dense, Dense):
            return None
        return last if last.activation is keras.activations.linear else None

    @property
    def feature_layers(self) -> list[keras.layers.Layer]:
        last = _require_head(self.head_layer)
        return [layer for layer in _layers_within(self.network) if layer is not last]

    def with_new_head(self, num_classes: int) -> "WrappedModel":
        """A copy of the model with an untrained last layer, to be fine-tuned.

        Args:
            num_classes: number of classes of the new layer.

        Returns:
            A new model with a network of its own; this one is unchanged.

        Raises:
            ValueError: if the last layer is not a dense one without activation.
        """
        last = _require_head(self.head_layer)
        config = self._config_with()
        network = config["network"]
        if is_by_name(network) and "num_classes" in network:
            model = type(self).from_config(
                {**config, "network": {**network, "num_classes": num_classes}}
            )
            copy_weights(self.network, model.network, last)
            return model

        def resized(layer: keras.layers.Layer) -> keras.layers.Layer:
            of_layer = layer.get_config()
            if layer is last:
                of_layer["units"] = num_classes
            return type(layer).from_config(of_layer)

        network = keras.models.clone_model(self.network, clone_function=resized, recursive=True)
        copy_weights(self.network, network, last)
        return type(self).from_config({**config, "network": network})

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        # The network's own configuration contains these two.
        del config["image_shape"], config["num_classes"]
        return {**config, "network": self._network_config()}

    def _network_config(self) -> dict[str, Any]:
        """The name and the arguments of the network, or its serialised form.

        A name stands for the network only as long as its layers are as they were made: the user may
        have frozen one, or set another activation.
        """
        serialised = _serialised(self.network)
        if self._arguments is None or json.dumps(serialised, default=_plain) != self._as_made:
            return serialised
        return json.loads(self._arguments)


def is_by_name(network: Any) -> bool:
    """Whether a network is given as a dictionary of its name and its arguments."""
    return isinstance(network, dict) and "class_name" not in network


def _serialised(network: keras.Model) -> dict[str, Any]:
    """The serialised form of a network, without the optimizer and the loss it was compiled with."""
    config = keras.saving.serialize_keras_object(network)
    return {key: value for key, value in config.items() if key != "compile_config"}


def _plain(value: Any) -> Any:
    """A NumPy number or array as Python numbers, which JSON can hold."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    raise TypeError(f"an argument of a network must be numbers or text, got {value!r}")


def network_from(
    network: Any,
    known: Mapping[str, Callable[..., keras.Model]],
    image_shape: Sequence[int] | None = None,
    num_classes: int | None = None,
) -> keras.Model:
    """Make a Keras model from its serialised form or by name; a model is returned as it is.

    Args:
        network: a Keras model, its serialised form, a key of ``known``, or a dictionary: ``name``,
            a key of ``known``, and the arguments of that function.
        known: dictionary from name to a function that makes a model.
        image_shape, num_classes: arguments of that function, if they are not None. A network that
            is not made by name must have this shape and this number of logits.

    Raises:
        ValueError: naming the known names, if the name is not one of them; and for a shape that the
            network cannot have.
    """
    if isinstance(network, str) or is_by_name(network):
        options = named_options(network, known, image_shape, num_classes)
        return known[options.pop("name")](**options)
    if isinstance(network, dict):
        # Keras takes entries out of the dictionary that it reads.
        network = keras.saving.deserialize_keras_object(copy.deepcopy(network))
    size = _given(image_shape, num_classes)
    if size and isinstance(network, keras.Model):
        own = {"image_shape": network.input_shape[1:], "num_classes": network.output_shape[-1]}
        _require_equal(own, size)
    return network


def named_options(
    network: str | Mapping[str, Any],
    known: Mapping[str, Callable[..., keras.Model]],
    image_shape: Sequence[int] | None = None,
    num_classes: int | None = None,
) -> dict[str, Any]:
    """The name and all arguments of a network that is given by name.

    Args:
        network, known, image_shape, num_classes: as for :func:`network_from`.

    Returns:
        A dictionary of ``name`` and the arguments of the function ``known[name]``.

    Raises:
        ValueError: naming the known names, or the argument that is missing or wrong.
    """
    options = {"name": network} if isinstance(network, str) else dict(network)
    name: Any = options.get("name")
    if name not in known:
        raise ValueError(
            f"network must be one of {', '.join(known)} or a Keras model, got {name!r}"
        )
    accepted = inspect.signature(known[name]).parameters
    if unknown := [key for key in options if key not in ("name", *accepted)]:
        raise ValueError(
            f"the network {name!r} has no argument {unknown[0]!r}; it has {', '.join(accepted)}"
        )
    size = _given(image_shape, num_classes)
    _require_equal(options, size)
    options = {**options, **size}
    missing = [key for key in ("image_shape", "num_classes") if key not in options]
    if missing:
        raise ValueError(
            f"the network {name!r} needs {' and '.join(missing)}, as in image_shape=(64, 64, 3), "
            "num_classes=10"
        )
    if len(tuple(options["image_shape"])) != 3:
        raise ValueError(
            f"image_shape must be (height, width, channels), got {options['image_shape']!r}"
        )
    return options


def _given(image_shape: Any, num_classes: Any) -> dict[str, Any]:
    size = {"image_shape": image_shape, "num_classes": num_classes}
    return {name: value for name, value in size.items() if value is not None}


def _require_equal(own: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Raise if an argument says other than the network itself about its size."""

    def plain(value: Any) -> Any:
        return tuple(value) if isinstance(value, (tuple, list)) else value

    for name, value in given.items():
        if name in own and plain(own[name]) != plain(value):
            raise ValueError(
                f"{name} is {plain(value)}, but the network's is {plain(own[name])}; the network "
                f"tells its {name} itself, so leave the argument out"
            )


_BYTES_IN_THE_ZOO = (
    "inside a model of the zoo it is given images in [0, 1]. Leave that out: the model divides "
    "uint8 images by 255 itself"
)


def require_images_to_logits(network: keras.Model, advice: str = _BYTES_IN_THE_ZOO) -> None:
    """Raise unless a built model takes images in [0, 1] to logits.

    Args:
        network: a Sequential or functional model.
        advice: what to do about a network that takes pixels of 0 to 255.

    Raises:
        ValueError: naming the shapes, an input of integers, or a first layer that is meant for
            pixels in 0..255.
    """
    if len(network.input_shape) != 4 or len(network.output_shape) != 2:
        raise ValueError(
            "the network must take images (batch, height, width, channels) to logits (batch, "
            f"classes), but takes {network.input_shape} to {network.output_shape}"
        )
    dtype = keras.backend.standardize_dtype(network.inputs[0].dtype)
    if not keras.backend.is_float_dtype(dtype):
        raise ValueError(
            f"the network's input is {dtype}, to which Keras rounds images in [0, 1]; make it "
            "float32"
        )
    refuse_byte_inputs(network, advice)


def copy_weights(
    source: keras.Model, target: keras.Model, last: keras.layers.Dense | None = None
) -> None:
    """Copy the weights of a network to another one with the same layers.

    Args:
        source, target: the two networks.
        last: a layer of ``source`` whose weights are not copied.
    """
    for old, new in zip(_layers_within(source), _layers_within(target), strict=True):
        if old is not last:
            set_weights(new, old.get_weights())


def _layers_within(network: keras.Model) -> list[keras.layers.Layer]:
    """All layers of a network, with those of nested models in their place."""
    layers = network._flatten_layers(include_self=False, recursive=True)
    return [layer for layer in layers if not isinstance(layer, keras.Model)]


def _is_idle(layer: keras.layers.Layer) -> bool:
    return rule_for(layer) is UnchangedRule


def _require_head(last: keras.layers.Dense | None) -> keras.layers.Dense:
    if last is None:
        raise ValueError(
            "the network has no dense layer without activation at its end that a new head could "
            "replace"
        )
    return last
