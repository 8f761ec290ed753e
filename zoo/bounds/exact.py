"""Least values of linear functions of a small network of ReLUs, by a mixed-integer program."""

import collections
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.optimize
import scipy.sparse
from keras import ops

from zoo.bounds.activations import Piecewise
from zoo.bounds.crown import Relaxations, add_rows
from zoo.bounds.perturbation import PerturbationSet
from zoo.bounds.rules.activations import ActivationRule
from zoo.bounds.rules.affine import AffineRule
from zoo.bounds.rules.layout import PermutationRule
from zoo.bounds.rules.merge import ConcatenateRule
from zoo.bounds.rules.rows import rounded_up
from zoo.bounds.rules.rule import Rule
from zoo.errors import UnsupportedLayerError
from zoo.typing import Array, Box
from zoo.utils.deadline import time_is_up, time_left
from zoo.utils.float64 import LINE_SLACK

# HiGHS stops when the bound and the best value differ by less than this share of the value. Both
# then have the same sign, and no more is needed than the sign of the least value.
_GAP = 0.9
# The costs are scaled so that the objective can move by about this much, as HiGHS's tolerances are
# absolute.
_OBJECTIVE = 1024.0
# The largest number of coefficients of hidden neurons that a program may have.
_LARGEST = 10_000_000


class Least(NamedTuple):
    """What :meth:`ReLUProgram.least` finds.

    Attributes:
        bound: lower bound of the least value; ``-inf`` if nothing was proved.
        point: float64 array of the input's shape, an input at which the value is small, if one was
            met; it is rounded, and may be outside of the set by a tolerance. Otherwise None.
    """

    bound: float
    point: Array | None


