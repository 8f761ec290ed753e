"""Margins of one input by a mixed-integer program, and inputs that are classified otherwise."""

import math
from typing import TYPE_CHECKING

import numpy as np
from keras import ops

from zoo.bounds.exact import ReLUProgram
from zoo.bounds.valid_range import ValidRange
from zoo.ops.float32 import FLUSHED_MARGIN
from zoo.typing import Array
from zoo.utils.deadline import time_is_up

if TYPE_CHECKING:
    from zoo.certificates.network_bounds import NetworkBounds

# Number of points on the way from an input to the one that a program finds.
_POINTS = 32


class ExactMargins:
    """Lower bounds of the margins of one input, tight enough to tell whether they are positive.

    CROWN decides first. A class that it leaves open is decided by :class:`ReLUProgram`.

    Args:
        network: :class:`zoo.certificates.network_bounds.NetworkBounds` whose rules are prepared.
        x: float32 array ``(1, *input_shape)``.
        own: the predicted class.
        valid_range: as for :meth:`NetworkBounds.certified_radius`.
        least_margin: what the predicted class must be ahead by.
    """

    def __init__(
        self,
        network: "NetworkBounds",
        x: Array,
        own: int,
        valid_range: ValidRange | None,
        least_margin: float,
    ) -> None:
        self._network, self._x, self._own = network, x, own
        self._valid_range, self._least_margin = valid_range, least_margin

    def bounds(self, eps: float, *, every_class: bool = False) -> tuple[Array, float]:
        """Lower bounds of the margins over a ball.

        Args:
            eps: its radius.
            every_class: False stops at the first class that is not proved to stay behind.

        Returns:
            ``(bounds, flip)``: a float64 array ``(classes,)``, ``inf`` for the predicted class; and
            the distance of the nearest input that was met and is classified otherwise, or ``inf``.
        """
        own, one = np.array([self._own]), np.array([float(eps)])
        perturbed, relaxations = self._network.relaxed(
            self._x, one, "linf", "crown", self._valid_range
        )
        found = self._network.margins_of_relaxed(own, perturbed, relaxations, "crown")[0]
        left = [j for j in np.argsort(found) if found[j] <= self._least_margin]
        # Numbers that may leave float32's range prove nothing, whatever a program says.
        if not left or eps <= 0 or np.isneginf(found).any():
            return found, math.inf
        program = ReLUProgram(self._network.rules, perturbed, relaxations)
        points, unit = [], np.eye(len(found))
        for j in left:
            if time_is_up():
                break
            least = program.least(unit[self._own] - unit[j], self._least_margin)
            found[j] = max(found[j], least.bound - FLUSHED_MARGIN)
            if least.point is not None:
                points.append(least.point)
            if found[j] <= self._least_margin and not every_class:
                break
        return found, self._nearest_flip(points)

    def _nearest_flip(self, points: list[Array]) -> float:
        """On the lines from the image to some points: the distance of the nearest other class."""
        if not points:
            return math.inf
        share = np.linspace(1.0 / _POINTS, 1.0, _POINTS).reshape(-1, *[1] * (self._x.ndim - 1))
        center = self._x.astype(np.float64)
        near = np.concatenate([center + share * (point - center) for point in points])
        if self._valid_range is not None:
            near = np.clip(near, *self._valid_range)
        near = near.astype(np.float32)
        logits = ops.convert_to_numpy(self._network.model(near, training=False))
        flipped = np.argmax(logits, axis=1) != self._own
        change = np.abs(near.astype(np.float64) - center).reshape(len(near), -1).max(axis=1)
        return float(change[flipped].min(initial=math.inf))
