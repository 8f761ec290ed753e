"""Second-order certificates: radii from bounds of a network's curvature."""

import dataclasses
from collections.abc import Callable

import numpy as np
from keras import ops

from zoo.bounds.curvature import Curvature
from zoo.bounds.smooth_network import AffineMap, SmoothNetwork, values_and_slopes
from zoo.certificates.lipschitz import other_classes
from zoo.ops.float32 import (
    LARGEST,
    SECOND_ORDER,
    SMALLEST_NORMAL,
    UNIT_ROUNDOFF,
    sum_rounding,
)
from zoo.ops.precision import double_precision, float64
from zoo.typing import Array, Numbers, Tensor
from zoo.utils.float64 import SLACK
from zoo.utils.padding import padded_places

# Numbers of multipliers that the search tries, of minimisation steps for each of them, and of steps
# in float64 at the end. Any numbers give valid radii. A search of a few multipliers suffices where
# the radius is far above a budget.
_SEARCH, _INNER, _POLISH, _FEW = 14, 4, 4, 4


@dataclasses.dataclass(frozen=True)
class Radii:
    """Lower and upper bounds of the distance to the other class, for each row.

    Attributes:
        radius: float64 array ``(rows,)``, proved: no nearer input has the other class.
        nearest: float64 array ``(rows,)``, the distance of an input that has the other class;
            ``inf`` if none was met.
    """

    radius: Array
    nearest: Array


def radii(network: SmoothNetwork, curvature: Curvature, x: Array, classes: Array) -> Radii:
    """L2 radius of every image against every other class.

    Let f be the difference of the two logits, x0 the image, and η a multiplier below
    ``1 / |lower|``. Then ``φ(x) = ½ ‖x − x0‖² + η f(x)`` is strongly convex with modulus
    ``μ = 1 + η · lower``. Every input z of the other class has ``f(z) ≤ 0``, so for any x
    ``½ ‖z − x0‖² ≥ φ(z) ≥ min φ ≥ φ(x) − ‖∇φ(x)‖² / (2 μ)``.

    The search for the best η and x computes in float32. The returned radii are computed in float64,
    after the error that float32 makes in the logits was subtracted from f.

    Args:
        network: :class:`zoo.bounds.smooth_network.SmoothNetwork`, prepared.
        curvature: :class:`zoo.bounds.curvature.Curvature` of it.
        x: float array ``(n, inputs)``.
        classes: int array ``(n,)``, as float32 predicts them.

    Returns:
        :class:`Radii` with arrays ``(n, classes − 1)``, the other classes in order.

    Reference:
        Singla, Feizi: Second-Order Provable Defenses against Adversarial Attacks, ICML 2020,
        theorem 1, which needs the exact minimum of φ; the last inequality above does without it.
    """
    own, other = pairs_of(classes, len(curvature.lower))
    centers = np.repeat(np.asarray(x, np.float64), len(curvature.lower) - 1, axis=0)
    low, high = curvature.lower[own, other], curvature.upper[own, other]
    found = row_radii(network, centers, own, other, low, high)
    shape = (len(x), -1)
    return Radii(found.radius.reshape(shape), found.nearest.reshape(shape))


