"""L2 Lipschitz constants of networks: multiplied along chains, merged where branches meet."""

import collections
import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from typing import cast

import keras
import numpy as np
from keras import ops

from zoo.bounds.network_rules import rules_of
from zoo.bounds.rules.affine import AffineRule, KernelRule
from zoo.bounds.rules.dense import DenseRule
from zoo.bounds.rules.lipschitz_bound import LipschitzBound
from zoo.bounds.rules.rule import Rule
from zoo.bounds.rules.scaling import BatchNormalizationRule
from zoo.ops.float32 import LARGEST, UNIT_ROUNDOFF, sum_rounding
from zoo.ops.norm_estimate import NormEstimate, power_iteration
from zoo.ops.precision import float64
from zoo.typing import Array, Shape, Tensor
from zoo.utils.pair_distances import pair_distances

# The distance between two equal columns has no gradient, so distances are at least this.
_SMALLEST = 1e-12
# Far more than what float32 loses where it flushes subnormal numbers, which are below 1.2e-38.
_TINY = 1e-20


@dataclasses.dataclass(frozen=True)
class Step:
    """A rule, together with the batch normalisation that is folded into it, if there is one.

    Attributes:
        name: name of the layer, followed by a number if it is not the first use of that name.
        rule: :class:`zoo.bounds.Rule`.
        normalization: the rule of the batch normalisation that is folded into this step, or None.
        inputs: tuple of the places of the inputs: 0 is the image, ``i + 1`` is the output of the
            i-th step.
    """

    name: str
    rule: Rule
    normalization: BatchNormalizationRule | None
    inputs: tuple[int, ...]

    def bound(self) -> LipschitzBound:
        """The :class:`zoo.bounds.rules.lipschitz_bound.LipschitzBound` with the current weights."""
        if isinstance(self.rule, KernelRule):
            return self.rule.lipschitz(self.normalization)
        return self.rule.lipschitz()

    def constant(self, bound: LipschitzBound) -> float:
        """The step's own Lipschitz constant, from its :meth:`bound`.

        The factor of an operation such as ``h * 10.0`` is not in the bound, but in ``merged``. The
        constant of a step with several inputs depends on the constants of these inputs; this is
        then only the number by which the result of ``merged`` is multiplied.
        """
        return bound.lipschitz * (self.rule.merged([1.0]) if len(self.inputs) == 1 else 1.0)

    def compute(self, tensors: Sequence[Tensor]) -> Tensor:
        """The output that the network computes at inference."""
        outputs = self.rule.compute(tensors)
        return outputs if self.normalization is None else self.normalization.compute([outputs])

    def trained(self, tensor: Tensor) -> Tensor:
        """The linear part of an affine step with the current weights, which receive gradients."""
        outputs = cast(AffineRule, self.rule).trained(tensor)
        if self.normalization is None:
            return outputs
        return outputs * self.normalization.trained_scale()

    def estimate(self, vector: Tensor) -> tuple[Tensor, Tensor]:
        """One step of power iteration: ``(estimate of the L2 norm, next vector)``."""
        estimate, vector = power_iteration(self.trained, vector)
        return estimate.value, vector


