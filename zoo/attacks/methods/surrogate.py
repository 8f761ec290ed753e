"""Gradients of ℓp distances against a network of ℓ∞ distances."""

import dataclasses

import numpy as np

from zoo.attacks.ball import direction, project
from zoo.attacks.base import Attack, parameter
from zoo.attacks.compiled import logits_of, value_and_gradient
from zoo.attacks.gap import gap_of
from zoo.attacks.objectives import margin, towards_by_margin
from zoo.attacks.registry import register_attack
from zoo.attacks.starts import from_starts
from zoo.attacks.surrogate import distance_layers, exponents
from zoo.utils import checks


@register_attack("surrogate")
@dataclasses.dataclass(frozen=True)
class SurrogateGradient(Attack):
    """Gradient steps by a copy of the network with ℓp in place of ℓ∞ distances, for growing p.

    It is meant for ℓ∞-distance networks, whose own gradients are sparse. The network itself judges
    the points, and the steps with each exponent begin at the most damaging point so far. The first
    start is the image itself, the further ones are random.

    Reference:
        Zhang, Cai, Lu, He, Wang: Towards Certifying ℓ∞ Robustness using Neural Networks with
        ℓ∞-dist Neurons, ICML 2021, section 4.2, for the ℓp relaxation that they train with.
    """

    targeted = True

    steps: int = parameter(20, "gradient steps with each exponent", checks.positive_integer)
    stages: int = parameter(5, "number of exponents", checks.positive_integer)
    restarts: int = parameter(1, "number of starts", checks.positive_integer)
    first_p: float = parameter(8.0, "smallest exponent", checks.exponent)
    last_p: float = parameter(1000.0, "largest exponent", checks.exponent)

    def check_model(self, model):
        if not distance_layers(model):
            raise ValueError(
                "the surrogate attack needs a model with layers of ℓ∞ distances, such as a "
                f"LinfDistNet; {type(model).__name__} has none"
            )

    def run(self, victim, x, y, eps, norm, random, target=None):
        surrogate = victim.surrogate
        objective = margin if target is None else towards_by_margin

        def run(rows, x_adv):
            labels = (y[rows],) if target is None else (y[rows], target[rows])
            goal = None if target is None else target[rows]
            best, gap = x_adv.copy(), np.full(len(rows), np.inf)
            for p in exponents(self.first_p, self.last_p, self.stages):
                surrogate.set_p(p)
                # Each stage goes on from the most damaging point of those before.
                x_adv, momentum = best.copy(), np.zeros(best.shape)
                for step in range(self.steps):
                    gradient = value_and_gradient(copy, objective, x_adv, *labels)[2]
                    scale = np.mean(np.abs(gradient), axis=(1, 2, 3), keepdims=True)
                    momentum = 0.75 * momentum + gradient / np.maximum(scale, 1e-30)
                    length = eps.below * (1.0 - step / self.steps)
                    x_adv = project(x_adv + length * direction(momentum, norm), x[rows], eps, norm)
                    now = gap_of(logits_of(victim, x_adv), y[rows], goal)
                    better = now < gap
                    best[better], gap[better] = x_adv[better], now[better]
                    if (gap < 0).all():
                        return best, gap
            return best, gap

        with surrogate.lock:
            copy = surrogate.prepare(self.first_p)
            return from_starts(run, victim, x, y, eps, norm, random, self.restarts, target)
