"""Square attack: random search by squares of pixels, without gradients."""

import dataclasses
import math

import numpy as np

from zoo.attacks.ball import length, project
from zoo.attacks.base import Attack, parameter
from zoo.attacks.compiled import logits_of
from zoo.attacks.gap import gap_of
from zoo.attacks.registry import register_attack
from zoo.utils import checks

# After these shares of the queries, in ten-thousandths, the share of changed pixels is halved.
_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


@register_attack("square")
@dataclasses.dataclass(frozen=True)
class Square(Attack):
    """Random search: squares of pixels are changed where that lowers the label's lead.

    Reference:
        Andriushchenko, Croce, Flammarion, Hein: Square Attack: a query-efficient black-box
        adversarial attack via random search, ECCV 2020.
    """

    targeted = True

    queries: int = parameter(
        5000, "model evaluations for an image (fewer once it fools the model)",
        checks.positive_integer,
    )  # fmt: skip
    share: float = parameter(
        0.8, "share of the pixels that the first squares change, at most 1", checks.share
    )

    def run(self, victim, x, y, eps, norm, random, target=None):
        search = _Linf(x, eps, random) if norm == "linf" else _L2(x, eps, random)
        best = search.first()
        gap = gap_of(logits_of(victim, best), y, target)
        for query in range(1, self.queries):
            rows = np.flatnonzero(gap >= 0)
            if not len(rows):
                break
            tried = search.change(best[rows], rows, share_at(query, self.queries, self.share))
            goal = None if target is None else target[rows]
            now = gap_of(logits_of(victim, tried), y[rows], goal)
            better = now < gap[rows]
            best[rows[better]], gap[rows[better]] = tried[better], now[better]
        return best


def share_at(query, queries, first):
    """The share of pixels that a square changes at a query.

    Args:
        query: number of the query, from 0.
        queries: number of all.
        first: share at the beginning.

    Examples:
        >>> from zoo.attacks.methods.square import share_at
        >>> share_at(0, 100, 0.8), share_at(99, 100, 0.8)
        (0.8, 0.0015625)
    """
    place = 10_000 * query // queries
    return first / 2 ** sum(place > end for end in _HALVINGS)


class _Linf:
    """Candidates at the corners of the ℓ∞ ball."""

    def __init__(self, x, eps, random):
        self.random = random
        # Pixels of these two images are within the ball and within [0, 1], exactly.
        self.low, self.high = (project(x + sign * eps.below, x, eps, "linf") for sign in (-1, 1))

    def first(self):
        """Vertical stripes, one column wide, of a random sign for each channel."""
        count, _, width, channels = self.low.shape
        up = self.random.integers(0, 2, (count, 1, width, channels)).astype(bool)
        return np.where(up, self.high, self.low)

    def change(self, best, rows, share):
        """Points with a square of one random sign for each channel."""
        _, height, width, channels = best.shape
        side = min(max(round(math.sqrt(share * height * width)), 1), height, width)
        inside = _window(best.shape, side, self.random)
        up = self.random.integers(0, 2, (len(best), 1, 1, channels)).astype(bool)
        return np.where(inside, np.where(up, self.high[rows], self.low[rows]), best)


class _L2:
    """Candidates on the L2 sphere, whose changes are concentrated in squares."""

    def __init__(self, x, eps, random):
        self.x, self.eps, self.random = x, eps, random

    def first(self):
        """A grid of squares, each with a random sign for each channel."""
        count, height, width, channels = self.x.shape
        side = max(1, min(height, width) // 5)
        change = np.zeros(self.x.shape)
        for top in range((height % side) // 2, height - side + 1, side):
            for left in range((width % side) // 2, width - side + 1, side):
                sign = self._signs(count, channels)
                patch = sign * pyramid(side, self.random.random() < 0.5)[None, :, :, None]
                change[:, top : top + side, left : left + side] = patch
        return self._on_the_sphere(change, self.x)

    def change(self, best, rows, share):
        """Points with one square emptied and its L2 length moved to a new square."""
        x = self.x[rows]
        count, height, width, channels = x.shape
        side = min(max(round(math.sqrt(share * height * width)), 3), height, width)
        side -= 1 - side % 2  # odd
        change = best.astype(np.float64) - x
        places = [_places(x.shape, side, self.random) for _ in range(2)]
        new, emptied = ((np.arange(count)[:, None, None], *place) for place in places)
        left_over = np.maximum(self.eps.below**2 - length(change) ** 2, 0.0)
        both = change.copy()
        both[new], both[emptied] = 0.0, 0.0
        # The squared length in both squares; `left_over` is the unused part of the budget.
        spent = np.maximum(length(change) ** 2 - length(both) ** 2, 0.0)
        old = change[new]
        old = old / np.maximum(np.sqrt(np.sum(old**2, axis=(1, 2), keepdims=True)), 1e-12)
        patch = self._signs(count, channels) * pyramid(side, self.random.random() < 0.5)[..., None]
        patch = patch + old
        patch = patch / np.maximum(np.sqrt(np.sum(patch**2, axis=(1, 2), keepdims=True)), 1e-12)
        change[emptied] = 0.0
        change[new] = patch * np.sqrt((left_over + spent) / channels)
        return self._on_the_sphere(change, x)

    def _signs(self, count, channels):
        return self.random.choice([-1.0, 1.0], (count, 1, 1, channels))

    def _on_the_sphere(self, change, x):
        change = change * (self.eps.below / np.maximum(length(change), 1e-12))
        return project(x + change, x, self.eps, "l2")


def pyramid(side, transposed=False):
    """The change within a square: one half is a pyramid upwards, the other one downwards.

    Args:
        side: of the square, at least 1.
        transposed: whether the halves lie side by side.

    Returns:
        float64 array ``(side, side)`` of L2 norm 1.
    """
    square = np.zeros((side, side))
    square[: side // 2] = _half(side // 2, side)
    square[side // 2 :] = -_half(side - side // 2, side)
    square /= np.sqrt(np.sum(square**2))
    return square.T if transposed else square


def _half(height, width):
    """Rectangles within each other, the inner ones higher; of L2 norm 1 unless it is empty."""
    half = np.zeros((height, width))
    top, left = height // 2, width // 2
    for ring in range(max(height // 2, width // 2) + 1):
        rows = slice(max(top - ring, 0), min(top + ring + 1, height))
        columns = slice(max(left - ring, 0), min(left + ring + 1, width))
        half[rows, columns] += 1.0 / (ring + 1) ** 2
    return half / np.sqrt(np.sum(half**2)) if half.size else half


def _places(shape, side, random):
    """Rows and columns of a random square for each image, for indexing: two int arrays."""
    count, height, width = shape[:3]
    top = random.integers(0, height - side + 1, (count, 1, 1))
    left = random.integers(0, width - side + 1, (count, 1, 1))
    return top + np.arange(side)[:, None], left + np.arange(side)


def _window(shape, side, random):
    """Where a random square of each image is: bool array ``(n, height, width, 1)``."""
    rows, columns = _places(shape, side, random)
    inside = np.zeros((*shape[:3], 1), bool)
    inside[np.arange(shape[0])[:, None, None], rows, columns] = True
    return inside
