"""L2 Lipschitz constants of networks: multiplied along chains, merged where branches meet."""

import collections
import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import cast

import keras
import numpy as np
from keras import ops

from zoo.bounds.network_rules import rules_of
from zoo.bounds.rules.affine import KernelRule
from zoo.bounds.rules.dense import DenseRule
from zoo.bounds.rules.lipschitz_bound import LipschitzBound
from zoo.bounds.rules.rule import Rule
from zoo.bounds.rules.scaling import BatchNormalizationRule
from zoo.ops.float32 import LARGEST, UNIT_ROUNDOFF
from zoo.ops.norm_estimate import power_iteration
from zoo.typing import Array, Tensor


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

    def compute(self, tensors: Sequence[Tensor]) -> Tensor:
        """The output that the network computes at inference."""
        outputs = self.rule.compute(tensors)
        return outputs if self.normalization is None else self.normalization.compute([outputs])

    def estimate(self, vector: Tensor) -> tuple[Tensor, Tensor]:
        """One step of power iteration: ``(estimate of the L2 norm, next vector)``."""
        rule, normalization = cast(KernelRule, self.rule), self.normalization

        def linear(tensor: Tensor) -> Tensor:
            outputs = rule.trained(tensor)
            return outputs if normalization is None else outputs * normalization.trained_scale()

        estimate, vector = power_iteration(linear, vector)
        return estimate.value, vector


class LipschitzNetwork:
    """A network as a sequence of steps whose L2 Lipschitz constants are bounded.

    A batch normalisation is folded into the layer with a kernel whose output it normalises, if
    nothing else uses that output. The norm of both together is at most the product of their norms,
    and usually smaller.

    Args:
        model: as for :func:`zoo.bounds.graph.nodes_of`.

    Attributes:
        steps: tuple of :class:`Step`, in the order in which they run.

    Raises:
        UnsupportedLayerError: naming the first layer without a bound, and what is supported.
    """

    def __init__(self, model: keras.Model) -> None:
        rules = rules_of(model, "lipschitz")
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
    def head(self) -> Step | None:
        """The last step, if it is a dense layer without activation on flat features; else None."""
        last = self.steps[-1] if self.steps else None
        if last is None or type(last.rule) is not DenseRule or last.normalization is not None:
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

    def by_layer(self, bounds: Sequence[LipschitzBound]) -> dict[str, float]:
        """Upper bounds of the layers' Lipschitz constants by name, in the order of the layers."""
        found = {}
        for step, bound in zip(self.steps, bounds, strict=True):
            found[step.name] = found.get(step.name, 1.0) * bound.lipschitz
        return found

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

    def errors(
        self, bounds: Sequence[LipschitzBound], size: Callable[[int, Array], Array], at_input: float
    ) -> Array:
        """Upper bounds of the L2 norm of float32's error in the network's output.

        Args:
            bounds: as :meth:`bounds` returns them.
            size: function of a place and of the error bound there. It returns an upper bound of the
                L2 norm of the tensor that float32 computes there, a float64 array ``(n,)``.
            at_input: upper bound of the L2 norm of the error in the images.

        Returns:
            float64 array ``(n,)``; infinite where a number may leave float32's range.
        """
        errors = [np.full(1, at_input)]
        # What overflows gives infinities or NaN, which prove nothing.
        with np.errstate(over="ignore", invalid="ignore"):
            for step, bound in zip(self.steps, bounds, strict=True):
                merged = step.rule.merged
                inputs = [size(place, errors[place]) for place in step.inputs]
                inputs = step.rule.error_sizes(inputs)
                error = bound.lipschitz * merged([errors[place] for place in step.inputs])
                added = bound.offset + bound.per_size * inputs
                sums = bound.sum_offset + bound.sum_per_size * inputs
                # `added / UNIT_ROUNDOFF` bounds the sums after a batch normalisation, and `sums`
                # those before it. If one could leave float32's range, the error is infinite and
                # the radius 0.
                held = (added < LARGEST * UNIT_ROUNDOFF) & (sums < LARGEST)
                held = held & (inputs < bound.largest_input)
                errors.append(error + np.where(held, added, np.inf))
        return errors[-1]


def lengths(tensor: Tensor) -> Array:
    """L2 norms of the tensors of a batch, in float64: ``(n,)``."""
    array = ops.convert_to_numpy(tensor).astype(np.float64)
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
