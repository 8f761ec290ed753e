"""Radii of ordinary Keras models, by bounds of all differences of logits."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from keras import ops

from zoo.bounds import rules_of
from zoo.bounds.crown import Relaxations, lower_bounds, relaxed
from zoo.bounds.interval import boxes_of
from zoo.bounds.perturbation import PerturbationSet
from zoo.bounds.rules.rule import gives
from zoo.certificates.bisection import largest_by_margin
from zoo.certificates.certificate import round_down
from zoo.certificates.lipschitz import margin
from zoo.ops.float32 import LARGEST
from zoo.ops.precision import double_precision
from zoo.typing import Array, Tensor

#: ``"crown"``: linear relaxation and linear relaxation's bounds of hidden layers; the tightest.
#: ``"crown-interval"``: linear relaxation with interval bounds of the hidden layers.
#: ``"interval"``: interval bounds, the cheapest.
METHODS = ("crown", "crown-interval", "interval")
# Networks with more hidden entries before activations than that are too large for "crown" unasked.
_LARGE = 4096
# Numbers in the largest tensor of a batch.
_BLOCK = 1 << 23
# Calls of the certificate in search of a radius.
_STEPS = 10
_FIRST = {"linf": 1e-3, "l2": 1e-2}


class NetworkBounds:
    """Sound radii for a ``keras.Sequential`` or functional classifier.

    All bounds are computed in float64 and are of the network as float32 computes it: the rounding
    of every layer is bounded and counted.

    Args:
        model: built, from one input to logits, of layers that have a rule: see
            :func:`zoo.bounds.supported`.

    Raises:
        TypeError, ValueError: if it is no such model.
        zoo.UnsupportedLayerError: naming the first layer without bounds, and what is supported.
    """

    def __init__(self, model: Any) -> None:
        self.model, self.rules = model, rules_of(model)
        if not self.rules:
            raise ValueError("the model computes nothing: there are no bounds of it")
        if model.output_shape[1:] == (1,):
            raise ValueError(
                "the model has one output; a certificate compares the logits of two classes or "
                "more. Let a binary classifier end in two logits, such as (0, z) for one logit z"
            )
        if len(model.output_shape) != 2 or (model.output_shape[-1] or 0) < 2:
            raise ValueError(
                f"the model must end in logits (batch, classes), but ends in {model.output_shape}"
            )

    @property
    def methods(self) -> tuple[str, ...]:
        """Those of :data:`METHODS` that this network's layers and size allow, tightest first."""
        if not all(gives(type(rule), "crown") for rule in self.rules):
            return METHODS[2:]
        hidden = [rule for rule in self.rules if rule.wants_tight_inputs]
        entries = sum(math.prod(rule.input_shape) for rule in hidden)
        return METHODS if entries <= _LARGE else METHODS[1:]

    def require(self, method: str) -> None:
        """Raise unless every layer has the bounds that a method needs.

        Args:
            method: one of :data:`METHODS`.

        Raises:
            zoo.UnsupportedLayerError: naming the first layer without them, and what is supported.
        """
        rules_of(self.model, "interval" if method == "interval" else "crown")

    def certified_radius(
        self,
        x: Array,
        norm: str,
        method: str,
        bounds: tuple[float, float] | None = (0.0, 1.0),
    ) -> tuple[Array, Array]:
        """Logits and radii of one batch.

        Args:
            x: float32 array ``(n, *input_shape)``.
            norm: ``"linf"`` or ``"l2"``.
            method: one of :data:`METHODS`.
            bounds: ``(low, high)`` that inputs lie between, perturbed ones too; None for any.

        Returns:
            ``(logits, radius)``: float32 arrays ``(n, classes)`` and ``(n,)``.
        """
        logits = ops.convert_to_numpy(self.model(x, training=False))
        extent = 1.0 if bounds is None else bounds[1] - bounds[0]
        upper = extent * (1.0 if norm == "linf" else math.sqrt(math.prod(x.shape[1:])))
        if bounds is None:
            upper = 1e6
        with double_precision():
            for rule in self.rules:
                rule.prepare()
            size = logits.shape[1] * max(rule.width for rule in self.rules)
            step = max(1, _BLOCK // size)
            radii = [
                largest_by_margin(
                    lambda eps, part=slice(i, i + step): self.margins(
                        x[part], np.argmax(logits[part], axis=1), eps, norm, method, bounds
                    ),
                    margin(logits[i : i + step]),
                    first=_FIRST[norm] * extent,
                    upper=upper,
                    steps=_STEPS,
                )
                for i in range(0, len(x), step)
            ]
        return logits, round_down(np.concatenate(radii) if radii else np.zeros(0))

    def margins(
        self,
        x: Array,
        classes: Array,
        eps: Array,
        norm: str,
        method: str,
        bounds: tuple[float, float] | None = (0.0, 1.0),
    ) -> Array:
        """Lower bounds of a class's logit minus any other, over balls; weights as last prepared.

        Args:
            x: array ``(n, *input_shape)``.
            classes: int array ``(n,)``.
            eps: float array ``(n,)``, radii of the balls.
            norm, method, bounds: as for :meth:`certified_radius`.

        Returns:
            float64 array ``(n,)``: the least over all other classes.
        """
        center = ops.convert_to_tensor(np.asarray(x, np.float64), "float64")
        perturbed = PerturbationSet(center, ops.convert_to_tensor(eps, "float64"), norm, bounds)
        if method == "crown":
            relaxations = relaxed(self.rules, perturbed)
        else:
            relaxations = Relaxations(self.rules, boxes_of(self.rules, perturbed))
        count = self.model.output_shape[-1]
        others = np.array([[j for j in range(count) if j != c] for c in range(count)])[classes]
        lower, upper = map(ops.convert_to_numpy, relaxations.boxes[-1])
        found = lower[np.arange(len(classes)), classes][:, None]
        found = found - np.take_along_axis(upper, others, axis=1)
        if method != "interval":
            rows = np.eye(count)[classes][:, None] - np.eye(count)[others]
            rows = ops.convert_to_tensor(rows, "float64")
            by_lines = lower_bounds(self.rules, perturbed, rows, relaxations)
            found = np.maximum(found, ops.convert_to_numpy(by_lines))
        return np.where(_all_finite(relaxations.boxes), found.min(axis=1), -np.inf)


def _all_finite(boxes: Iterable[tuple[Tensor, Tensor]]) -> Any:
    """Whether nothing overflows, for each image: what comes after an infinity proves nothing."""
    finite = True
    for lower, upper in boxes:
        size = ops.max(
            ops.maximum(ops.abs(lower), ops.abs(upper)), axis=tuple(range(1, len(lower.shape)))
        )
        # Also where one is NaN.
        size = ops.convert_to_numpy(size)
        total = ops.convert_to_numpy(ops.sum(lower + upper, axis=tuple(range(1, len(lower.shape)))))
        finite = finite & (size < LARGEST) & np.isfinite(total)
    return finite
