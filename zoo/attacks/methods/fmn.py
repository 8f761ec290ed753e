"""The fast minimum-norm attack."""

import dataclasses

import numpy as np

from zoo.attacks.base import Attack, parameter
from zoo.attacks.fast_minimum_norm import nearest_points
from zoo.attacks.registry import register_attack
from zoo.attacks.surrogate import distance_layers, exponents
from zoo.utils import checks

# Exponents of the surrogate, for networks of ℓ∞ distances.
_SMALLEST_P, _LARGEST_P, _STAGES = 8.0, 1000.0, 4


@register_attack("fmn")
@dataclasses.dataclass(frozen=True)
class FMN(Attack):
    """The smallest perturbation found that fools the model, projected onto the ball.

    Gradient steps in a ball that shrinks while its point is misclassified and grows while it is
    not. Networks of ℓ∞ distances are searched by the gradients of ℓp distances too, as by the
    surrogate attack. :func:`zoo.attacks.nearest` gives the distances, whatever the budget.

    Reference:
        Pintor, Roli, Brendel, Biggio: Fast Minimum-norm Adversarial Attacks through Adaptive Norm
        Constraints, NeurIPS 2021.
    """

    targeted = True

    steps: int = parameter(100, "gradient steps", checks.positive_integer, cleverhans="nb_iter")
    step_size: float = parameter(
        1.0, "L2 length of the first step, in input units", checks.positive_number
    )

    def run(self, victim, x, y, eps, norm, random, target=None):
        points = x.copy()
        rows = np.flatnonzero(~(victim.gap(x, y, target) < 0))
        if not len(rows):
            return points
        goal = None if target is None else target[rows]
        given = (x[rows], y[rows], norm)
        found = nearest_points(victim, victim, *given, self.steps, self.step_size, goal)
        if distance_layers(victim.model):
            surrogate = victim.surrogate
            with surrogate.lock:
                copy = surrogate.prepare(_SMALLEST_P)
                for p in exponents(_SMALLEST_P, _LARGEST_P, _STAGES):
                    surrogate.set_p(p)
                    found = nearest_points(
                        victim, copy, *given, self.steps, self.step_size, goal, found
                    )
        points[rows], _ = found
        return points
