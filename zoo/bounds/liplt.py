"""A tighter L2 Lipschitz constant than the product of norms, for increasing activations."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn, cast

import keras
import numpy as np
from keras import ops

from zoo.bounds.lipschitz import LipschitzNetwork, Step, trained_distances
from zoo.bounds.rules.activations import ActivationRule, PReLURule
from zoo.bounds.rules.affine import AffineRule, KernelRule
from zoo.bounds.rules.lipschitz_bound import LipschitzBound
from zoo.bounds.rules.rows import through_transposed
from zoo.bounds.rules.scaling import BatchNormalizationRule
from zoo.errors import UnsupportedLayerError
from zoo.ops.gradients import input_gradient
from zoo.ops.norm_estimate import NormEstimate, power_iteration
from zoo.ops.precision import double_precision, float64
from zoo.ops.singular_values import dense_norm
from zoo.typing import Array, Shape, Tensor
from zoo.utils.float64 import SLACK
from zoo.utils.pair_distances import row_distances

# The matrix of a composition of layers is computed if its smaller side is at most this.
_LARGEST_MATRIX = 1024
# That many of its rows are computed at a time.
_ROWS = 128


class LipLTNetwork(LipschitzNetwork):
    """A chain of affine layers and activations, bounded by its loop transformation (LipLT).

    An increasing activation with slopes of at most s is ``φ(z) = s/2 · z + ψ(z)``, where ψ is
    s/2-Lipschitz. So what arrives at the i-th activation is a sum over the earlier activations:
    each ψ passes through the *product* of the matrices in between, whose norm is at most the
    product of their norms. With ``W_i`` for the affine layers, ``m_i`` for the Lipschitz constant
    of the input of activation i, and s = 1 as for ReLU,
    ``m_i = Σ_j 2^−(j+1) ‖W_i … W_{i−j}‖ m_{i−1−j} + 2^−i ‖W_i … W_0‖``. This is never above the
    product of the norms. For the difference of two logits, the rows of the last matrix are
    subtracted before the norms are taken.

    Args:
        model: as for :class:`zoo.bounds.lipschitz.LipschitzNetwork`. It must be a chain of affine
            layers and of activations without negative slopes, such as ReLU, softplus and tanh, and
            end in a dense layer.

    Raises:
        UnsupportedLayerError: naming the first layer that does not belong into such a chain.

    Reference:
        Fazlyab, Entesari, Roy, Chellappa: Certified Robustness via Dynamic Margin Maximization and
        Improved Lipschitz Regularization, NeurIPS 2023, section 3.
    """

    def __init__(self, model: keras.Model) -> None:
        super().__init__(model)
        #: The affine steps before each activation, and those after the last one.
        self.groups: list[list[Step]] = [[]]
        for place, step in enumerate(self.steps):
            if step.inputs != (place,):
                _refuse(step, "is not part of a chain")
            if isinstance(step.rule, ActivationRule):
                _require_slopes(step)
                self.groups.append([])
            elif _is_affine(step):
                self.groups[-1].append(step)
            else:
                _refuse(step, "is neither affine nor an increasing activation")
        if self.head is None:
            _refuse(self.steps[-1], "is the last one, but not a dense layer without activation")
        # The places of the inputs of the activations.
        self.ends = [
            place for place, step in enumerate(self.steps) if isinstance(step.rule, ActivationRule)
        ]
        # The first and the last group of each composition, in the order of the vectors.
        self.segments = [
            (first, last) for last in range(len(self.groups)) for first in range(last + 1)
        ]
        # Half of the steepest slope of each activation.
        self.halves = [
            cast(ActivationRule, self.steps[place].rule).kind.lipschitz / 2.0 for place in self.ends
        ]

    @property
    def vector_shapes(self) -> dict[str, Shape]:
        return {f"vector_{first}_{last}": self._group_shape(first) for first, last in self.segments}

    def gains(self, bounds: Sequence[LipschitzBound]) -> list[float]:
        norms = self.norms(bounds)
        stretches, gains = [], [1.0]
        for place, (step, bound) in enumerate(zip(self.steps, bounds, strict=True)):
            if place in self.ends:
                # Only by rounding can the formula be above the product of the norms.
                gains[place] = min(gains[place], self._stretch(norms, stretches))
                stretches.append(gains[place])
            gains.append(bound.lipschitz * step.rule.merged([gains[place]]))
        gains[-1] = min(gains[-1], self._stretch(norms, stretches))
        return gains

    def steepness(self, bounds: Sequence[LipschitzBound], gains: Sequence[float]) -> Array:
        product = super().steepness(bounds, gains)
        if not np.isfinite(product).all():
            return product
        with double_precision():
            maps = [list(map(_float64_map, group)) for group in self.groups]
            absolute = self._absolutes(bounds)
            rows = float64(cast(AffineRule, self.groups[-1][-1].rule).layer.kernel).T
            size = np.linalg.norm(rows, axis=1)
            # A bound of float64's rounding errors of a row, relative to the row's terms.
            slack = SLACK * (size[:, None] + size[None])
            shape = cast(AffineRule, self.groups[-1][-1].rule).input_shape
            rows = self._pulled_back(maps[-1][:-1], rows, self._group_shape(len(maps) - 1), shape)
            slack = slack * math.prod(absolute[id(step)] for step in self.groups[-1][:-1])
            total, factor = np.zeros_like(product), 1.0
            for index in reversed(range(len(self.ends))):
                factor *= self.halves[index]
                total += factor * (row_distances(rows) + slack) * gains[self.ends[index]]
                shape = self.steps[self.ends[index]].rule.input_shape
                rows = self._pulled_back(maps[index], rows, self._group_shape(index), shape)
                slack = slack * math.prod(absolute[id(step)] for step in self.groups[index])
            total += factor * (row_distances(rows) + slack)
        return np.minimum(product, total * (1.0 + SLACK))

    def norms(self, bounds: Sequence[LipschitzBound]) -> dict[tuple[int, int], float]:
        """Upper bounds of the L2 norms of compositions of consecutive groups of affine layers.

        Args:
            bounds: as :meth:`bounds` returns them.

        Returns:
            Dictionary from the first and the last group of a composition to its bound. The bound is
            at most the product of the bounds of its parts.
        """
        of_step = dict(zip((id(step) for step in self.steps), bounds, strict=True))
        norms = {}
        with double_precision():
            maps = [list(map(_float64_map, group)) for group in self.groups]
            absolute = self._absolutes(bounds)
            # The bounds of short compositions are parts of those of longer ones.
            for first, last in sorted(self.segments, key=lambda ends: ends[1] - ends[0]):
                steps = self._steps(first, last)
                if first == last:
                    norm = math.prod(step.constant(of_step[id(step)]) for step in steps)
                else:
                    norm = min(
                        norms[first, cut] * norms[cut + 1, last] for cut in range(first, last)
                    )
                if math.isfinite(norm):
                    size = math.prod(absolute[id(step)] for step in steps)
                    norm = min(norm, self._matrix_norm(maps, first, last, size))
                norms[first, last] = norm
        return norms

    def estimate(
        self, vectors: Iterable[Tensor], *, pairwise: bool
    ) -> tuple[NormEstimate, list[Tensor]]:
        norms, new = {}, []
        for segment, vector in zip(self.segments, vectors, strict=True):
            composition = _composed([step.trained for step in self._steps(*segment)])
            found, vector = power_iteration(composition, vector)
            norms[segment] = found.value
            new.append(vector)
        stretches = []
        for _ in self.groups:
            stretches.append(self._stretch(norms, stretches))
        features = stretches[-2] if self.ends else ops.ones(())
        if not pairwise:
            return NormEstimate(math.sqrt(2.0) * stretches[-1], features), new
        head = self.groups[-1][-1].rule
        rows = ops.transpose(ops.convert_to_tensor(head.layer.kernel))
        rows = self._trained_rows(self.groups[-1][:-1], rows, len(self.groups) - 1)
        total, factor = 0.0, 1.0
        for index in reversed(range(len(self.ends))):
            factor *= self.halves[index]
            total = total + factor * trained_distances(rows) * stretches[index]
            rows = self._trained_rows(self.groups[index], rows, index)
        return NormEstimate(total + factor * trained_distances(rows), features), new

    def _steps(self, first: int, last: int) -> list[Step]:
        """The affine steps of a composition of groups."""
        return [step for group in self.groups[first : last + 1] for step in group]

    def _stretch(self, norms: dict[tuple[int, int], Any], stretches: Sequence[Any]) -> Any:
        """``m_i`` from ``m_0`` to ``m_(i-1)``, rounded up if the numbers are floats."""
        last, total, factor = len(stretches), 0.0, 1.0
        for index in reversed(range(last)):
            factor *= self.halves[index]
            total = total + factor * norms[index + 1, last] * stretches[index]
        return (total + factor * norms[0, last]) * (1.0 + SLACK)

    def _group_shape(self, index: int) -> Shape:
        """Shape of the input of a group."""
        place = self.ends[index - 1] + 1 if index else 0
        return self.steps[place].rule.input_shape

    def _trained_rows(self, steps: Sequence[Step], rows: Tensor, index: int) -> Tensor:
        """Rows through the transposes of steps at the start of a group, with gradients."""
        through, flat = _composed([step.trained for step in steps]), (rows.shape[0], -1)
        zeros = ops.zeros((rows.shape[0], *self._group_shape(index)), rows.dtype)
        return input_gradient(
            lambda tensor: ops.reshape(through(tensor), flat) * ops.reshape(rows, flat), zeros
        )

    def _absolutes(self, bounds: Sequence[LipschitzBound]) -> dict[int, float]:
        """Upper bounds of the L2 norms of affine steps with absolute factors, by the steps' ids."""
        found = {}
        for step, bound in zip(self.steps, bounds, strict=True):
            rule = step.rule
            if isinstance(rule, KernelRule):
                found[id(step)] = bound.sum_per_size * float(np.abs(_scale(step)).max())
            elif isinstance(rule, AffineRule):
                found[id(step)] = rule.norms()[1]
        return found

    @staticmethod
    def _pulled_back(
        maps: Sequence[Callable[[Tensor], Tensor]], rows: Array, shape: Shape, output: Shape
    ) -> Array:
        """Rows ``(n, …)`` through the transpose of a composition: ``(n, size of its input)``."""
        tensor = ops.convert_to_tensor(rows.reshape(1, len(rows), *output), "float64")
        found = through_transposed(_composed(maps), tensor, shape)
        return ops.convert_to_numpy(found).reshape(len(rows), -1)

    def _matrix_norm(
        self,
        maps: Sequence[Sequence[Callable[[Tensor], Tensor]]],
        first: int,
        last: int,
        size: float,
    ) -> float:
        """Upper bound of the norm of a composition from its matrix; infinite if that is large.

        Args:
            maps: for each group, the linear parts of its steps.
            first, last: the first and the last group of the composition.
            size: upper bound of the norm of the composition with absolute factors.
        """
        parts = [linear for group in maps[first : last + 1] for linear in group]
        steps = self._steps(first, last)
        if not steps:
            return 1.0
        shape, output = self._group_shape(first), steps[-1].rule.output_shape
        sides = math.prod(shape), math.prod(output)
        if min(sides) > _LARGEST_MATRIX:
            return math.inf
        unit, blocks = np.eye(min(sides)), []
        for start in range(0, len(unit), _ROWS):
            rows = unit[start : start + _ROWS]
            if sides[0] <= sides[1]:
                tensor = ops.convert_to_tensor(rows.reshape(-1, *shape), "float64")
                tensor = _composed(parts)(tensor)
                blocks.append(ops.convert_to_numpy(tensor).reshape(len(rows), -1))
            else:
                blocks.append(self._pulled_back(parts, rows, shape, output))
        matrix = np.concatenate(blocks)
        if not np.isfinite(matrix).all():
            return math.inf
        # Float64's rounding errors of the entries are bounded relative to the matrix of absolute
        # factors. The norm is scaled inside, so that no square of an entry overflows or vanishes.
        return (dense_norm(matrix) + SLACK * size) * (1.0 + SLACK)


