"""Auto-PGD towards each of the likeliest classes."""

import dataclasses

import numpy as np

from zoo.attacks.auto_pgd import auto_pgd
from zoo.attacks.base import Attack, parameter
from zoo.attacks.compiled import logits_of
from zoo.attacks.few_classes import has_dlr, notes_on_dlr
from zoo.attacks.objectives import difference, targeted_dlr
from zoo.attacks.registry import register_attack
from zoo.attacks.starts import from_starts, keep_better, rivals
from zoo.utils import checks


@register_attack("apgd-t")
@dataclasses.dataclass(frozen=True)
class APGDT(Attack):
    """Auto-PGD on the targeted difference of logits ratio, towards one class after the other.

    The classes are those with the largest logits at the image. With fewer than four classes the
    difference of the two logits takes the place of the loss.

    Reference:
        As for ``apgd-ce``.
    """

    targeted = True

    steps: int = parameter(
        100,
        "gradient steps towards each class from each start",
        checks.positive_integer,
        cleverhans="nb_iter",
    )
    targets: int = parameter(
        9, "number of classes to try, the likeliest first; a given target is tried alone",
        checks.positive_integer,
    )  # fmt: skip
    restarts: int = parameter(1, "number of starts for each class", checks.positive_integer)

    def notes(self, model):
        return notes_on_dlr(self, model)

    def run(self, victim, x, y, eps, norm, random, target=None):
        objective = targeted_dlr if has_dlr(victim.model) else difference
        if target is None:
            classes = rivals(logits_of(victim, x), y, self.targets)
        else:
            classes = target[:, None]

        def run(rows, x_start):
            best, gap = x_start.copy(), np.full(len(rows), np.inf)
            for index in range(classes.shape[1]):
                left = np.flatnonzero(gap >= 0)
                if not len(left):
                    break
                chosen = rows[left]
                found = auto_pgd(
                    victim,
                    objective,
                    (y[chosen], classes[chosen, index]),
                    x[chosen],
                    x_start[left],
                    eps,
                    norm,
                    self.steps,
                    None if target is None else target[chosen],
                )
                keep_better(best, gap, left, *found)
            return best, gap

        return from_starts(run, victim, x, y, eps, norm, random, self.restarts, target)
