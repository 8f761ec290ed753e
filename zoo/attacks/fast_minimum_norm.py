"""The fast minimum-norm attack: the nearest misclassified point on the path of a shrinking ball."""

import math

import numpy as np

from zoo.attacks.ball import length, size
from zoo.attacks.compiled import logits_of, value_and_gradient
from zoo.attacks.gap import gap_of
from zoo.attacks.objectives import margin, towards_by_margin

# The paper's first and last share by which the ball grows or shrinks in a step.
_FIRST_SHARE, _LAST_SHARE = 0.05, 0.001
# Points tried on the way from an image to the misclassified point.
_HALVINGS = 12


def nearest_points(victim, guide, x, y, norm, steps, first_step, target=None, known=None):
    """The nearest misclassified points found, and how far they are.

    Args:
        victim: :class:`zoo.attacks.victim.Victim`, which judges the points.
        guide: the victim whose gradients are followed: the same one, or that of a surrogate.
        x, y: images and labels.
        norm: ``"linf"`` or ``"l2"``.
        steps: gradient steps.
        first_step: L2 length of the first step; it shrinks to a hundredth.
        target: classes that the images are to be taken for; None for any but the label.
        known: ``(points, distances)`` found before, where the search goes on; None to begin at the
            images.

    Returns:
        ``(points, distances)``: float32 array of the shape of ``x`` and float64 array ``(n,)``,
        the image itself and ``inf`` where nothing was found.

    Reference:
        Pintor, Roli, Brendel, Biggio: Fast Minimum-norm Adversarial Attacks through Adaptive Norm
        Constraints, NeurIPS 2021, algorithm 1.
    """
    column = (slice(None),) + (None,) * (x.ndim - 1)
    objective = margin if target is None else towards_by_margin
    labels = (y,) if target is None else (y, target)
    best, distance = (x.copy(), np.full(len(x), np.inf)) if known is None else known
    best, distance = best.copy(), distance.copy()
    x_adv, radius = best.copy(), distance.copy()

    def judge(logits):
        gap = gap_of(logits, y, target)
        far = size(x_adv.astype(np.float64) - x, norm)
        nearer = (gap < 0) & (far < distance)
        best[nearer], distance[nearer] = x_adv[nearer], far[nearer]
        return gap, far

    for step in range(steps):
        cosine = (1.0 + math.cos(math.pi * step / steps)) / 2.0
        share = _LAST_SHARE + (_FIRST_SHARE - _LAST_SHARE) * cosine
        value, logits, gradient = value_and_gradient(guide, objective, x_adv, *labels)
        if guide is not victim:
            logits = logits_of(victim, x_adv)
        gap, far = judge(logits)
        # Until a misclassified point is found, the radius is a first-order estimate of the
        # distance from the image to the decision boundary.
        slope = np.abs(gradient).sum(axis=(1, 2, 3)) if norm == "linf" else size(gradient, "l2")
        outwards = far + np.abs(value) / np.maximum(slope, 1e-12)
        grown = np.where(np.isfinite(distance), radius * (1.0 + share), outwards)
        shrunk = np.minimum(radius * (1.0 - share), distance)
        radius = np.where(gap < 0, shrunk, grown)
        pace = first_step * (0.01 + 0.99 * cosine)
        moved = x_adv + pace * gradient / np.maximum(length(gradient), 1e-12)
        x_adv = _into_balls(moved, x, radius[column], norm)
    judge(logits_of(victim, x_adv))
    return _drawn_in(victim, best, distance, x, y, norm, target)


def _drawn_in(victim, points, distance, x, y, norm, target):
    """Misclassified points on the lines to the images, by bisection, at most as far as before."""
    column = (slice(None),) + (None,) * (x.ndim - 1)
    points, distance = points.copy(), distance.copy()
    low, high, ends = np.zeros(len(x)), np.ones(len(x)), points.astype(np.float64)
    if not np.isfinite(distance).any():
        return points, distance
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        tried = (x + middle[column] * (ends - x)).astype(np.float32)
        fooled = gap_of(logits_of(victim, tried), y, target) < 0
        far = size(tried.astype(np.float64) - x, norm)
        nearer = fooled & (far < distance)
        points[nearer], distance[nearer] = tried[nearer], far[nearer]
        low, high = np.where(fooled, low, middle), np.where(fooled, middle, high)
    return points, distance


def _into_balls(points, x, radius, norm):
    """Points brought into [0, 1] and into the ball of each image, whose radius may be ``inf``."""
    # Points are first clipped to [0, 1]; shrinking the change then keeps them there. In the other
    # order, points hardly ever reach the surface of an L2 ball, and from images with many black
    # pixels they reach no decision boundary.
    change = np.clip(points, 0.0, 1.0) - x
    if norm == "linf":
        change = np.clip(change, -radius, radius)
    else:
        change = change * np.minimum(1.0, radius / np.maximum(length(change), 1e-12))
    return np.clip(x + change, 0.0, 1.0).astype(np.float32)
