"""What a layer means for bounds: the base of all rules, and the registry of them."""

import functools
import math
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar, cast

import keras
from keras import ops

from zoo.bounds.graph import advice_on
from zoo.errors import UnsupportedLayerError

#: Bounds that a rule may give, and the method of the rule that gives it.
BOUNDS = {
    "interval": "interval",
    "crown": "backward",
    "lipschitz": "lipschitz",
    "curvature": "second_order",
}

_Class = TypeVar("_Class", bound=type)

_rules: dict[type, Any] = {}


def register_rule(*layer_types: type) -> Callable[[_Class], _Class]:
    """Class decorator: bounds of these types of layers come from the decorated :class:`Rule`.

    Types are compared exactly, because a subclass of a layer may compute something else. A rule
    that is registered for a type replaces the one that the type had.

    Args:
        layer_types: classes of Keras layers, or of ``keras.Operation``.

    Raises:
        TypeError: if an argument is not a class of layers, or the decorated class is no rule.

    Example:

    >>> import keras, numpy as np, zoo
    >>> class Halve(keras.layers.Layer):
    ...     def call(self, inputs):
    ...         return inputs / 2.0
    >>> @zoo.bounds.register_rule(Halve)
    ... class HalveRule(zoo.bounds.AffineRule):
    ...     roundings = 1
    ...     def linear(self, tensor):
    ...         return tensor / 2.0
    >>> model = keras.Sequential([keras.Input((4,)), Halve(), keras.layers.Dense(3)])
    >>> zoo.certify(model, np.zeros((1, 4)), norm="linf").method
    'crown'
    """
    for layer_type in layer_types:
        # Keras's operations, such as the sum in `a + b`, are the base of its layers.
        if not (isinstance(layer_type, type) and issubclass(layer_type, keras.Operation)):
            raise TypeError(f"a rule is registered for classes of Keras layers, got {layer_type!r}")

    def register(rule: _Class) -> _Class:
        if not (isinstance(rule, type) and issubclass(rule, Rule)):
            raise TypeError(f"a rule must be a subclass of zoo.bounds.Rule, got {rule!r}")
        _rules.update(dict.fromkeys(layer_types, rule))
        return cast(_Class, rule)

    return register


def rule_for(layer):
    """The class of the rule for a layer, or None if its type has no rule."""
    return _rules.get(type(layer))


def supported(bound):
    """The layers that have a bound.

    Args:
        bound: a key of :data:`BOUNDS`.

    Returns:
        Dictionary of the names of layers, sorted, to what is not supported of them: text, empty if
        all is.

    Raises:
        ValueError: naming the bounds that there are.
    """
    if bound not in BOUNDS:
        raise ValueError(f"bound must be one of {', '.join(BOUNDS)}, got {bound!r}")
    found = {
        _name(kind): rule.limits_of(bound) for kind, rule in _rules.items() if gives(rule, bound)
    }
    return dict(sorted(found.items()))


def _name(kind):
    """The name of a layer type. Some operations of ``keras.ops`` are named as layers are."""
    is_layer = issubclass(kind, keras.layers.Layer)
    return kind.__name__ if is_layer else f"ops.{kind.__name__}"


def gives(rule, bound):
    """Whether a class of rules gives a bound."""
    return getattr(rule, BOUNDS[bound]) is not getattr(Rule, BOUNDS[bound])


def supported_text(bound):
    """The supported layers as one line for errors."""
    return ", ".join(
        f"{name} ({limits})" if limits else name for name, limits in supported(bound).items()
    )


def refuse(layer, reason, bound="interval") -> NoReturn:
    """Raise :class:`zoo.UnsupportedLayerError`, naming the layer and what is supported."""
    raise UnsupportedLayerError(
        f"{type(layer).__name__} {layer.name!r} {reason}{advice_on(layer)}; "
        f"supported are: {supported_text(bound)}"
    )


