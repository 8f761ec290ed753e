"""Fast gradient sign method."""

import dataclasses

from zoo.attacks.base import Attack, parameter
from zoo.attacks.gradient import ascent_direction
from zoo.attacks.objectives import OBJECTIVES
from zoo.attacks.registry import register_attack
from zoo.utils import checks


@register_attack("fgsm")
@dataclasses.dataclass(frozen=True)
class FGSM(Attack):
    """One step of the full budget along the gradient's sign (ℓ∞) or direction (L2).

    Reference:
        Goodfellow, Shlens, Szegedy: Explaining and Harnessing Adversarial Examples, 2015.
    """

    targeted = True

    loss: str = parameter(
        "cross_entropy",
        "'cross_entropy', or 'margin', whose gradient never vanishes",
        checks.one_of(OBJECTIVES),
    )

    def run(self, victim, x, y, eps, norm, random, target=None):
        if target is not None:
            return x - eps.below * ascent_direction(victim, x, target, norm, self.loss)
        return x + eps.below * ascent_direction(victim, x, y, norm, self.loss)