class ReLUProgram:
    """A network over a box of inputs as a mixed-integer program, which HiGHS solves.

    It is made and used within :func:`zoo.ops.precision.double_precision`.

    Its columns are the inputs, the outputs of the unstable neurons (whose pre-activations may have
    either sign), and one binary number for each of these, which is 1 if the neuron is on. All other
    neurons are linear, so that linear functions go backwards through them as in CROWN.

    Each input of the box, as float32 computes the network, satisfies all constraints: they come
    from :meth:`zoo.bounds.Rule.backward`, which counts the rounding errors. For a neuron with a
    pre-activation z between l and u, a slope α below zero and the binary number s, they are, where
    α < 1, ``a >= z``, ``a >= α z``, ``a <= z - (1 - α) l (1 - s)`` and ``a <= α z + (1 - α) u s``.

    Nothing that HiGHS claims is taken for proved. Its solution of the mixed-integer program says
    whether a proof is worth the time. The proof is a tree: each node fixes some of the binary
    numbers, and HiGHS solves its linear relaxation. For any multipliers ``y <= 0`` of the rows
    ``A v <= b``, each v between the ends of the columns has ``c · v >= y · b + min (c - y A) · v``,
    and the minimum over the columns is a sum. So the bound of a node is computed from HiGHS's
    multipliers, whatever their errors are, and float64's rounding is subtracted. A node that HiGHS
    calls infeasible counts as such only if a lower bound of its least violation is positive.

    Args:
        rules: list of prepared rules that :func:`require_exact` accepts.
        perturbed: :class:`zoo.bounds.perturbation.PerturbationSet` of one input, in ℓ∞, with a
            positive radius.
        relaxations: :class:`zoo.bounds.crown.Relaxations` over boxes of that set, which are finite.
            The tighter they are, the fewer neurons are unstable.

    Reference:
        Tjeng, Xiao, Tedrake: Evaluating Robustness of Neural Networks with Mixed Integer
        Programming, ICLR 2019.
    """

    def __init__(
        self, rules: Sequence[Rule], perturbed: PerturbationSet, relaxations: Relaxations
    ) -> None:
        self._rules, self._relaxations = rules, relaxations
        # The images are the same wherever they are used.
        uses = collections.Counter(place for rule in rules for place in rule.inputs if place)
        self._branches = max(uses.values(), default=0) > 1
        self._center = _flat(perturbed.center)
        self._input_shape = tuple(perturbed.center.shape[1:])
        self._unstable = {
            place: _unstable_entries(rule, _flat_box(relaxations.boxes[rule.inputs[0]]))
            for place, rule in enumerate(rules, start=1)
            if isinstance(rule, ActivationRule)
        }
        self._lay_out_columns(perturbed)
        parts = [
            self._constraints(place, entries)
            for place, entries in self._unstable.items()
            if len(entries)
        ]
        if parts:
            matrix, limits = (np.concatenate(part) for part in zip(*parts, strict=True))
            self._set_rows(matrix, limits)

    @property
    def unstable(self) -> int:
        """The number of unstable neurons, and of binary numbers."""
        return self._binaries.stop - self._binaries.start

    def least(self, row: Array, threshold: float = 0.0) -> Least:
        """Try to prove that a linear function of the output exceeds a threshold on all inputs.

        The proof stops when the time of :func:`zoo.utils.deadline.time_limit` is up.

        Args:
            row: float64 array ``(outputs,)``, the coefficients.
            threshold: number that the function must exceed.

        Returns:
            :class:`Least`.
        """
        costs, below, _ = self._functions(len(self._rules), row[None])
        costs = costs[0] * self._scales
        if not self.unstable:
            # The network is linear here, so that linear relaxation leaves nothing to be gained.
            return Least(-math.inf, self._point(np.where(costs > 0, self._low, self._high)))
        reach = float(np.abs(costs) @ (self._high - self._low))
        scale = _OBJECTIVE / reach if reach > 0 else 1.0
        # The last column is 1. Its cost is the constant of the function, whose sign HiGHS needs.
        costs = scale * np.append(costs, below[0] - threshold)
        if not (self._finite and np.isfinite(costs).all() and not time_is_up()):
            return Least(-math.inf, None)
        guess = self._guess(costs)
        point = self._point(guess.x)
        if guess.mip_dual_bound is None or not guess.mip_dual_bound > 0:
            return Least(-math.inf, point)
        return Least(threshold + self._proved(costs[:-1], costs[-1]) / scale, point)

    def _guess(self, costs: Array) -> Any:
        """HiGHS's result for the mixed-integer program; the last column is 1."""
        integrality = np.zeros(len(costs))
        integrality[self._binaries] = 1
        matrix = scipy.sparse.hstack([self._matrix, np.zeros((len(self._limits), 1))])
        solver: Any = scipy.optimize  # its stubs take bounds for single numbers
        return solver.milp(
            costs,
            integrality=integrality,
            bounds=solver.Bounds(np.append(self._low, 1.0), np.append(self._high, 1.0)),
            constraints=solver.LinearConstraint(matrix.tocsr(), -np.inf, self._limits),
            options={"mip_rel_gap": _GAP, "time_limit": max(time_left(), 1e-3)},
        )

    def _proved(self, costs: Array, constant: float) -> float:
        """A positive lower bound of ``costs · columns + constant``, or ``-inf``."""
        least, nodes = math.inf, [(self._low, self._high)]
        while nodes:
            if time_is_up():
                return -math.inf
            low, high = nodes.pop()
            bound, scores = self._relaxed(costs, low, high)
            if bound + constant > 0:
                least = min(least, bound + constant)
                continue
            free = low[self._binaries] < high[self._binaries]
            if not free.any():
                return -math.inf
            chosen = self._binaries.start + int(np.argmax(np.where(free, scores, -1.0)))
            for value in (0.0, 1.0):
                ends = low.copy(), high.copy()
                ends[0][chosen] = ends[1][chosen] = value
                nodes.append(ends)
        return least

    def _relaxed(self, costs: Array, low: Array, high: Array) -> tuple[float, Array]:
        """The bound of a node, and how much it may gain from each binary number."""
        scores = np.zeros(self.unstable)
        found, multipliers = _linear_program(costs, self._matrix, self._limits, low, high)
        if found.status == 0:
            on = found.x[self._binaries]
            weights = (abs(self._matrix).T @ np.abs(multipliers))[self._binaries]
            scores = weights * np.minimum(on, 1.0 - on)
            return _bound(costs, self._matrix, self._limits, low, high, multipliers), scores
        if found.status != 2:
            return -math.inf, scores
        # The least t such that all rows hold if their limits are raised by t.
        matrix = scipy.sparse.hstack([self._matrix, np.full((len(self._limits), 1), -1.0)]).tocsr()
        most = float((abs(self._matrix) @ self._sizes + np.abs(self._limits)).max())
        program = (
            np.append(np.zeros_like(costs), 1.0),
            matrix,
            self._limits,
            np.append(low, 0.0),
            np.append(high, most),
        )
        found, multipliers = _linear_program(*program)
        infeasible = found.status == 0 and _bound(*program, multipliers) > 0
        return math.inf if infeasible else -math.inf, scores

    def _point(self, solution: Array | None) -> Array | None:
        if solution is None:
            return None
        count = len(self._center)
        change = self._scales[:count] * solution[:count]
        return (self._center + change).reshape(self._input_shape)

    def _lay_out_columns(self, perturbed: PerturbationSet) -> None:
        """Number the columns, and find their scales and their bounds in scaled units.

        The columns of the inputs hold their differences from the center.
        """
        eps = float(_flat(perturbed.eps)[0])
        lower, upper = _flat_box(perturbed.box())
        ends = [(lower - self._center, upper - self._center)]
        scales, count = [np.full(len(lower), eps)], len(lower)
        self._columns = {}
        for place, entries in self._unstable.items():
            self._columns[place] = slice(count, count + len(entries))
            low, high = (end[entries] for end in _flat_box(self._relaxations.boxes[place]))
            ends.append((low, high))
            scales.append(np.maximum(np.abs(low), np.abs(high)))
            count += len(entries)
        binaries = count - len(lower)
        self._binaries = slice(count, count + binaries)
        self._scales = np.concatenate([*scales, np.ones(binaries)])
        low, high = (np.concatenate(part) for part in zip(*ends, strict=True))
        low, high = (end / self._scales[:count] for end in (low, high))
        # The ends are divided by their scales, which rounds them.
        self._low = np.concatenate([low - LINE_SLACK, np.zeros(binaries)])
        self._high = np.concatenate([high + LINE_SLACK, np.ones(binaries)])
        self._sizes = np.maximum(np.abs(self._low), np.abs(self._high))

    def _set_rows(self, matrix: Array, limits: Array) -> None:
        """Take the rows ``matrix · columns <= limits``, which are scaled, as HiGHS is to see them.

        Args:
            matrix: float64 array ``(rows, columns)``, of columns in their own units.
            limits: float64 array ``(rows,)``.
        """
        matrix = matrix * self._scales
        self._finite = bool(np.isfinite(matrix).all() and np.isfinite(limits).all())
        # Scaling has rounded both.
        self._limits = limits + LINE_SLACK * (np.abs(limits) + np.abs(matrix) @ self._sizes)
        self._matrix = scipy.sparse.csr_array(matrix)

    def _constraints(self, place: int, entries: Array) -> tuple[Array, Array]:
        """The rows of the unstable neurons at a place: ``(matrix, limits)``, rows scaled."""
        rule: Any = self._rules[place - 1]
        count, shape = len(entries), rule.input_shape
        one = np.zeros((rounded_up(count), math.prod(shape)))
        one[np.arange(count), entries] = 1.0
        z, below, above = (part[:count] for part in self._functions(rule.inputs[0], one))
        box = _flat_box(self._relaxations.boxes[rule.inputs[0]])
        lower, upper = (end[entries] for end in box)
        slope = _slopes(rule)[entries]
        size = np.maximum(-box[0], box[1]).reshape(shape)
        error = np.broadcast_to(rule.kind.rounding(size), shape).reshape(-1)[entries]
        output, binary = np.zeros_like(z), np.zeros_like(z)
        places = np.arange(count)
        output[places, self._columns[place].start + places] = 1.0
        first = self._columns[place].start - len(self._center) + self._binaries.start
        binary[places, first + places] = 1.0

        def column(numbers: Array) -> Array:
            return numbers[:, None]

        steep = 1.0 - slope
        # Where the slope is above 1, the function is concave, and all inequalities are turned.
        turned = np.where(steep > 0, 1.0, -1.0)
        least, most = np.sort([slope * below, slope * above], axis=0)
        of_z, of_slope = np.where(steep > 0, -below, above), np.where(steep > 0, -least, most)
        on, off = np.where(steep > 0, above, -below), np.where(steep > 0, most, -least)
        matrix = [
            z - output,
            column(slope) * z - output,
            output - z - column(steep * lower) * binary,
            output - column(slope) * z - column(steep * upper) * binary,
        ]
        limits = [of_z, of_slope, on - turned * steep * lower, off]
        scale = turned / (upper - lower)
        return (
            np.concatenate([column(scale) * part for part in matrix]),
            np.concatenate([(part + error) / (upper - lower) for part in limits]),
        )

    def _functions(self, place: int, rows: Array) -> tuple[Array, Array, Array]:
        """Linear functions of a place, as linear functions of the columns in their own units.

        Args:
            place: a place of the network.
            rows: float64 array ``(n, entries)``, the coefficients of the functions.

        Returns:
            ``(coefficients, below, above)``: arrays ``(n, columns)``, ``(n,)`` and ``(n,)``. For
            each input, as float32 computes it, a function is between ``coefficients · columns +
            below`` and ``coefficients · columns + above``.
        """
        count, entries = len(rows), len(self._center)
        shape = self._rules[place - 1].output_shape if place else self._input_shape
        both = np.concatenate([rows, -rows]).reshape(1, -1, *shape)
        waiting: dict[int, Any] = {place: ops.convert_to_tensor(both, "float64")}
        found, total = np.zeros((count, len(self._scales))), np.zeros(2 * count)
        for position in range(place, 0, -1):
            if position not in waiting:
                continue
            part, rule = waiting.pop(position), self._rules[position - 1]
            if position in self._unstable:
                kept = self._unstable[position]
                flat = _flat(part).reshape(2 * count, -1).copy()
                found[:, self._columns[position]] = flat[:count, kept]
                if self._branches:  # each function may see another computation of the neurons
                    apart = _flat(self._relaxations.apart(position))[kept]
                    total = total - np.abs(flat[:, kept]) @ apart
                flat[:, kept] = 0.0  # what remains goes through neurons that are linear
                part = ops.convert_to_tensor(flat.reshape(part.shape), "float64")
            inputs, offset = rule.backward(part, self._relaxations[position - 1])
            offset = offset + add_rows(waiting, rule, inputs, self._relaxations)
            total = total + np.broadcast_to(_flat(offset), 2 * count)
        at_input = _flat(waiting[0]).reshape(2 * count, -1)[:count]
        products = at_input * self._center
        found[:, :entries] = at_input
        sizes = np.abs(products).sum(axis=1) + np.maximum(*np.abs(np.split(total, 2)))
        slack = LINE_SLACK * (sizes + np.abs(found) @ (self._scales * self._sizes))
        at_center = products.sum(axis=1)
        below, above = total[:count], -total[count:]
        return found, below + at_center - slack, above + at_center + slack


