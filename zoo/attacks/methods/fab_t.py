"""The fast adaptive boundary attack, towards each of the likeliest classes."""

import dataclasses

import numpy as np

from zoo.attacks.ball import random_start, size
from zoo.attacks.base import Attack, parameter
from zoo.attacks.boundary import to_hyperplane
from zoo.attacks.compiled import logits_of, value_and_gradient
from zoo.attacks.gap import gap_of
from zoo.attacks.objectives import difference
from zoo.attacks.registry import register_attack
from zoo.attacks.starts import rivals
from zoo.utils import checks

# Constants of the paper: the factor by which steps overshoot the boundary, the largest weight of
# the step that starts at the image, and the share of its change that a misclassified point keeps.
_OVERSHOOT, _LARGEST_BIAS, _BACKWARD = 1.05, 0.1, 0.9


@register_attack("fab-t")
@dataclasses.dataclass(frozen=True)
class FABT(Attack):
    """The smallest perturbation found by steps onto linearised decision boundaries.

    The attack steps towards the boundaries of several other classes, one after the other, beginning
    with the largest logit at the image. The first start is the image itself, the further ones are
    random.

    Reference:
        Croce, Hein: Minimally Distorted Adversarial Examples with a Fast Adaptive Boundary Attack,
        ICML 2020.
    """

    targeted = True

    steps: int = parameter(
        100,
        "steps towards each class from each start",
        checks.positive_integer,
        cleverhans="nb_iter",
    )
    targets: int = parameter(
        9,
        "number of classes to try, the likeliest first; a given target is tried alone",
        checks.positive_integer,
    )
    restarts: int = parameter(1, "number of starts for each class", checks.positive_integer)

    def run(self, victim, x, y, eps, norm, random, target=None):
        if target is None:
            classes = rivals(logits_of(victim, x), y, self.targets)
        else:
            classes = target[:, None]
        best, distance = x.copy(), np.full(len(x), np.inf)
        for start in range(self.restarts):
            for index in range(classes.shape[1]):
                # An image that is fooled within the budget needs no smaller perturbation.
                rows = np.flatnonzero(distance > eps.below)
                if not len(rows):
                    return best
                x_start = random_start(x[rows], eps, norm, random) if start else x[rows]
                goal = None if target is None else target[rows]
                found, found_distance = _one_run(
                    victim, x[rows], y[rows], classes[rows, index], x_start, norm, self.steps, goal
                )
                nearer = found_distance < distance[rows]
                best[rows[nearer]] = found[nearer]
                distance[rows[nearer]] = found_distance[nearer]
        return best


def _one_run(victim, x, y, other, x_start, norm, steps, target):
    """The nearest misclassified points of one run, and how far they are: ``inf`` for none."""
    column = (slice(None),) + (None,) * (x.ndim - 1)
    best, distance = x.copy(), np.full(len(x), np.inf)
    x_adv = x_start.astype(np.float64)
    for _ in range(steps):
        value, _, gradient = value_and_gradient(
            victim, difference, x_adv.astype(np.float32), y, other
        )
        # To the plane where both classes' logits are equal, to first order around the point.
        to_plane = to_hyperplane(x_adv, gradient, -value, norm)
        product = np.sum((gradient * (x - x_adv)).reshape(len(x), -1), axis=1)
        from_image = to_hyperplane(x, gradient, -(value + product), norm)
        near, far = (np.maximum(size(step, norm), 1e-8) for step in (to_plane, from_image))
        bias = np.minimum(near / (near + far), _LARGEST_BIAS)[column]
        forward, biased = x_adv + _OVERSHOOT * to_plane, x + _OVERSHOOT * from_image
        x_adv = np.clip((1.0 - bias) * forward + bias * biased, 0.0, 1.0)
        points = x_adv.astype(np.float32)
        fooled = gap_of(logits_of(victim, points), y, target) < 0
        far = size(points.astype(np.float64) - x, norm)
        nearer = fooled & (far < distance)
        best[nearer], distance[nearer] = points[nearer], far[nearer]
        x_adv = np.where(fooled[column], x + _BACKWARD * (x_adv - x), x_adv)
    return best, distance
