"""The base class of all rules, and the registry that maps types of layers to rules."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeAlias, TypeVar, cast

import keras
from keras import ops

from zoo.bounds.activations.derivatives import Derivatives
from zoo.bounds.graph import Node, advice_on
from zoo.bounds.rules.lipschitz_bound import LipschitzBound
from zoo.errors import UnsupportedLayerError
from zoo.typing import Array, Box, Shape, Tensor

if TYPE_CHECKING:
    from zoo.bounds.network_rules import Builder

#: The name of a bound.
Bound: TypeAlias = Literal["interval", "crown", "lipschitz", "curvature"]
#: The bounds that a rule may give, each with the name of the method that computes it.
BOUNDS: dict[Bound, str] = {
    "interval": "interval",
    "crown": "backward",
    "lipschitz": "lipschitz",
    "curvature": "second_order",
}

_Class = TypeVar("_Class", bound=type)

_rules: "dict[type, type[Rule]]" = {}


def register_rule(*layer_types: type) -> Callable[[_Class], _Class]:
    """Class decorator that makes a :class:`Rule` give the bounds of some types of layers.

    A subclass of such a type is not included, because it may compute something else. If a type
    already has a rule, the new rule replaces it.

    Args:
        layer_types: classes of Keras layers, or of ``keras.Operation``.

    Raises:
        TypeError: if an argument is not a class of layers, or the decorated class is no rule.

    Examples:
        >>> import keras, numpy as np, zoo
        >>> class Halve(keras.layers.Layer):
        ...     def call(self, inputs):
        ...         return inputs / 2.0
        >>> @zoo.bounds.register_rule(Halve)
        ... class HalveRule(zoo.bounds.AffineRule):
        ...     roundings = 1
        ...     def linear(self, tensor):
        ...         return tensor / 2.0
        ...     def constant_factors(self):
        ...         return np.array(0.5)
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


def rule_for(layer: keras.layers.Layer) -> "type[Rule] | None":
    """The class of the rule for a layer, or None if its type has no rule."""
    return rule_for_type(type(layer))


def rule_for_type(kind: type) -> "type[Rule] | None":
    """The class of the rule for a type of layers or operations, or None if it has no rule."""
    return _rules.get(kind)


def supported(bound: Bound) -> dict[str, str]:
    """The layers that have a bound.

    Args:
        bound: ``"interval"``, ``"crown"``, ``"lipschitz"`` or ``"curvature"``.

    Returns:
        Dictionary from the sorted names of layers to the limits of their support, a text that is
        empty if a layer is supported with all its settings.

    Raises:
        ValueError: for an unknown bound, naming the known ones.

    Examples:
        >>> import zoo
        >>> "Dense" in zoo.bounds.supported("crown")
        True
    """
    if bound not in BOUNDS:
        raise ValueError(f"bound must be one of {', '.join(BOUNDS)}, got {bound!r}")
    found = {
        _name(kind): rule.limits_of(bound) for kind, rule in _rules.items() if gives(rule, bound)
    }
    return dict(sorted(found.items()))


def _name(kind: type) -> str:
    """The name of a layer type, with a prefix if it is an operation of ``keras.ops``.

    Some operations have the same names as layers.
    """
    is_layer = issubclass(kind, keras.layers.Layer)
    return kind.__name__ if is_layer else f"ops.{kind.__name__}"


def gives(rule: "type[Rule]", bound: Bound) -> bool:
    """Whether a class of rules overrides the method that computes a bound."""
    return getattr(rule, BOUNDS[bound]) is not getattr(Rule, BOUNDS[bound])


def refuse(layer: keras.layers.Layer, reason: str, bound: Bound = "interval") -> NoReturn:
    """Raise :class:`zoo.UnsupportedLayerError`, naming the layer and the list of the others."""
    raise UnsupportedLayerError(
        f"{_name(type(layer))} {layer.name!r} {reason}{advice_on(layer)}; "
        f"zoo.bounds.supported({bound!r}) lists the layers that have such bounds"
    )