def _linear_program(
    costs: Array, matrix: Any, limits: Array, low: Array, high: Array
) -> tuple[Any, Array]:
    """HiGHS's result, and its multipliers of the rows, zeros if there are none.

    Args:
        costs: float64 array ``(columns,)``.
        matrix: sparse float64 array ``(rows, columns)``.
        limits: float64 array ``(rows,)``: ``matrix · columns <= limits``.
        low, high: float64 arrays ``(columns,)``, the ends of the columns.
    """
    solver: Any = scipy.optimize
    options = {"time_limit": max(time_left(), 1e-3)}
    found = solver.linprog(
        costs, matrix, limits, bounds=np.stack([low, high], axis=1), method="highs", options=options
    )
    if found.status != 0:
        return found, np.zeros(len(limits))
    return found, np.minimum(np.nan_to_num(found.ineqlin.marginals), 0.0)


def _bound(
    costs: Array, matrix: Any, limits: Array, low: Array, high: Array, multipliers: Array
) -> float:
    """Lower bound of a linear program's least value, from any multipliers that are not positive.

    Args:
        costs, matrix, limits, low, high: as for :func:`_linear_program`.
        multipliers: float64 array ``(rows,)``.
    """
    reduced = costs - matrix.T @ multipliers
    least = float(np.minimum(reduced * low, reduced * high).sum() + multipliers @ limits)
    sizes = np.abs(costs) + abs(matrix).T @ np.abs(multipliers)
    terms = sizes @ np.maximum(np.abs(low), np.abs(high)) + np.abs(multipliers) @ np.abs(limits)
    return least - LINE_SLACK * float(terms)


