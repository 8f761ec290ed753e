"""The set of perturbed inputs that a certificate covers, and minima of linear functions over it."""

import dataclasses

from keras import ops

from zoo.bounds.valid_range import ValidRange
from zoo.bounds.window_rows import WindowRows
from zoo.typing import Box, Norm, Tensor
from zoo.utils.float64 import LINE_SLACK

# Keeps divisors positive.
_SMALLEST = 1e-300


@dataclasses.dataclass(frozen=True)
class PerturbationSet:
    """Balls around inputs, intersected with the box of valid inputs if there is one.

    Attributes:
        center: float64 tensor ``(batch, *input_shape)``, the unperturbed inputs.
        eps: float64 tensor ``(batch,)``, the radii of the balls.
        norm: ``"linf"`` or ``"l2"``.
        bounds: ``(low, high)``: every entry of a valid input lies between these two, which are
            numbers or arrays that broadcast to an input. None if every input is valid.
    """

    center: Tensor
    eps: Tensor
    norm: Norm
    bounds: ValidRange | None

    def box(self) -> Box:
        """``(lower, upper)``: the smallest box around the perturbed inputs of each input."""
        eps = ops.reshape(self.eps, (-1, *[1] * (len(self.center.shape) - 1)))
        lower, upper = self.center - eps, self.center + eps
        if self.bounds is None:
            return lower, upper
        return ops.maximum(lower, self.bounds[0]), ops.minimum(upper, self.bounds[1])

    def minimum(self, rows: Tensor | WindowRows, iterations: int = 4) -> Tensor:
        """Lower bounds of linear functions over the perturbed inputs.

        Args:
            rows: float64 tensor ``(batch, rows, *input_shape)``, the coefficients of the functions,
                or :class:`zoo.bounds.window_rows.WindowRows`.
            iterations: number of steps towards the best bound over an L2 ball that is intersected
                with a box. Any number gives a valid bound.

        Returns:
            Tensor ``(batch, rows)``.
        """
        in_windows = isinstance(rows, WindowRows)
        values = rows.values if in_windows else rows
        values = ops.reshape(values, (*values.shape[:2], -1))

        def per_row(tensor: Tensor) -> Tensor:
            """The entries of a tensor of the inputs' shape that a row's coefficients stand for."""
            if in_windows:
                windows = rows.of(tensor)
                return ops.reshape(windows, (*windows.shape[:2], -1))
            return ops.reshape(tensor, (tensor.shape[0], 1, -1))

        center = per_row(self.center)
        products = values * center
        at_center = ops.sum(products, axis=-1)
        slack = LINE_SLACK * ops.sum(ops.abs(products), axis=-1)
        if self.norm == "linf":
            lower, upper = (per_row(end - self.center) for end in self.box())
            change = ops.sum(ops.minimum(values * lower, values * upper), axis=-1)
        elif self.bounds is not None:
            least, most = (per_row(end - self.center) for end in self.bounds)
            change = self._least_in_ball_and_box(values, least, most, iterations)
        else:
            change = -self.eps[:, None] * ops.sqrt(ops.sum(ops.square(values), axis=-1))
        return at_center + change - slack - LINE_SLACK * ops.abs(change)

    def _least_in_ball_and_box(
        self, rows: Tensor, least: Tensor, most: Tensor, iterations: int
    ) -> Tensor:
        """Lower bound of ``min rows · d`` over ``‖d‖ ≤ eps`` and ``least ≤ d ≤ most``.

        For any multiplier λ > 0, ``min over the box of rows · d + λ/2 (‖d‖² − eps²)`` is a lower
        bound, because the second term is at most 0 in the ball. It is best for the λ whose
        minimiser has the length eps. The iteration approaches that λ from above: as λ falls, more
        and more entries of the minimiser are held at a bound of the box.
        """
        eps = self.eps[:, None]
        multiplier = ops.sqrt(ops.sum(ops.square(rows), axis=-1)) / ops.maximum(eps, _SMALLEST)
        for iteration in range(iterations + 1):
            multiplier = ops.maximum(multiplier, _SMALLEST)
            change = ops.clip(-rows / multiplier[..., None], least, most)
            lengths = ops.sum(ops.square(change), axis=-1)
            if iteration == iterations:
                break
            free = (change > least) & (change < most)
            zeros = ops.zeros_like(rows)
            steep = ops.sum(ops.where(free, ops.square(rows), zeros), axis=-1)
            fixed = ops.sum(ops.where(free, zeros, ops.square(change)), axis=-1)
            room = ops.maximum(ops.square(eps) - fixed, _SMALLEST)
            multiplier = ops.minimum(multiplier, ops.sqrt(steep / room))
        products = ops.sum(rows * change, axis=-1)
        return products + multiplier * (lengths - ops.square(eps)) / 2.0
