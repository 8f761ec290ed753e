"""Auto-PGD on the cross-entropy."""

import dataclasses

from zoo.attacks.auto_pgd import auto_pgd
from zoo.attacks.base import Attack, parameter
from zoo.attacks.objectives import cross_entropy, towards_by_cross_entropy
from zoo.attacks.registry import register_attack
from zoo.attacks.starts import from_starts
from zoo.utils import checks


@register_attack("apgd-ce")
@dataclasses.dataclass(frozen=True)
class APGDCE(Attack):
    """Auto-PGD on the cross-entropy, without a step size to choose.

    The first start is the image itself, the further ones are random.

    Reference:
        Croce, Hein: Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse
        Parameter-free Attacks, ICML 2020.
    """

    targeted = True

    steps: int = parameter(
        100, "gradient steps from each start", checks.positive_integer, cleverhans="nb_iter"
    )
    restarts: int = parameter(1, "number of starts", checks.positive_integer)

    def run(self, victim, x, y, eps, norm, random, target=None):
        objective = self._objective(victim.model, targeted=target is not None)

        def run(rows, x_start):
            goal = None if target is None else target[rows]
            labels = (y[rows],) if goal is None else (y[rows], goal)
            return auto_pgd(
                victim, objective, labels, x[rows], x_start, eps, norm, self.steps, goal
            )

        return from_starts(run, victim, x, y, eps, norm, random, self.restarts, target)

    def _objective(self, model, *, targeted):
        return towards_by_cross_entropy if targeted else cross_entropy
