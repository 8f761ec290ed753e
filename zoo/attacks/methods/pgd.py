"""Projected gradient descent."""

import dataclasses

from zoo.attacks.ball import project, random_start
from zoo.attacks.base import Attack, parameter
from zoo.attacks.compiled import logits_of
from zoo.attacks.gap import gap_of
from zoo.attacks.gradient import ascent_direction, step_length
from zoo.attacks.objectives import OBJECTIVES
from zoo.attacks.registry import register_attack
from zoo.utils import checks


@register_attack("pgd")
@dataclasses.dataclass(frozen=True)
class PGD(Attack):
    """Projected gradient descent; returns the best point of all steps, starts and losses.

    The first start is the image itself, the further ones are random. A random start moves images
    off the sparse gradients of ℓ∞-distance networks. From each start, one run ascends the
    cross-entropy and one ascends the margin, with ``steps`` gradient steps each.

    cleverhans, which takes the steps, returns the last step of a single run. Here the most damaging
    point seen anywhere is kept, the original image included.

    Reference:
        Madry et al.: Towards Deep Learning Models Resistant to Adversarial Attacks, 2018.
    """

    targeted = True

    steps: int = parameter(
        20,
        "gradient steps from each start, for each loss",
        checks.positive_integer,
        cleverhans="nb_iter",
    )
    restarts: int = parameter(1, "number of starts", checks.positive_integer)
    step_size: float | None = parameter(
        None,
        "length of a step in input units (None: 2.5 · eps / steps)",
        checks.positive_number,
        cleverhans="eps_iter",
    )
    loss: str = parameter(
        "both",
        "'margin' (the largest other logit minus the label's), 'cross_entropy', or 'both' in turn",
        checks.one_of([*OBJECTIVES, "both"]),
    )
    random_init: bool = parameter(
        False,
        "start at random in the ball the first time too, rather than at the image",
        checks.true_or_false,
        cleverhans="rand_init",
    )

    def run(self, victim, x, y, eps, norm, random, target=None):
        length = step_length(self.step_size, eps, self.steps)
        best, best_gap = x.copy(), victim.gap(x, y, target)
        # A targeted attack descends the loss of the target.
        labels, sign = (y, 1.0) if target is None else (target, -1.0)
        for start in range(self.restarts):
            at_random = self.random_init or start > 0
            x_start = random_start(x, eps, norm, random) if at_random else x
            for loss in OBJECTIVES if self.loss == "both" else [self.loss]:
                x_adv = x_start
                for _ in range(self.steps):
                    step = sign * ascent_direction(victim, x_adv, labels, norm, loss)
                    x_adv = project(x_adv + length * step, x, eps, norm)
                    gap = gap_of(logits_of(victim, x_adv), y, target)
                    better = gap < best_gap
                    best[better], best_gap[better] = x_adv[better], gap[better]
        return best
