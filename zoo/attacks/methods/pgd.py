"""Projected gradient descent."""

import dataclasses

from zoo.attacks.ball import project, random_start
from zoo.attacks.base import Attack, parameter
from zoo.attacks.gradient import ascent_direction, step_length
from zoo.attacks.objectives import OBJECTIVES
from zoo.attacks.registry import register_attack
from zoo.utils import checks


@register_attack("pgd")
@dataclasses.dataclass(frozen=True)
class PGD(Attack):
    """Projected gradient descent; returns the best point of all steps and restarts.

    The version of cleverhans returns the last step of a single start. This one returns the point
    with the smallest gap among all points of the search, including the original image.

    Reference:
        Madry et al.: Towards Deep Learning Models Resistant to Adversarial Attacks, 2018.
    """

    steps: int = parameter(20, "gradient steps from each start", checks.positive_integer)
    restarts: int = parameter(1, "number of starts", checks.positive_integer)
    step_size: float | None = parameter(
        None, "length of a step in input units (None: 2.5 · eps / steps)", checks.positive_number
    )
    loss: str = parameter(
        "margin",
        "'margin' (the largest other logit minus the label's) or 'cross_entropy'",
        checks.one_of(OBJECTIVES),
    )
    random_init: bool = parameter(
        True, "start at random in the ball, rather than at the image", checks.true_or_false
    )

    def run(self, victim, x, y, eps, norm, random):
        length = step_length(self.step_size, eps, self.steps)
        best, best_gap = x.copy(), victim.gap(x, y)
        for _ in range(self.restarts):
            x_adv = random_start(x, eps, norm, random) if self.random_init else x
            for _ in range(self.steps):
                step = ascent_direction(victim, x_adv, y, norm, self.loss)
                x_adv = project(x_adv + length * step, x, eps, norm)
                gap = victim.gap(x_adv, y)
                better = gap < best_gap
                best[better], best_gap[better] = x_adv[better], gap[better]
        return best