def deciding_radii(
    network: SmoothNetwork,
    curvature: Curvature,
    x: Array,
    classes: Array,
    least: float,
    most: float,
) -> Array:
    """Radii that lie on the same side of some budgets as those of :func:`radii`, in less time.

    The gradient at the image alone decides some classes. Of each image, the class that it leaves
    nearest is searched first: if its radius is at most the smallest budget, the others need no
    search. A few steps decide most of them.

    Args:
        network, curvature, x, classes: as for :func:`radii`.
        least, most: the smallest and the largest budget.

    Returns:
        float64 array ``(n,)``. If the smallest radius of an image is at most ``least``, so is this
        one; if it is above ``most``, so is this one; otherwise they are equal.
    """
    count = len(curvature.lower) - 1
    own, other = pairs_of(classes, count + 1)
    rows = (
        np.repeat(np.asarray(x, np.float64), count, axis=0),
        own,
        other,
        curvature.lower[own, other],
        curvature.upper[own, other],
    )

    def search(places: Array, steps: int) -> Array:
        padded = padded_places(places)
        found = row_radii(network, *(part[padded] for part in rows), search=steps)
        return found.radius[: len(places)]

    radius = search(np.arange(len(own)), 0)
    worst = np.arange(len(x)) * count + radius.reshape(len(x), count).argmin(axis=1)
    worst = worst[radius[worst] <= most]
    radius[worst] = search(worst, _SEARCH)
    open_ = radius <= most
    open_[worst] = False
    open_.reshape(len(x), count)[worst[radius[worst] <= least] // count] = False
    left = np.flatnonzero(open_)
    few = search(left, _FEW)
    # A search of all steps finds these radii too, up to the rounding of its last steps.
    enough = few > most * (1.0 + 1e-4)
    radius[left[enough]] = few[enough]
    left = left[~enough]
    radius[left] = search(left, _SEARCH)
    return radius.reshape(len(x), count).min(axis=1)


def pairs_of(classes: Array, count: int) -> tuple[Array, Array]:
    """``(own, other)``: one row for each pair of an image's class and another class, in order."""
    return np.repeat(classes, count - 1), other_classes(classes, count).reshape(-1)


def row_radii(
    network: SmoothNetwork,
    centers: Array,
    own: Array,
    other: Array,
    low: Array,
    high: Array,
    ball: Numbers = np.inf,
    search: int = _SEARCH,
) -> Radii:
    """Radius of one image against one other class, for each row.

    Args:
        network: :class:`zoo.bounds.smooth_network.SmoothNetwork`, prepared.
        centers: float64 array ``(rows, inputs)``, the images.
        own, other: int arrays ``(rows,)``, the classes.
        low, high: float64 arrays ``(rows,)``, bounds of the eigenvalues of the Hessian of
            ``f_own − f_other``.
        ball: distance, or float64 array ``(rows,)``, within which these bounds hold. No radius
            exceeds it.
        search: number of multipliers that are tried; 0 takes the best one for the image itself in
            place of a search, which is far cheaper. No radius of a longer search is below that.

    Returns:
        :class:`Radii` with arrays ``(rows,)``.
    """
    head, bias = network.kernels[-1], network.biases[-1]
    heads, offsets = (head[:, own] - head[:, other]).T, bias[own] - bias[other]
    limit = np.where(low < 0, (1.0 - 1e-6) / np.maximum(-low, 1e-12), 1e12)
    ball = np.broadcast_to(np.asarray(ball, np.float64), (len(centers),))

    rows = _Rows(network, centers, heads, offsets, low, high, ball)

    def with_errors(squares: Array, prove: Callable[[Array], Array]) -> Array:
        """The radii after float32's errors in the logits; never above those without them."""
        reach = np.minimum(np.sqrt(np.maximum(squares, 0.0)) * (1.0 + 1e-6), ball)
        # f is the exact difference of the logits; this bounds how far float32's is from it.
        error = _rounding(network, centers, reach, own, other)
        radius = np.sqrt(np.maximum(prove(error), 0.0)) * (1.0 - SLACK)
        # The error bound holds within `reach` only, which caps the radius. A NaN becomes 0.
        return np.where(radius > 0, np.minimum(radius, reach), 0.0)

    at_centers = rows.at_centers()
    radius = with_errors(at_centers(np.zeros(len(centers))), at_centers)
    if not search or not len(centers):
        return Radii(radius, np.full(len(centers), np.inf))
    nearest = np.zeros(0)

    def polished(error: Array) -> Array:
        nonlocal nearest
        squares, nearest = rows.polish(multiplier, point, error)
        return squares

    multiplier, point, squares = rows.search(limit, search)
    return Radii(np.maximum(radius, with_errors(squares, polished)), nearest)


class _Rows:
    """The dual problems of all rows; each row is a pair of an image and another class."""

    def __init__(
        self,
        network: SmoothNetwork,
        centers: Array,
        heads: Array,
        offsets: Array,
        low: Array,
        high: Array,
        ball: Array,
    ) -> None:
        self.network, self.centers, self.ball = network, centers, ball
        self.heads, self.offsets, self.low, self.high = heads, offsets, low, high

    def proved(
        self,
        x: Tensor,
        centers: Tensor,
        multiplier: Tensor,
        low: Tensor,
        values: Tensor,
        gradients: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """As :func:`_proved`, but 0 for a point outside the ball, where φ may not be convex.

        Returns:
            ``(proved, inside)``: lower bounds of the squared radii, and whether each point is in
            its ball.
        """
        found = _proved(x, centers, multiplier, low, values, gradients)
        # 1e18 stands for infinity, which would make TensorFlow's check for NaN and infinity raise.
        ball = ops.convert_to_tensor(np.minimum(self.ball, 1e18), x.dtype)
        inside = _squares(x - centers) <= ball * ball
        return ops.where(inside, found, 0.0), inside

    def tensors(
        self, dtype: str
    ) -> tuple[Callable[[Tensor], tuple[Tensor, Tensor]], Tensor, Tensor, Tensor]:
        """``(function, centers, low, high)``; the function computes values and gradients of f."""

        def tensor(array: Array) -> Tensor:
            return ops.convert_to_tensor(array, dtype)

        hidden = (
            [tensor(kernel) for kernel in self.network.kernels[:-1]],
            [tensor(bias) for bias in self.network.biases[:-1]],
            self.network.kinds,
        )
        heads, offsets = tensor(self.heads), tensor(self.offsets)

        def function(x: Tensor) -> tuple[Tensor, Tensor]:
            return values_and_slopes(hidden, x, heads, offsets)

        return function, tensor(self.centers), tensor(self.low), tensor(self.high)

    def at_centers(self) -> Callable[[Array], Array]:
        """A function from the errors of f to squares of radii, from f and ∇f at the images alone.

        With ``x = x0`` the bound is ``2 η f − η² ‖∇f‖² / (1 + η · lower)``. If lower is negative,
        its maximum over η is the square of the distance at which ``f − ‖∇f‖ r + ½ lower r²`` is 0.
        If not, that holds with 0 in place of lower.
        """
        with double_precision():
            function, centers, _, _ = self.tensors("float64")
            values, gradients = function(centers)
            values = ops.convert_to_numpy(values)
            slopes = np.sqrt(ops.convert_to_numpy(_squares(gradients)))
        curvature = np.maximum(-self.low, 0.0)

        def squares(error: Array) -> Array:
            gap = values - error
            with np.errstate(all="ignore"):
                root = slopes + np.sqrt(slopes**2 + 2.0 * curvature * gap)
                radius = 2.0 * gap / root
            return np.where(gap > 0, np.square(radius), 0.0)

        return squares

    def search(self, limit: Tensor, steps: int = _SEARCH) -> tuple[Array, ...]:
        """Search in float32; returns the best ``(multiplier, point, proved square of radius)``."""
        function, centers, low, high = self.tensors("float32")
        limit = ops.convert_to_tensor(limit, "float32")
        values, gradients = function(centers)
        # If f were linear, it would vanish at the minimum of φ for this multiplier.
        trial = values / ops.maximum(_squares(gradients), 1e-30)
        trial = ops.minimum(ops.maximum(trial, 0.0), limit)
        least, most = ops.zeros_like(limit), limit
        failed = ops.zeros_like(limit)
        x, best = centers, (ops.zeros_like(limit), centers, ops.zeros_like(limit))
        for _ in range(steps):
            for _ in range(_INNER):
                x = _step(x, centers, trial, high, gradients)
                values, gradients = function(x)
            proved, inside = self.proved(x, centers, trial, low, values, gradients)
            better = proved > best[2]
            best = (
                ops.where(better, trial, best[0]),
                ops.where(better[:, None], x, best[1]),
                ops.where(better, proved, best[2]),
            )
            # The dual value rises with the multiplier while f is positive at the minimum of φ.
            above = (values > 0) & inside
            least, most = ops.where(above, trial, least), ops.where(above, most, trial)
            failed = ops.where(above, failed, 1.0)
            trial = ops.where(failed > 0, (least + most) / 2.0, ops.minimum(2.0 * trial, limit))
        return tuple(float64(part) for part in best)

    def polish(self, multiplier: Array, point: Array, error: Array) -> tuple[Array, Array]:
        """Squares of radii proved in float64, and distances of inputs of the other class."""
        with double_precision():
            function, centers, low, high = self.tensors("float64")
            multiplier, x, error = (
                ops.convert_to_tensor(part, "float64") for part in (multiplier, point, error)
            )
            best = ops.zeros_like(multiplier)
            for _ in range(_POLISH):
                values, gradients = function(x)
                proved, _ = self.proved(x, centers, multiplier, low, values - error, gradients)
                best = ops.maximum(best, proved)
                x = _step(x, centers, multiplier, high, gradients)
            change = x - centers
            length, nearest = ops.sqrt(_squares(change)), np.inf
            for stretch in (1.0, 1.003, 1.01, 1.05, 1.2, 1.5, 3.0):
                values, _ = function(centers + stretch * change)
                values, there = map(ops.convert_to_numpy, (values, stretch * length))
                there = np.where(values < 0, there, np.inf)
                nearest = np.minimum(nearest, there)
            return ops.convert_to_numpy(best), nearest


def _step(
    x: Tensor, centers: Tensor, multiplier: Tensor, high: Tensor, gradients: Tensor
) -> Tensor:
    """The minimiser of a quadratic upper bound of φ that touches φ at ``x``."""
    multiplier, high = multiplier[:, None], high[:, None]
    return (multiplier * high * x + centers - multiplier * gradients) / (1.0 + multiplier * high)


def _proved(
    x: Tensor, centers: Tensor, multiplier: Tensor, low: Tensor, values: Tensor, gradients: Tensor
) -> Tensor:
    """``2 φ(x) − ‖∇φ(x)‖² / μ``, a lower bound of the square of the radius (see :func:`radii`)."""
    change = x - centers
    slope = _squares(change + multiplier[:, None] * gradients)
    return _squares(change) + 2.0 * multiplier * values - slope / (1.0 + multiplier * low)


def _squares(x: Tensor) -> Tensor:
    return ops.sum(ops.square(x), axis=-1)


def _rounding(
    network: SmoothNetwork, centers: Array, reach: Array, own: Array, other: Array
) -> Array:
    """Bound of float32's error in a difference of logits, anywhere within a distance of an image.

    The terms of a layer's sums are bounded by the activations at the image and, by Cauchy–Schwarz,
    by how far these can move within the distance. A layer multiplies the error of its inputs by at
    most its L2 norm.

    Args:
        network: :class:`zoo.bounds.smooth_network.SmoothNetwork`, prepared.
        centers: float64 array ``(rows, inputs)``, the images.
        reach: array ``(rows,)``, the distances.
        own, other: int arrays ``(rows,)``, the classes.

    Returns:
        float64 array ``(rows,)``; infinite if a sum may leave float32's range.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # an overflow gives an infinite error
        largest, total = _rounding_errors(network, centers, reach, own, other)
        return np.where((largest < LARGEST) & np.isfinite(total), SECOND_ORDER * total, np.inf)


def _rounding_errors(
    network: SmoothNetwork, centers: Array, reach: Array, own: Array, other: Array
) -> tuple[Array, Array]:
    """``(largest, total)``: bounds of the largest intermediate result, and of the error."""
    a, moved, bounded = centers, np.asarray(reach, np.float64)[:, None], False
    error, largest = UNIT_ROUNDOFF * (_length(a) + moved), np.zeros(len(centers))

    def sums_of(part: AffineMap) -> tuple[Array, Array]:
        """``(largest, lost)`` for each output: bounds of its intermediate results and its error."""
        sizes, lengths = part.sizes, np.linalg.norm(part.sizes, axis=0)
        sums = np.abs(a) @ sizes + moved * lengths
        if bounded:
            sums = np.minimum(sums, sizes.sum(axis=0))
        sums = sums + error * lengths + part.bias_sizes
        count = part.roundings
        # The layers after one that flushes a number to zero may enlarge the error.
        flushed = 1.0 + _length(a) + moved + error + sizes.max() + part.peak
        flushed = part.terms * SMALLEST_NORMAL * part.stretch**2 * flushed
        between = part.within * (_length(a) + moved + error) + part.peak
        return count * np.maximum(sums, between), sum_rounding(count) * sums + flushed

    parts = zip(network.maps[:-1], network.kinds, network.norms(), strict=True)
    for part, kind, norm in parts:
        activation, kernel, bias = kind.derivatives, part.kernel, part.bias
        sizes, lost = sums_of(part)
        largest = np.maximum(largest, sizes.max(axis=1))
        error = norm * error + _length(lost)
        z, moves = a @ kernel + bias, moved * np.linalg.norm(kernel, axis=0)
        activated = kind.rounding(np.abs(z) + moves + error)
        error = activation.steepest * error + _length(activated)
        a, moved = activation.exact(z), activation.steepest * norm * moved
        bounded = activation.bounded
    head = network.kernels[-1]
    sizes, lost = sums_of(network.maps[-1])
    rows = np.arange(len(centers))
    total = error[:, 0] * np.linalg.norm(head[:, own] - head[:, other], axis=0)
    for classes in (own, other):
        largest = np.maximum(largest, sizes[rows, classes])
        total = total + lost[rows, classes]
    return largest, total


def _length(x: Array) -> Array:
    return np.linalg.norm(x, axis=1, keepdims=True)
