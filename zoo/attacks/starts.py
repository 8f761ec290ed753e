"""Repeating an attack from several starts, for the images that are left."""

import numpy as np

from zoo.attacks.ball import random_start


def from_starts(run, victim, x, y, eps, norm, random, restarts, target=None):
    """The most damaging points of several runs: the first from the images, further ones at random.

    An image that is fooled is left out of the further runs.

    Args:
        run: function of the rows that are left, an int64 array, and of their starting points that
            returns points and their gaps, as :meth:`zoo.attacks.victim.Victim.gap` has them.
        victim: :class:`zoo.attacks.victim.Victim`.
        x, y, eps, norm, random, target: of the attack.
        restarts: number of starts.

    Returns:
        float32 array of the shape of ``x``.
    """
    best, gap = x.copy(), victim.gap(x, y, target)
    for start in range(restarts):
        rows = np.flatnonzero(gap >= 0)
        if not len(rows):
            break
        x_start = random_start(x[rows], eps, norm, random) if start else x[rows]
        keep_better(best, gap, rows, *run(rows, x_start))
    return best


def keep_better(best, gap, rows, points, gaps):
    """Put points of some rows in place of the best ones where they are more damaging.

    Args:
        best, gap: the best points and their gaps; changed in place.
        rows: int64 array, the rows of ``best`` that the new points belong to.
        points, gaps: the new points and their gaps.
    """
    better = gaps < gap[rows]
    best[rows[better]], gap[rows[better]] = points[better], gaps[better]


def rivals(logits, y, count):
    """The classes with the largest logits but for the label, in descending order.

    Args:
        logits: array ``(n, classes)``.
        y: int64 array ``(n,)``.
        count: how many; at most ``classes − 1`` are returned.

    Returns:
        int64 array ``(n, count)``.
    """
    logits = np.array(logits, np.float64)
    logits[np.arange(len(y)), y] = -np.inf
    order = np.argsort(-logits, axis=1, kind="stable")
    return order[:, : min(count, logits.shape[1] - 1)].astype(np.int64)