def _composed(maps: Sequence[Callable[[Tensor], Tensor]]) -> Callable[[Tensor], Tensor]:
    def through(tensor: Tensor) -> Tensor:
        for linear in maps:
            tensor = linear(tensor)
        return tensor

    return through


def _folded_kernel(step: Step) -> Array:
    """The float64 kernel of a step, with its batch normalisation folded into it."""
    rule = cast(KernelRule, step.rule)
    kernel, _ = rule.weights()
    return kernel if step.normalization is None else rule.scaled(kernel, _scale(step))


def _scale(step: Step) -> Array:
    """The factors of the batch normalisation that is folded into a step, or a single 1."""
    if step.normalization is None:
        return np.ones(1)
    scale, _, _ = step.normalization.scale_and_errors(step.rule.output_shape)
    return scale


def _float64_map(step: Step) -> Callable[[Tensor], Tensor]:
    """The linear part of a step, as a function of float64 tensors."""
    rule = cast(AffineRule, step.rule)
    if not isinstance(rule, KernelRule):
        rule.prepare()
        return rule.linear
    kernel = ops.convert_to_tensor(_folded_kernel(step), "float64")
    return lambda tensor: rule.apply(tensor, kernel)


def _is_affine(step: Step) -> bool:
    """Whether the linear part is known, in float64 and, with gradients, in float32."""
    rule = step.rule
    # Layers with an effective kernel compute that with an error of their own.
    return (
        isinstance(rule, AffineRule)
        and not isinstance(rule, BatchNormalizationRule)
        and getattr(rule, "folds", True)
    )


def _require_slopes(step: Step) -> None:
    rule = cast(ActivationRule, step.rule)
    # The slope of PReLU trains, so it may become negative.
    if isinstance(rule, PReLURule) or not rule.kind.increasing:
        _refuse(step, "may have a negative slope")


def _refuse(step: Step, reason: str) -> NoReturn:
    raise UnsupportedLayerError(
        f"{type(step.rule.layer).__name__} {step.name!r} {reason}; LipLT bounds chains of affine "
        "layers and activations such as ReLU that end in a dense layer. The product of the layers' "
        "norms bounds other networks too"
    )
