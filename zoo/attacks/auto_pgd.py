"""Auto-PGD: gradient steps whose length is halved where they stop making progress."""

import numpy as np

from zoo.attacks.ball import direction, project
from zoo.attacks.compiled import value_and_gradient
from zoo.attacks.gap import gap_of

# Constants of the paper: the weight of the new step against the previous one; and the share of
# steps that must make progress, because otherwise the step length is halved.
_NEW, _PROGRESS = 0.75, 0.75


def auto_pgd(victim, objective, labels, x, x_start, eps, norm, steps, target=None):
    """The most damaging points of one run of Auto-PGD, which ascends an objective.

    Args:
        victim: :class:`zoo.attacks.victim.Victim`.
        objective: see :mod:`zoo.attacks.objectives`.
        labels: tuple of the objective's arguments before the logits, each an int64 array ``(n,)``;
            the first one holds the labels of the images.
        x: float32 array ``(n, …)`` of images.
        x_start: float32 array of the same shape, in the ball: where the run begins.
        eps, norm: of the ball.
        steps: gradient steps. The run ends early once all images are fooled.
        target: classes that the images are to be taken for; None for any but the label.

    Returns:
        ``(points, gaps)``: float32 array of the shape of ``x``, and what
        :meth:`zoo.attacks.victim.Victim.gap` says of the points.

    Reference:
        Croce, Hein: Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse
        Parameter-free Attacks, ICML 2020, algorithm 1.
    """

    def look(points):
        values, logits, gradient = value_and_gradient(victim, objective, points, *labels)
        gap = gap_of(logits, labels[0], target)
        better = gap < found_gap
        found[better], found_gap[better] = points[better], gap[better]
        return values, gradient

    column = (slice(None),) + (None,) * (x.ndim - 1)
    found, found_gap = x_start.copy(), np.full(len(x), np.inf)
    x_adv = x_before = x_start
    value, gradient = look(x_adv)
    best, best_value, best_gradient = x_adv.copy(), value, gradient
    length = np.full(len(x), 2.0 * eps.below)
    progress, value_at_check, halved = np.zeros(len(x)), value, np.ones(len(x), bool)
    checks = set(checkpoints(steps))
    since = 0
    for step in range(steps):
        if (found_gap < 0).all():
            break
        new = _NEW if step else 1.0
        moved = project(x_adv + length[column] * direction(gradient, norm), x, eps, norm)
        moved = x_adv + new * (moved - x_adv) + (1.0 - new) * (x_adv - x_before)
        x_before, x_adv = x_adv, project(moved, x, eps, norm)
        value_before = value
        value, gradient = look(x_adv)
        progress += value > value_before
        since += 1
        better = value > best_value
        best = np.where(better[column], x_adv, best)
        best_gradient = np.where(better[column], gradient, best_gradient)
        best_value = np.where(better, value, best_value)
        if step + 1 in checks:
            stuck = ~halved & (best_value <= value_at_check)
            halved = (progress <= _PROGRESS * since) | stuck
            length = np.where(halved, length / 2.0, length)
            # A shorter step begins at the best point so far.
            x_adv = np.where(halved[column], best, x_adv)
            gradient = np.where(halved[column], best_gradient, gradient)
            value = np.where(halved, best_value, value)
            value_at_check, progress, since = best_value, np.zeros(len(x)), 0
    return found, found_gap


def checkpoints(steps):
    """The steps after which the length may be halved, as the paper has them.

    The first comes after 22 % of the steps; the distances shrink by 3 % each, to 6 % at the least.

    Args:
        steps: of the run.

    Returns:
        List of integers, at most ``steps``.

    Examples:
        >>> from zoo.attacks.auto_pgd import checkpoints
        >>> checkpoints(100)
        [22, 41, 57, 70, 80, 87, 93, 99]
    """
    distance, found = max(int(0.22 * steps), 1), []
    while sum(found[-1:]) + distance <= steps:
        found.append(sum(found[-1:]) + distance)
        distance = max(distance - max(int(0.03 * steps), 1), int(0.06 * steps), 1)
    return found
