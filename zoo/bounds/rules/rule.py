"""What a layer means for bounds: the base of all rules, and the registry of them."""

import math

import keras
from keras import ops

from zoo.bounds.graph import advice_on
from zoo.bounds.model_state import require_float32_weight
from zoo.errors import UnsupportedLayerError
from zoo.ops.gradients import input_gradient
from zoo.ops.precision import LARGEST, SMALLEST_NORMAL, sum_rounding

#: Bounds that a rule may give, and the method of the rule that gives it.
BOUNDS = {"interval": "interval", "crown": "backward"}

# An error that is not known, because sums may overflow: no box that holds it proves anything. It is
# finite, so that TensorFlow's own search for infinities and NaN finds none here.
_UNKNOWN = 1e300
# Errors are bounded to first order. What is left out is less than this.
_SECOND_ORDER = 1.001

_rules = {}


def register_rule(*layer_types):
    """Class decorator: bounds of these types of layers come from the decorated :class:`Rule`.

    Types are compared exactly, because a subclass of a layer may compute something else. A rule
    that is registered for a type replaces the one that the type had.

    Args:
        layer_types: classes of Keras layers.

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
        if not (isinstance(layer_type, type) and issubclass(layer_type, keras.layers.Layer)):
            raise TypeError(f"a rule is registered for classes of Keras layers, got {layer_type!r}")

    def register(rule):
        if not (isinstance(rule, type) and issubclass(rule, Rule)):
            raise TypeError(f"a rule must be a subclass of zoo.bounds.Rule, got {rule!r}")
        _rules.update(dict.fromkeys(layer_types, rule))
        return rule

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
    found = {kind.__name__: rule.limits for kind, rule in _rules.items() if gives(rule, bound)}
    return dict(sorted(found.items()))


def gives(rule, bound):
    """Whether a class of rules gives a bound."""
    return getattr(rule, BOUNDS[bound]) is not getattr(Rule, BOUNDS[bound])


def supported_text(bound):
    """The supported layers as one line for errors."""
    return ", ".join(
        f"{name} ({limits})" if limits else name for name, limits in supported(bound).items()
    )


def refuse(layer, reason, bound="interval"):
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
        ends_with_activation: whether the layer applies its ``activation`` at the end, which then
            gets a rule of its own.
        isometry: a factor by which the layer stretches every difference in L2, or None.
        wants_tight_inputs: whether linear relaxation should bound the inputs, because the rule's
            own relaxation is the better the tighter they are.
        exact_where_stable: whether the layer is exactly linear in every input of a fixed sign, so
            that only the others, the unstable ones, need tight bounds.
        compares_entries: whether the relaxation compares entries with each other, so that tight
            bounds of stable ones matter too.

    Raises:
        UnsupportedLayerError: for settings that are not supported.
    """

    limits = ""
    ends_with_activation = False
    isometry = None
    wants_tight_inputs = False
    exact_where_stable = False
    compares_entries = False

    def __init__(self, layer, inputs, input_shape):
        self.layer, self.inputs, self.input_shape = layer, inputs, input_shape
        if getattr(layer, "data_format", "channels_last") == "channels_first":
            refuse(layer, "has its channels first")
        if getattr(layer, "quantization_mode", None):
            refuse(layer, "is quantised")
        self.check()

    def check(self):
        """Raise, by :func:`refuse`, for settings that are not supported."""

    def prepare(self):
        """Read the weights as they are now. It is called before bounds are computed."""

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