class Rule:
    """The bounds of one use of a layer in a network.

    The tensors in a network are numbered by places: place 0 is the network's input, and place
    ``i + 1`` is the output of the i-th rule. A box is a pair ``(lower, upper)`` of bounds of all
    entries of a tensor.

    A subclass overrides one method for each bound that it gives. The bounds must hold for what the
    network computes in float32, not for exact arithmetic, so each method has to count the rounding
    error of its layer.

    Args:
        layer: the Keras layer.
        inputs: tuple of the places of the layer's inputs.
        input_shape: shape of the first input without the batch.

    Attributes:
        layer, inputs, input_shape: as given.
        input_shapes: tuple of the shapes of all inputs without the batch.
        limits: text for error messages and the documentation that says which settings of the layer
            are supported; empty if all are.
        use: number of the layer's use in the network. If a layer is expanded into several rules,
            they share the number.
        isometry: the factor by which the layer scales the L2 norm of every difference of inputs, or
            None if there is no such factor.
        wants_tight_inputs: whether the inputs' boxes should be tightened by linear relaxation,
            because this rule's relaxation depends on them.
        exact_where_stable: whether the layer is exactly linear in every input that has a fixed
            sign, so that only unstable inputs (lower < 0 < upper) need tight boxes.
        compares_entries: whether the relaxation compares entries with each other, so that stable
            entries need tight boxes too.
        has_norm: whether training estimates the Lipschitz constant by power iteration.
        may_be_removed: whether the layer computes nothing, so that a compiler may remove it and see
            what is before it. Layers with several inputs count only if they are given one.
        takes_windows: whether :meth:`backward` also takes rows that are kept as windows, see
            :class:`zoo.bounds.window_rows.WindowRows`, and returns such rows.
        passes_constants: whether constants before the layer may be multiplied with those behind it,
            though it has none of its own.
        sources: the rules whose outputs are the layer's inputs, if layers that a compiler removes
            are left out.

    Raises:
        UnsupportedLayerError: for settings that are not supported.
    """

    layer: keras.layers.Layer
    inputs: tuple[int, ...]
    input_shape: Shape
    limits: str = ""
    may_be_removed: bool = False
    use: int | None = None
    isometry: float | None = None
    wants_tight_inputs: bool = False
    exact_where_stable: bool = False
    compares_entries: bool = False
    has_norm: bool = False
    takes_windows: bool = False
    passes_constants: bool = False
    sources: "tuple[Rule, ...]" = ()

    def __init__(
        self, layer: keras.layers.Layer, inputs: tuple[int, ...], input_shape: Shape
    ) -> None:
        self.layer, self.inputs, self.input_shape = layer, inputs, input_shape
        # A Builder, which knows the inputs, replaces this if there are several.
        self.input_shapes: tuple[Shape, ...] = (input_shape,) * len(inputs)
        if getattr(layer, "quantization_mode", None):
            refuse(layer, "is quantised")
        self.check()

    @classmethod
    def limits_of(cls, bound: Bound) -> str:
        """The text ``limits`` for one of :data:`BOUNDS`."""
        return cls.limits

    @classmethod
    def expand(cls, builder: "Builder", node: Node, inputs: tuple[int, ...]) -> int:
        """Add the rules that represent a layer to a network; by default there is one.

        Args:
            builder: a :class:`zoo.bounds.network_rules.Builder`.
            node: the :class:`zoo.bounds.graph.Node` of the layer.
            inputs: tuple of the places of the layer's inputs.

        Returns:
            The place of the layer's output.
        """
        if getattr(node.layer, "data_format", "channels_last") == "channels_first":
            refuse(node.layer, "has its channels first")
        return builder.add(cls(node.layer, inputs, node.input_shape))

    def check(self) -> None:
        """Call :func:`refuse`, which raises, if a setting of the layer is not supported."""

    def prepare(self) -> None:
        """Read the current weights of the layer. It is called before bounds are computed."""

    def constant_factors(self) -> Array | None:
        """All constants that the layer multiplies its input by, one with each entry.

        None if it does something else. See :func:`zoo.bounds.rules.constants.require_in_range`.
        """
        return None

    def require_constants_in_range(self) -> None:
        """Refuse constants in a row whose product may leave the range of float32.

        Raises:
            zoo.UnsupportedLayerError: naming the layer.
        """

    def compute(self, tensors: Sequence[Tensor]) -> Tensor:
        """The layer's output, a float32 tensor, from a list of its inputs, float32 tensors."""
        return self.layer(tensors[0] if len(tensors) == 1 else tensors)

    @functools.cached_property
    def output_shape(self) -> Shape:
        """Shape of the output without the batch."""
        zeros = [ops.zeros((1, *shape), "float32") for shape in self.input_shapes]
        return tuple(self.compute(zeros).shape[1:])

    @property
    def width(self) -> int:
        """The number of entries of the largest tensor that :meth:`backward` makes of one row."""
        return max(math.prod(shape) for shape in self.input_shapes)

    def window_of(self, window: Shape) -> Shape:
        """``(height, width)`` of the inputs' window that a window of the output depends on.

        It is asked of a rule that takes windows; by default the windows are equal.
        """
        return window

    def interval(self, boxes: Sequence[Box]) -> Box:
        """Interval bounds.

        Args:
            boxes: for each input ``(lower, upper)``, float64 tensors ``(batch, *input_shape)``.

        Returns:
            ``(lower, upper)`` of the output as float32 computes it, float64 tensors
            ``(batch, *output_shape)``.
        """
        raise NotImplementedError

    def row_lengths(self) -> Tensor | None:
        """L2 norm of the coefficients of each output: a tensor ``(1, *output_shape)``, or None.

        Interval bounds over an L2 ball use it. A rule that does not return None must be an
        :class:`AffineRule`.
        """
        return

    def apart(self, inputs: Sequence[Tensor], boxes: Sequence[Box], box: Box) -> Tensor:
        """How far float32's output may be from the one that it computes a second time.

        A compiler may compute a layer again for each layer that uses it, and round differently.

        Args:
            inputs: for each input such a bound, a float64 tensor ``(batch, *input_shape)``.
            boxes: the boxes of the inputs.
            box: the box of the output. By default its width is the bound, as both are in it.

        Returns:
            float64 tensor ``(batch, *output_shape)``.
        """
        return box[1] - box[0]

    def relax(self, boxes: Sequence[Box]) -> Any:
        """Whatever :meth:`backward` needs to know about the input boxes."""
        return

    def backward(self, rows: Tensor, relaxed: Any) -> tuple[list[Tensor], Tensor]:
        """Linear relaxation: bound linear functions of the output by ones of the inputs.

        Args:
            rows: float64 tensor ``(batch, rows, *output_shape)``, the coefficients of linear
                functions of the output.
            relaxed: what :meth:`relax` returned.

        Returns:
            ``(input_rows, offset)``: a list with a tensor of coefficients ``(batch, rows,
            *input_shape)`` for each input, and a tensor ``(batch, rows)``. For all inputs in the
            boxes, the sum of ``input_rows · input`` over the inputs plus ``offset`` is at most
            ``rows · output``.
        """
        raise NotImplementedError

    def lipschitz(self) -> LipschitzBound:
        """Upper bounds of the L2 Lipschitz constant and of the error that float32 adds.

        Returns:
            :class:`zoo.bounds.rules.lipschitz_bound.LipschitzBound`.
        """
        raise NotImplementedError

    def estimate(self) -> Tensor:
        """The Lipschitz constant that training uses: a number, or a differentiable tensor.

        By default it is :attr:`first_constant`, so a rule whose constant changes needs its own.
        """
        return self.first_constant

    @functools.cached_property
    def first_constant(self) -> float:
        """The Lipschitz constant, computed once: for layers whose constant does not train."""
        return self.lipschitz().lipschitz

    def merged(self, values: Sequence[Any]) -> Any:
        """Combine one L2 bound for each input into one, which is multiplied by the constant."""
        return sum(values)

    def error_sizes(self, values: Sequence[Any]) -> Any:
        """What this layer's own rounding is relative to, from an L2 bound for each input.

        By default it is :meth:`merged`. A layer with larger terms that cancel gives more.
        """
        return self.merged(values)

    def trained_merge(self, values: Sequence[Any]) -> Tensor:
        """As :meth:`merged`, for estimates in training: differentiable where weights matter."""
        return self.merged(values)

    def second_order(self) -> Derivatives | None:
        """The derivatives from which the layer's part of a network's curvature is bounded.

        Returns:
            None for an affine layer, which must be an :class:`AffineRule`; otherwise the
            :class:`zoo.bounds.activations.derivatives.Derivatives` of an activation.
        """
        raise NotImplementedError
