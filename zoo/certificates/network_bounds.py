"""Certified radii of ordinary Keras models, from bounds of all differences of logits."""

import contextlib
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from keras import ops

from zoo.bounds import rules_of
from zoo.bounds.crown import (
    Relaxations,
    entries_of_rows,
    lower_bounds,
    lower_bounds_by_boxes,
    relaxed,
)
from zoo.bounds.exact import require_exact
from zoo.bounds.interval import boxes_of
from zoo.bounds.perturbation import PerturbationSet
from zoo.bounds.rules.rule import Rule, gives
from zoo.bounds.valid_range import ValidRange, diameter
from zoo.certificates.bisection import largest_by_flips, largest_by_margin, largest_per_class
from zoo.certificates.certificate import CertifiedBatch, per_class_of, round_down
from zoo.certificates.exact_margins import ExactMargins
from zoo.certificates.lipschitz import margin, other_classes
from zoo.certificates.pairs import EXACT, METHODS
from zoo.epsilon import Epsilon
from zoo.errors import SoundnessError, UnsupportedLayerError
from zoo.ops.float32 import FLUSHED_MARGIN, LARGEST
from zoo.ops.precision import double_precision
from zoo.typing import Array, Box, Norm, Shape
from zoo.utils.deadline import time_is_up
from zoo.utils.norms import norm_of
from zoo.utils.padding import padded_places
from zoo.utils.progress import track_part

# "auto" does not choose "crown" if the rows of one pass have more entries than this, which takes
# about 6 seconds of a processor for a radius.
_LARGE = 30_000_000
# Largest number of entries in a tensor; it limits how many images are bounded at the same time.
_BLOCK = 1 << 23
# The same for rows that are bounded by linear relaxation.
_ROWS = 1 << 22
# Number of budgets above zero that are tried in the search for a radius.
_STEPS = 10
# The first of them, for inputs in [0, 1].
_FIRST = {"linf": 1e-3, "l2": 1e-2}