class AffineRule(Rule):
    """A layer that is linear in its inputs, plus an offset.

    A subclass gives at least :meth:`linear`; and :meth:`absolute` where a factor may be negative.

    Attributes:
        offset: tensor ``(1, *output_shape)`` or one that broadcasts to it, or 0.
        roundings: upper bound of the number of roundings that one product goes through on its way
            into an output; 0 if the layer rounds nothing.
        largest: the largest of the factors, in size.
    """

    offset = 0.0
    roundings = 0
    largest = 1.0

    def linear(self, tensor):
        """The linear part of one input: of a float64 tensor ``(batch, *input_shape)``."""
        # Calling the layer itself would turn the tensor into float32.
        return self.layer.call(tensor)

    def absolute(self, tensor):
        """The linear part with the sizes of all factors; by default no factor is negative."""
        return self.linear(tensor)

    def interval(self, boxes):
        lower, upper = boxes[0]
        center = self.linear((lower + upper) / 2.0) + self.offset
        spread = self.absolute((upper - lower) / 2.0) + self.rounding(boxes)
        return center - spread, center + spread

    def rounding(self, boxes):
        """Bound of float32's error over the boxes: tensor ``(batch, *output_shape)``."""
        return self.error(boxes, self.absolute(sizes(boxes[0])) + abs(self.offset))

    def error(self, boxes, size):
        """Bound of float32's error where the sizes of an output's terms add up to ``size``."""
        if not self.roundings:
            return 0.0
        inputs = sizes(boxes[0])
        inputs = ops.max(inputs, axis=tuple(range(1, len(inputs.shape))))
        inputs = ops.reshape(inputs, (-1, *[1] * (len(size.shape) - 1)))
        # Inputs, factors and results that are taken for zero.
        flushed = self.roundings * SMALLEST_NORMAL * (1.0 + self.largest + inputs)
        error = _SECOND_ORDER * sum_rounding(self.roundings) * size + flushed
        return ops.where(self.roundings * size < LARGEST, error, _UNKNOWN)

    def relax(self, boxes):
        return self.rounding(boxes)

    def backward(self, rows, relaxed):
        offset = products(rows, self.offset) - products(ops.abs(rows), relaxed)
        return [self.transposed(rows)], offset

    def transposed(self, rows):
        """Rows ``(batch, rows, *output_shape)`` through the transposed linear part."""
        return through_transposed(self.linear, rows, self.input_shape)


class KernelRule(AffineRule):
    """A layer with a kernel and perhaps a bias, without its activation.

    A subclass gives :meth:`apply`.
    """

    ends_with_activation = True

    def prepare(self):
        for name in ("kernel", "bias") if self.layer.use_bias else ("kernel",):
            require_float32_weight(self.layer, name)
        self.kernel = ops.convert_to_tensor(float64(self.layer.kernel), "float64")
        self.kernel_sizes = ops.abs(self.kernel)
        offset = float64(self.layer.bias) if self.layer.use_bias else [0.0]
        self.offset = ops.convert_to_tensor(offset, "float64")
        self.roundings = math.prod(self.kernel.shape[:-1]) + 3
        self.largest = float(ops.max(self.kernel_sizes))

    def apply(self, tensor, kernel):
        """A tensor through a kernel of this shape."""
        raise NotImplementedError

    def linear(self, tensor):
        return self.apply(tensor, self.kernel)

    def absolute(self, tensor):
        return self.apply(tensor, self.kernel_sizes)

    def row_lengths(self):
        ones = ops.ones((1, *self.input_shape), "float64")
        return ops.sqrt(self.apply(ones, ops.square(self.kernel)))


def through_transposed(linear, rows, input_shape):
    """Rows ``(batch, rows, *output_shape)`` through the transpose of a linear function.

    Args:
        linear: function of a tensor ``(n, *input_shape)`` to one ``(n, *output_shape)``.
        rows: float64 tensor.
        input_shape: without the batch.
    """
    flat = ops.reshape(rows, (-1, *rows.shape[2:]))
    zeros = ops.zeros((flat.shape[0], *input_shape), "float64")
    flat = input_gradient(lambda x: linear(x) * flat, zeros)
    return ops.reshape(flat, (*rows.shape[:2], *input_shape))


def float64(variable):
    """A weight as a float64 NumPy array."""
    return ops.convert_to_numpy(variable).astype("float64")


def sizes(box):
    """The largest size of each entry in a box."""
    return ops.maximum(*map(ops.abs, box))


def products(rows, offset):
    """Each row's product with a tensor ``(batch or 1, *shape)``, or one that broadcasts to it."""
    if isinstance(offset, float):
        return 0.0
    offset = ops.reshape(offset, (*[1] * (len(rows.shape) - 1 - len(offset.shape)), *offset.shape))
    if len(offset.shape) == len(rows.shape) - 1:
        offset = offset[:, None]
    return ops.sum(rows * offset, axis=tuple(range(2, len(rows.shape))))
