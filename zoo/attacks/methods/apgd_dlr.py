"""Auto-PGD on the difference of logits ratio."""

import dataclasses

from zoo.attacks.auto_pgd import auto_pgd
from zoo.attacks.base import Attack, parameter
from zoo.attacks.few_classes import has_dlr, notes_on_dlr
from zoo.attacks.objectives import dlr, margin, targeted_dlr, towards_by_margin
from zoo.attacks.registry import register_attack
from zoo.attacks.starts import from_starts
from zoo.utils import checks


@register_attack("apgd-dlr")
@dataclasses.dataclass(frozen=True)
class APGDDLR(Attack):
    """Auto-PGD on the difference of logits ratio, a loss that scaling the logits does not change.

    With fewer than four classes the margin takes the place of this loss. The first start is the
    image itself, the further ones are random.

    Reference:
        As for ``apgd-ce``.
    """

    targeted = True

    steps: int = parameter(
        100, "gradient steps from each start", checks.positive_integer, cleverhans="nb_iter"
    )
    restarts: int = parameter(1, "number of starts", checks.positive_integer)

    def notes(self, model):
        return notes_on_dlr(self, model)

    def run(self, victim, x, y, eps, norm, random, target=None):
        if has_dlr(victim.model):
            objective = dlr if target is None else targeted_dlr
        else:
            objective = margin if target is None else towards_by_margin

        def run(rows, x_start):
            goal = None if target is None else target[rows]
            labels = (y[rows],) if goal is None else (y[rows], goal)
            return auto_pgd(
                victim, objective, labels, x[rows], x_start, eps, norm, self.steps, goal
            )

        return from_starts(run, victim, x, y, eps, norm, random, self.restarts, target)