class Rule:
    """One use of a layer, from the tensors at some places of a network to that at a new one.

    A subclass overrides a method for each bound that it gives. Bounds are of what the network
    computes in float32, not of what it would compute exactly, so each has to count the error of
    this layer.

    Args:
        layer: the Keras layer.
        inputs: places of its inputs: 0 is the network's input, ``i + 1`` the output of the i-th
            rule.
        input_shape: of the first input, without the batch.

    Attributes:
        layer, inputs, input_shape: as given.
        limits: text: what is not supported of the layer.
        use: number of the layer's use in the network; rules that a layer was expanded into share
            it.
        isometry: a factor by which the layer stretches every difference in L2, or None.
        wants_tight_inputs: whether linear relaxation should bound the inputs, because the rule's
            own relaxation is the better the tighter they are.
        exact_where_stable: whether the layer is exactly linear in every input of a fixed sign, so
            that only the others, the unstable ones, need tight bounds.
        compares_entries: whether the relaxation compares entries with each other, so that tight
            bounds of stable ones matter too.
        has_norm: whether training estimates the Lipschitz constant by power iteration.

    Raises:
        UnsupportedLayerError: for settings that are not supported.
    """

    limits = ""
    use = None
    isometry = None
    wants_tight_inputs = False
    exact_where_stable = False
    compares_entries = False
    has_norm = False

    def __init__(self, layer, inputs, input_shape):
        self.layer, self.inputs, self.input_shape = layer, inputs, input_shape
        if getattr(layer, "quantization_mode", None):
            refuse(layer, "is quantised")
        self.check()

    @classmethod
    def limits_of(cls, bound):
        """What is not supported of the layer for one of :data:`BOUNDS`: text."""
        return cls.limits

    @classmethod
    def expand(cls, builder, node, inputs):
        """Add the rules that a layer consists of; by default there is one.

        Args:
            builder: a :class:`zoo.bounds.network_rules.Builder`.
            node: the :class:`zoo.bounds.graph.Node` of the layer.
            inputs: tuple of the places of its inputs.

        Returns:
            The place of the layer's output.
        """
        if getattr(node.layer, "data_format", "channels_last") == "channels_first":
            refuse(node.layer, "has its channels first")
        return builder.add(cls(node.layer, inputs, node.input_shape))

    def check(self):
        """Raise, by :func:`refuse`, for settings that are not supported."""

    def prepare(self):
        """Read the weights as they are now. It is called before bounds are computed."""

    def compute(self, tensors):
        """What the network computes: from a list of float32 tensors to a float32 tensor."""
        return self.layer(tensors[0] if len(tensors) == 1 else tensors)

    @functools.cached_property
    def output_shape(self):
        """Of the output, without the batch."""
        zeros = [ops.zeros((1, *self.input_shape), "float32")] * len(self.inputs)
        return tuple(self.compute(zeros).shape[1:])

    @property
    def width(self):
        """Numbers that one row takes on its way back."""
        return math.prod(self.input_shape)

    def interval(self, boxes):
        """Interval bounds.

        Args:
            boxes: for each input ``(lower, upper)``, float64 tensors ``(batch, *input_shape)``.

        Returns:
            ``(lower, upper)`` of the output as float32 computes it, float64 tensors
            ``(batch, *output_shape)``.
        """
        raise NotImplementedError

    def row_lengths(self):
        """L2 norm of each output's dependence on the input: ``(1, *output_shape)``.

        It is None for a rule that does not know it. Otherwise interval bounds over an L2 ball use
        it, and the rule must be an :class:`AffineRule`.
        """
        return

    def relax(self, boxes):
        """What :meth:`backward` needs to know of the input boxes."""
        return

    def backward(self, rows, relaxed):
        """Linear relaxation: from rows over the output to rows over the inputs.

        Args:
            rows: float64 tensor ``(batch, rows, *output_shape)``.
            relaxed: what :meth:`relax` returned.

        Returns:
            ``(list of rows for each input, offset)``, the offset a tensor ``(batch, rows)``, such
            that the products of the rows with the inputs plus the offset are nowhere in the boxes
            larger than the products of the given rows with the output.
        """
        raise NotImplementedError

    def lipschitz(self):
        """Upper bounds of the L2 Lipschitz constant and of float32's error.

        Returns:
            :class:`zoo.bounds.rules.lipschitz_bound.LipschitzBound`.
        """
        raise NotImplementedError

    def estimate(self):
        """The Lipschitz constant for training: a number, or a differentiable tensor."""
        return self.first_constant

    @functools.cached_property
    def first_constant(self):
        """The Lipschitz constant when the network was analysed: for layers that do not train."""
        return self.lipschitz().lipschitz

    def merged(self, values):
        """An L2 bound of all inputs together, from one for each: for one factor on all of them."""
        return sum(values)

    def trained_merge(self, values):
        """As :meth:`merged`, for estimates in training: differentiable where weights matter."""
        return self.merged(values)

    def second_order(self):
        """What the layer adds to a network's curvature.

        Returns:
            None for an affine layer, which must be an :class:`AffineRule`; otherwise the
            :class:`zoo.bounds.activations.derivatives.Derivatives` of an activation.
        """
        raise NotImplementedError