class LipschitzNetwork:
    """A network as a sequence of steps whose L2 Lipschitz constants are bounded.

    A batch normalisation is folded into the layer with a kernel whose output it normalises, if
    nothing else uses that output. The norm of both together is at most the product of their norms,
    and usually smaller.

    Args:
        model: as for :func:`zoo.bounds.graph.nodes_of`; or the rules of its layers, a list.

    Attributes:
        steps: tuple of :class:`Step`, in the order in which they run.

    Raises:
        UnsupportedLayerError: naming the first layer without a bound, and what is supported.
    """

    def __init__(self, model: keras.Model | list[Rule]) -> None:
        rules = model if isinstance(model, list) else rules_of(model, "lipschitz")
        uses = collections.Counter(place for rule in rules for place in rule.inputs)
        uses[len(rules)] += 1
        names, steps, place_of = _names(rules), [], {0: 0}
        for index, rule in enumerate(rules, start=1):
            inputs = tuple(place_of[place] for place in rule.inputs)
            before = steps[inputs[0] - 1] if inputs[0] else None
            if before and _folds(rule, before) and uses[rule.inputs[0]] == 1:
                steps[inputs[0] - 1] = dataclasses.replace(before, normalization=rule)
                place_of[index] = inputs[0]
            else:
                steps.append(Step(names[rule.use], rule, None, inputs))
                place_of[index] = len(steps)
        self.steps = tuple(steps)
        for step in self.steps:
            # This fills the cache. Training reads the constant inside compiled programs, in which
            # weights have no values that it could be computed from.
            if not step.rule.has_norm:
                _ = step.rule.first_constant

    @property
    def with_norms(self) -> list[Step]:
        """The steps whose norms training estimates by power iteration."""
        return [step for step in self.steps if step.rule.has_norm]

    @property
    def vector_shapes(self) -> dict[str, Shape]:
        """Shapes of the vectors with which training estimates norms, without the batch, by name."""
        return {
            f"{step.rule.layer.name}_vector_{index}": step.rule.input_shape
            for index, step in enumerate(self.steps)
            if step.rule.has_norm
        }

    @property
    def head(self) -> Step | None:
        """The last step, if it is a dense layer without activation on flat features; else None."""
        last = self.steps[-1] if self.steps else None
        if last is None or not isinstance(last.rule, DenseRule) or last.normalization is not None:
            return None
        return last if len(last.rule.input_shape) == 1 else None

    def bounds(self) -> list[LipschitzBound]:
        """The :class:`zoo.bounds.rules.lipschitz_bound.LipschitzBound` of each step, as a list."""
        return [step.bound() for step in self.steps]

    def gains(self, bounds: Sequence[LipschitzBound]) -> list[float]:
        """Upper bounds of the Lipschitz constants from the image to each place, as a list.

        The first item, that of the image itself, is 1.
        """
        gains = [1.0]
        for step, bound in zip(self.steps, bounds, strict=True):
            inputs = step.rule.merged([gains[place] for place in step.inputs])
            gains.append(bound.lipschitz * inputs)
        return gains

    def steepness(self, bounds: Sequence[LipschitzBound], gains: Sequence[float]) -> Array:
        """Upper bounds of the Lipschitz constants of differences of logits.

        Args:
            bounds, gains: as :meth:`bounds` and :meth:`gains` return them.

        Returns:
            float64 array ``(classes, classes)``.
        """
        head = self.head
        if head is None:
            # Without a dense head, the network's outputs count as features with a unit kernel.
            return gains[-1] * pair_distances(np.eye(self.steps[-1].rule.output_shape[0]))
        with np.errstate(invalid="ignore", over="ignore"):
            return gains[head.inputs[0]] * pair_distances(float64(head.rule.layer.kernel))

    def by_layer(self, bounds: Sequence[LipschitzBound]) -> dict[str, float]:
        """Upper bounds of the layers' Lipschitz constants by name, in the order of the layers."""
        found = {}
        for step, bound in zip(self.steps, bounds, strict=True):
            found[step.name] = found.get(step.name, 1.0) * step.constant(bound)
        return found

    def estimate(
        self, vectors: Iterable[Tensor], *, pairwise: bool
    ) -> tuple[NormEstimate, list[Tensor]]:
        """Estimate from below how fast two logits can move apart, for training.

        Args:
            vectors: for each of :attr:`vector_shapes`, a tensor ``(1, *shape)`` from which the
                power iteration continues.
            pairwise: whether to estimate one constant for each pair of classes, as
                :meth:`steepness` bounds them, instead of ``√2`` times that of all logits together.
                Without a dense head there is only the latter.

        Returns:
            ``(estimate, vectors)``: a :class:`zoo.ops.NormEstimate` of a scalar or of a tensor
            ``(classes, classes)``, and the vectors for the next call.
        """
        gains, vectors = self.estimates(vectors)
        if not pairwise or self.head is None:
            return NormEstimate(math.sqrt(2.0) * gains[-1], gains[-1]), vectors
        features = gains[self.head.inputs[0]]
        rows = ops.transpose(ops.convert_to_tensor(self.head.rule.layer.kernel))
        return NormEstimate(features * trained_distances(rows), features), vectors

    def estimates(self, vectors: Iterable[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Estimates of the bounds that :meth:`gains` gives, from below, for training.

        Args:
            vectors: for each step in :attr:`with_norms`, a tensor ``(1, *input_shape)`` from which
                the step's power iteration continues.

        Returns:
            ``(gains, vectors)``: a list of scalar tensors that begins with 1 for the image, and the
            vectors for the next call.
        """
        vectors, gains, new = iter(vectors), [1.0], []
        for step in self.steps:
            if step.rule.has_norm:
                value, vector = step.estimate(next(vectors))
                new.append(vector)
            else:
                value = step.rule.estimate()
            inputs = [gains[place] for place in step.inputs]
            gains.append(value * step.rule.trained_merge(inputs))
        return gains, new

    def tensors(self, images: Tensor) -> list[Tensor]:
        """The tensors that the network computes at each place; the first are the images."""
        tensors = [images]
        for step in self.steps:
            tensors.append(step.compute([tensors[place] for place in step.inputs]))
        return tensors

    def sums(self, tensors: Sequence[Tensor]) -> list[Array | None]:
        """For each step, the L2 norms of its sums with absolute factors and inputs: ``(n,)``.

        Float32's error in a layer is relative to these sums. They are far below the norm of the
        absolute factors times that of the inputs, which they could only reach for one input.

        Args:
            tensors: as :meth:`tensors` returns them.

        Returns:
            A list with a float64 array, rounded up, for each step; None where the step is not a
            layer with a kernel alone.
        """
        found: list[Array | None] = []
        for step in self.steps:
            rule = step.rule
            plain = isinstance(rule, KernelRule) and step.normalization is None
            if not plain or not rule.relative_to_sums:
                found.append(None)
            else:
                kernel, _ = rule.weights()
                absolute = ops.convert_to_tensor(np.abs(kernel), "float32")
                sums = lengths(rule.computed(ops.abs(tensors[step.inputs[0]]), absolute))
                # This was computed in float32, too, which may have flushed tiny products to zero.
                found.append(sums / (1.0 - sum_rounding(rule.depth(kernel))) + _TINY)
        return found

    def errors(
        self,
        bounds: Sequence[LipschitzBound],
        size: Callable[[int, Array], Array],
        at_input: float,
        sums: Sequence[Array | None] | None = None,
        moved: Callable[[int, Array], Array] | None = None,
    ) -> Array:
        """Upper bounds of the L2 norm of float32's error in the network's output.

        Args:
            bounds: as :meth:`bounds` returns them.
            size: function of a place and of the error bound there. It returns an upper bound of the
                L2 norm of the tensor that float32 computes there, a float64 array ``(n,)``.
            at_input: upper bound of the L2 norm of the error in the images.
            sums: as :meth:`sums` returns them for some images, or None.
            moved: with ``sums``, function like ``size``: an upper bound of the L2 distance, at a
                place, between what float32 computes for such an image and for a perturbed one. The
                error is then bounded for the perturbed images.

        Returns:
            float64 array ``(n,)``; infinite where a number may leave float32's range.
        """
        errors = [np.full(1, at_input)]
        # What overflows gives infinities or NaN, which prove nothing.
        with np.errstate(over="ignore", invalid="ignore"):
            for index, (step, bound) in enumerate(zip(self.steps, bounds, strict=True)):
                merged = step.rule.merged
                inputs = [size(place, errors[place]) for place in step.inputs]
                inputs = step.rule.error_sizes(inputs)
                error = bound.lipschitz * merged([errors[place] for place in step.inputs])
                added = bound.offset + bound.per_size * inputs
                largest = bound.sum_offset + bound.sum_per_size * inputs
                # `added / UNIT_ROUNDOFF` bounds the sums after a batch normalisation, and `largest`
                # those before it. If one could leave float32's range, the error is infinite and
                # the radius 0.
                held = (added < LARGEST * UNIT_ROUNDOFF) & (largest < LARGEST)
                held = held & (inputs < bound.largest_input)
                own = sums[index] if sums is not None else None
                if own is not None and moved is not None and bound.sum_per_size > 0:
                    # |W| |z| ≤ |W| |z0| + |W| |z − z0|. `per_size` is ‖|W|‖ times the relative
                    # error of a sum, and a part for flushing, which _TINY more than covers.
                    place = step.inputs[0]
                    shares = own / bound.sum_per_size + moved(place, errors[place])
                    sharper = bound.offset + bound.per_size * shares + _TINY * (1.0 + inputs)
                    added = np.minimum(added, sharper)
                errors.append(error + np.where(held, added, np.inf))
        return errors[-1]


def trained_distances(rows: Tensor) -> Tensor:
    """L2 distances of the rows of a tensor ``(classes, …)``, with gradients, for training.

    Returns:
        Tensor ``(classes, classes)``; its diagonal is tiny, not 0.
    """
    rows = ops.reshape(rows, (rows.shape[0], -1))
    squares = ops.sum(ops.square(rows[:, None] - rows[None]), axis=-1)
    return ops.sqrt(ops.maximum(squares, _SMALLEST**2))


def lengths(tensor: Tensor) -> Array:
    """L2 norms of the tensors of a batch, in float64: ``(n,)``."""
    array = float64(tensor)
    return np.linalg.norm(array.reshape(len(array), -1), axis=1)


def _folds(rule: Rule, before: Step) -> bool:
    """Whether a rule is a batch normalisation that can be folded into the step before it."""
    return bool(
        isinstance(rule, BatchNormalizationRule)
        and rule.over_channels
        and isinstance(before.rule, KernelRule)
        and before.rule.folds
        and before.normalization is None
    )


def _names(rules: Sequence[Rule]) -> dict[int | None, str]:
    """A unique name for each use of a layer, by the number of the use.

    A layer may be used twice, and two layers may have the same name.
    """
    names, counts = {}, collections.Counter()
    for rule in rules:
        if rule.use not in names:
            counts[rule.layer.name] += 1
            count = counts[rule.layer.name]
            names[rule.use] = rule.layer.name if count == 1 else f"{rule.layer.name} #{count}"
    return names