class NetworkBounds:
    """Sound radii for a ``keras.Sequential`` or functional classifier.

    All bounds are computed in float64. They hold for the network as float32 computes it, because
    they include a bound of every layer's rounding error.

    Args:
        model: a built model from one input to logits, whose layers have rules: see
            :func:`zoo.bounds.supported`.

    Raises:
        TypeError, ValueError: if it is not such a model.
        zoo.UnsupportedLayerError: naming the first layer without bounds.
    """

    def __init__(self, model: Any) -> None:
        self.model, self.rules = model, rules_of(model)
        if not self.rules:
            raise ValueError("the model computes nothing, so there is nothing to certify")
        if model.output_shape[1:] == (1,):
            raise ValueError(
                "the model has one output; a certificate compares the logits of two classes or "
                "more. Let a binary classifier end in a sigmoid, which zoo.certify takes for two "
                "classes, or in two logits, such as (0, z) for one logit z"
            )
        if len(model.output_shape) != 2 or (model.output_shape[-1] or 0) < 2:
            raise ValueError(
                f"the model must end in logits (batch, classes), but ends in {model.output_shape}"
            )

    @property
    def methods(self) -> tuple[str, ...]:
        """The :data:`METHODS` that suit the layers of the network.

        The default is the first one: the tightest that takes a few seconds for an image.
        """
        if not all(gives(type(rule), "crown") for rule in self.rules):
            return METHODS[2:]
        with double_precision():
            for rule in self.rules:
                rule.prepare()
            entries = entries_of_rows(self.rules)
        tightest, cheaper, cheapest = METHODS
        return METHODS if entries <= _LARGE else (cheaper, tightest, cheapest)

    @property
    def pairs(self) -> tuple[tuple[Norm, str], ...]:
        """The (norm, method) pairs that suit the network, the default of each norm first."""
        methods = {"linf": self.methods, "l2": self.methods}
        with contextlib.suppress(UnsupportedLayerError, ValueError):
            require_exact(self.rules)
            methods["linf"] = (*methods["linf"], EXACT)
        return tuple((norm_of(norm), method) for norm in methods for method in methods[norm])

    def require(self, norm: Norm, method: str) -> None:
        """Raise unless a method suits the norm, and every layer has the bounds that it needs.

        Args:
            norm: ``"linf"`` or ``"l2"``.
            method: one of :data:`METHODS`, or :data:`EXACT`.

        Raises:
            ValueError: for ``"exact"`` in another norm than ℓ∞, or of a large network.
            zoo.UnsupportedLayerError: naming the first layer without such bounds.
        """
        if method == EXACT and norm != "linf":
            raise ValueError(
                f"method={EXACT!r} is for norm='linf' alone: an L2 ball is quadratic, and the "
                f"program must be linear; for norm={norm!r} there are {', '.join(METHODS)}"
            )
        rules = rules_of(self.model, "interval" if method == "interval" else "crown")
        if method == EXACT:
            require_exact(rules)

    def certified_radius(
        self,
        x: Array,
        norm: Norm,
        method: str,
        bounds: ValidRange | None = (0.0, 1.0),
        least_margin: float = 0.0,
    ) -> CertifiedBatch:
        """Logits and radii of one batch.

        The search ends when the time of :func:`zoo.utils.deadline.time_limit` is up. A radius is
        then the largest one that was proved so far.

        Args:
            x: float32 array ``(n, *input_shape)``.
            norm: ``"linf"`` or ``"l2"``.
            method: one of :data:`METHODS`, or :data:`EXACT`: see :meth:`require`.
            bounds: the range ``(low, high)`` of valid inputs, perturbed ones included: numbers, or
                arrays that broadcast to an input; None if all inputs are valid.
            least_margin: what the predicted class must be ahead by, for every input within the
                radius.

        Returns:
            :class:`zoo.certificates.CertifiedBatch`.
        """
        logits = ops.convert_to_numpy(self.model(x, training=False))
        extent, upper = _reach(norm, bounds, x.shape[1:])
        first = _FIRST[norm] * extent
        radii, finished = np.zeros(len(x)), np.zeros(len(x), bool)
        with double_precision():
            parts = self._prepared_parts(len(x), method)
            for part in track_part(parts, "bounding", total=len(parts)):
                self._require_own_logits(x[part], logits[part])
                radii[part], finished[part] = self._radii(
                    x[part], logits[part], norm, method, bounds, least_margin, first, upper
                )
            # Every image has its radius by CROWN before the first program takes its time.
            images = range(len(x)) if method == EXACT else ()
            for i in track_part(images, "solving", total=len(images)):
                radii[i], finished[i] = self._exact_radius(
                    x[i : i + 1], logits[i], radii[i], bounds, least_margin, first, upper
                )
        return CertifiedBatch(logits, round_down(radii), finished=finished)

    def decided(
        self,
        x: Array,
        norm: Norm,
        method: str,
        budgets: Sequence[Epsilon],
        bounds: ValidRange | None = (0.0, 1.0),
        least_margin: float = 0.0,
    ) -> CertifiedBatch:
        """Logits of one batch, and at which of some budgets the predictions are proved.

        The margins are bounded once for each budget, and once only for an image that is not proved
        at the smallest budget. The search for a radius stops before it meets the largest budget
        that can be proved, so a budget just above a radius may be proved here.

        Args:
            x, norm, method, bounds, least_margin: as for :meth:`certified_radius`.
            budgets: list of :class:`zoo.epsilon.Epsilon`.

        Returns:
            :class:`zoo.certificates.CertifiedBatch` with radii as of
            :func:`zoo.certificates.certificate.at_budgets`.
        """
        logits = ops.convert_to_numpy(self.model(x, training=False))
        classes, radius = np.argmax(logits, axis=1), np.zeros(len(x), np.float32)
        _, upper = _reach(norm, bounds, x.shape[1:])
        left, finished = np.flatnonzero(margin(logits) > least_margin), np.ones(len(x), bool)
        with double_precision():
            for part in self._prepared_parts(len(left), method):
                self._require_own_logits(x[left[part]], logits[left[part]])
            for eps in sorted(budget.beyond for budget in budgets):
                found = [np.zeros(0, int)]
                for part in self._prepared_parts(len(left), method) if eps <= upper else []:
                    rows = left[part]
                    if time_is_up():
                        finished[rows] = False
                        continue
                    padded = padded_places(rows)
                    reach = np.full(len(padded), eps)
                    lead = self.margins(x[padded], classes[padded], reach, norm, method, bounds)
                    proved = lead[: len(rows)] > least_margin
                    for i in np.flatnonzero(~proved) if method == EXACT else ():
                        of_image = x[rows[i]][None], classes[rows[i]]
                        exact = ExactMargins(self, *of_image, bounds, least_margin)
                        proved[i] = exact.bounds(eps)[0].min() > least_margin
                        finished[rows[i]] = proved[i] or not time_is_up()
                    found.append(rows[proved])
                left = np.concatenate(found)
                radius[left] = eps
        return CertifiedBatch(logits, radius, finished=finished)

    def per_class(
        self,
        x: Array,
        found: CertifiedBatch,
        norm: Norm,
        method: str,
        bounds: ValidRange | None = (0.0, 1.0),
        least_margin: float = 0.0,
    ) -> Array:
        """Radii of one batch against each class, found by a search of their own.

        Args:
            x, norm, method, bounds, least_margin: as for :meth:`certified_radius`.
            found: what :meth:`certified_radius` returned for them.

        Returns:
            float32 array ``(n, classes)``, as ``per_class`` of :class:`zoo.Certificate`.
        """
        logits, radius = found.logits, found.radius
        classes = np.argmax(logits, axis=1)
        _, upper = _reach(norm, bounds, x.shape[1:])
        with np.errstate(invalid="ignore"):  # of logits that overflow
            at_zero = np.max(logits, axis=1, keepdims=True) - np.asarray(logits, np.float64)
        at_zero = at_zero - least_margin
        of_classes = [np.zeros(logits.shape)[:0]]
        with double_precision():
            for part in self._prepared_parts(len(x), method):

                def margins(eps: Array, part: slice = part) -> Array:
                    if time_is_up():
                        return np.full((len(eps), logits.shape[1]), -np.inf)
                    below = self.class_margins(x[part], classes[part], eps, norm, method, bounds)
                    for i in np.flatnonzero(radius[part] > 0) if method == EXACT else ():
                        of_image = x[part][i : i + 1], classes[part][i]
                        exact = ExactMargins(self, *of_image, bounds, least_margin)
                        below[i] = exact.bounds(eps[i], every_class=True)[0]
                    return below - least_margin

                start = classes[part], at_zero[part], radius[part]
                of_classes.append(largest_per_class(margins, *start, upper=upper))
        return per_class_of(np.concatenate(of_classes), radius, classes)

    def _prepared_parts(self, count: int, method: str) -> list[slice]:
        """Read the weights, and return parts of a batch whose images are bounded together."""
        for rule in self.rules:
            rule.prepare()
        widest = max(rule.width for rule in self.rules)
        step = max(1, _BLOCK // (self.model.output_shape[-1] * widest))
        if method in ("crown", EXACT):
            # Rows of a few images fill the processor, and zeros that they share are left out.
            rows = max([math.prod(rule.input_shape) for rule in self._hidden()], default=1)
            step = min(step, max(1, _ROWS // (rows * widest)))
        return [slice(i, i + step) for i in range(0, count, step)]

    def _require_own_logits(self, x: Array, logits: Array) -> None:
        """Raise unless the bounds over balls of radius 0 hold the logits of the network.

        The bounds hold whatever the layers compute in float32, if each rule describes its layer. A
        rule does not if a setting of the layer was changed and the layer still uses the old one, or
        if the rule is a wrong one of the user's own.
        """
        if time_is_up():
            return  # and nothing is proved of these images
        rows = padded_places(np.arange(len(x)))
        _, found = self.relaxed(x[rows], np.zeros(len(rows)), "linf", "interval", None)
        lower, upper = (ops.convert_to_numpy(end)[: len(x)] for end in found.boxes[-1])
        outside = (logits < lower - FLUSHED_MARGIN) | (logits > upper + FLUSHED_MARGIN)
        # Nothing is proved where a number may leave float32's range.
        outside &= np.broadcast_to(_all_finite(found.boxes), len(rows))[: len(x), None]
        if outside.any():
            i, j = np.argwhere(outside)[0]
            raise SoundnessError(
                f"the bounds of the layers of {self.model.name!r} do not hold its own logits: "
                f"one is {logits[i, j]:.9g}, and its bounds are {lower[i, j]:.9g} and "
                f"{upper[i, j]:.9g}. Was a setting of a layer changed after the layer was built, "
                "a rule of your own registered, or are products not those of float32? If not, this "
                "is a bug in zoo; please report it"
            )

    def _hidden(self) -> list[Rule]:
        return [rule for rule in self.rules if rule.wants_tight_inputs]

    def _radii(
        self,
        x: Array,
        logits: Array,
        norm: Norm,
        method: str,
        bounds: ValidRange | None,
        least_margin: float,
        first: float,
        upper: float,
    ) -> tuple[Array, Array]:
        """Radii of a few images, by CROWN for ``"exact"``, and which searches were finished."""
        classes, finished = np.argmax(logits, axis=1), np.ones(len(x), bool)

        def margins(places: Array, eps: Array) -> Array:
            if time_is_up():
                finished[places] = False
                return np.full(len(eps), -np.inf)
            padded = padded_places(np.arange(len(places)))
            rows = places[padded]
            lead = self.margins(x[rows], classes[rows], eps[padded], norm, method, bounds)
            return lead[: len(places)] - least_margin

        # The allowances for rounding are in these margins too, so that the fall from them is due to
        # the perturbation alone.
        right = np.flatnonzero(margin(logits) > least_margin)
        at_zero = np.zeros(len(x))
        if len(right):
            at_zero[right] = margins(right, np.zeros(len(right)))
        found = largest_by_margin(margins, at_zero, first=first, upper=upper, steps=_STEPS)
        return found, finished

    def _exact_radius(
        self,
        x: Array,
        logits: Array,
        start: float,
        bounds: ValidRange | None,
        least_margin: float,
        first: float,
        upper: float,
    ) -> tuple[float, bool]:
        """The radius of an image, at least that of CROWN, and whether the search was finished."""
        if margin(logits[None])[0] <= least_margin:
            return 0.0, True
        exact = ExactMargins(self, x, int(np.argmax(logits)), bounds, least_margin)

        def decide(eps: float) -> tuple[bool, float]:
            found, flip = exact.bounds(eps)
            return bool(found.min() > least_margin), flip

        found = largest_by_flips(decide, start, first=first, upper=upper)
        return found, not time_is_up()

    def margins(
        self,
        x: Array,
        classes: Array,
        eps: Array,
        norm: Norm,
        method: str,
        bounds: ValidRange | None = (0.0, 1.0),
    ) -> Array:
        """Lower bounds of a class's logit minus the largest other logit, over balls of inputs.

        The weights are those that the rules' ``prepare()`` last read.

        Args:
            x: array ``(n, *input_shape)``, the centers of the balls.
            classes: int array ``(n,)``.
            eps: float array ``(n,)``, the radii of the balls.
            norm, bounds: as for :meth:`certified_radius`.
            method: the same; ``"exact"`` gives the bounds of ``"crown"``, with which it begins.

        Returns:
            float64 array ``(n,)``; ``-inf`` if a number may leave float32's range.
        """
        return self.class_margins(x, classes, eps, norm, method, bounds).min(axis=1)

    def class_margins(
        self,
        x: Array,
        classes: Array,
        eps: Array,
        norm: Norm,
        method: str,
        bounds: ValidRange | None = (0.0, 1.0),
    ) -> Array:
        """Lower bounds of a class's logit minus each other logit, over balls of inputs.

        Args:
            x, classes, eps, norm, method, bounds: as for :meth:`margins`.

        Returns:
            float64 array ``(n, classes)``, ``inf`` for the class itself; ``-inf`` in all other
            places if a number may leave float32's range.
        """
        perturbed, relaxations = self.relaxed(x, eps, norm, method, bounds)
        return self.margins_of_relaxed(classes, perturbed, relaxations, method)

    def relaxed(
        self, x: Array, eps: Array, norm: Norm, method: str, bounds: ValidRange | None
    ) -> tuple[PerturbationSet, Relaxations]:
        """Balls around inputs, and the relaxation of the network over them.

        Args:
            x, eps, norm, method, bounds: as for :meth:`margins`.
        """
        center = ops.convert_to_tensor(np.asarray(x, np.float64), "float64")
        perturbed = PerturbationSet(center, ops.convert_to_tensor(eps, "float64"), norm, bounds)
        if method in ("crown", EXACT):
            return perturbed, relaxed(self.rules, perturbed)
        return perturbed, Relaxations(self.rules, boxes_of(self.rules, perturbed))

    def margins_of_relaxed(
        self, classes: Array, perturbed: PerturbationSet, relaxations: Relaxations, method: str
    ) -> Array:
        """The bounds of :meth:`class_margins`, from what :meth:`relaxed` returned."""
        count = self.model.output_shape[-1]
        classes = np.asarray(classes)
        others = other_classes(classes, count)
        lower, upper = map(ops.convert_to_numpy, relaxations.boxes[-1])
        found = lower[np.arange(len(classes)), classes][:, None]
        found = found - np.take_along_axis(upper, others, axis=1)
        own = (classes[:, None, None] == np.arange(count)).astype(np.float64)
        rows = ops.convert_to_tensor(own - (others[..., None] == np.arange(count)), "float64")
        for by_rows in (lower_bounds_by_boxes, lower_bounds)[: 1 if method == "interval" else 2]:
            bounds_of_rows = by_rows(self.rules, perturbed, rows, relaxations)
            found = np.maximum(found, ops.convert_to_numpy(bounds_of_rows))
        # A layer that only selects, such as a ReLU, leaves the flushing of its outputs to the next
        # layer's bound. Behind the last layer there is none.
        found = found - FLUSHED_MARGIN
        finite = np.asarray(_all_finite(relaxations.boxes))
        found = np.where(np.broadcast_to(finite, len(classes))[:, None], found, -np.inf)
        margins = np.full((len(classes), count), np.inf)
        np.put_along_axis(margins, others, found, axis=1)
        return margins


def _reach(norm: Norm, bounds: ValidRange | None, shape: Shape) -> tuple[float, float]:
    """``(extent, upper)``: the largest extent of an input, and the largest budget to prove."""
    if bounds is None:
        return 1.0, 1e6
    furthest = diameter(bounds, shape)
    return furthest["linf"], furthest[norm]


def _all_finite(boxes: Iterable[Box]) -> Any:
    """Whether all boxes of an image are within float32's range, for each image: a bool array."""
    finite = True
    for lower, upper in boxes:
        size = ops.max(
            ops.maximum(ops.abs(lower), ops.abs(upper)), axis=tuple(range(1, len(lower.shape)))
        )
        # A maximum may ignore NaN, but a sum does not.
        size = ops.convert_to_numpy(size)
        total = ops.convert_to_numpy(ops.sum(lower + upper, axis=tuple(range(1, len(lower.shape)))))
        finite = finite & (size < LARGEST) & np.isfinite(total)
    return finite