def require_exact(rules: Sequence[Rule]) -> None:
    """Raise unless a network is one that :class:`ReLUProgram` takes, and small enough for it.

    Args:
        rules: list of rules.

    Raises:
        zoo.UnsupportedLayerError: naming the first layer that is neither affine nor a ReLU.
        ValueError: if the network is too large, with its size.
    """
    neurons = 0
    for rule in rules:
        if isinstance(rule, ActivationRule) and isinstance(rule.kind, Piecewise):
            neurons += math.prod(rule.input_shape)
        elif not isinstance(rule, (AffineRule, PermutationRule, ConcatenateRule)):
            raise UnsupportedLayerError(
                f"{type(rule.layer).__name__} {rule.layer.name!r} has no exact program: "
                "method='exact' takes layers that are affine at inference, ReLU, LeakyReLU without "
                "a largest value, and PReLU; method='crown' takes other layers too"
            )
    inputs = math.prod(rules[0].input_shape)
    if neurons * (inputs + neurons) > _LARGEST:
        raise ValueError(
            f"method='exact' is for small networks: {neurons:,} ReLU neurons and {inputs:,} inputs "
            f"may have {neurons * (inputs + neurons):,} coefficients, and the limit is "
            f"{_LARGEST:,}; method='crown' takes larger networks"
        )


def _unstable_entries(rule: Any, box: tuple[Array, Array]) -> Array:
    """The neurons of an activation that are not linear over a box of their inputs."""
    lower, upper = box
    return np.flatnonzero((lower < 0) & (upper > 0) & (_slopes(rule) != 1.0))


def _slopes(rule: Any) -> Array:
    """The slope of each neuron below zero."""
    return np.broadcast_to(rule.kind.slope, rule.input_shape).reshape(-1)


def _flat(tensor: Any) -> Array:
    return ops.convert_to_numpy(tensor).reshape(-1)


def _flat_box(box: Box) -> tuple[Array, Array]:
    return _flat(box[0]), _flat(box[1])
