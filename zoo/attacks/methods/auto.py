"""The standard ensemble of attacks, and what the zoo adds to it."""

import dataclasses
from typing import Any

import numpy as np

from zoo.attacks.ball import project
from zoo.attacks.base import Attack, parameter
from zoo.attacks.methods.apgd_ce import APGDCE
from zoo.attacks.methods.apgd_t import APGDT
from zoo.attacks.methods.fab_t import FABT
from zoo.attacks.methods.momentum import Momentum
from zoo.attacks.methods.square import Square
from zoo.attacks.methods.surrogate import SurrogateGradient
from zoo.attacks.registry import register_attack
from zoo.attacks.starts import keep_better
from zoo.attacks.surrogate import distance_layers
from zoo.utils import checks


@register_attack("auto")
@dataclasses.dataclass(frozen=True)
class AutoAttack(Attack):
    """AutoAttack's ensemble, followed by momentum and, for ℓ∞ distances, by the surrogate.

    The members are apgd-ce, apgd-t, fab-t, square, momentum and surrogate, in this order. Each one
    attacks the images that those before it could not fool. Its random numbers follow from the seed,
    the batch and its place in the order.

    Reference:
        Croce, Hein: Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse
        Parameter-free Attacks, ICML 2020, for the first four.
    """

    steps: int = parameter(
        100, "gradient steps of each run of a member", checks.positive_integer, cleverhans="nb_iter"
    )
    targets: int = parameter(9, "classes for apgd-t and fab-t", checks.positive_integer)
    restarts: int = parameter(1, "number of starts of apgd and fab", checks.positive_integer)
    queries: int = parameter(5000, "model evaluations of square", checks.positive_integer)

    def members(self, model):
        """The attacks on a model, in their order.

        Args:
            model: a :class:`zoo.models.CertifiedModel`.

        Returns:
            List of :class:`zoo.attacks.Attack`.
        """
        towards = {"steps": self.steps, "targets": self.targets, "restarts": self.restarts}
        members = [
            APGDCE(steps=self.steps, restarts=self.restarts),
            APGDT(**towards),
            FABT(**towards),
            Square(queries=self.queries),
            Momentum(steps=self.steps),
        ]
        if distance_layers(model):
            members.append(SurrogateGradient(steps=max(1, self.steps // 5)))
        return members

    def notes(self, model):
        return [f"auto, {note}" for member in self.members(model) for note in member.notes(model)]

    def run(self, victim, x, y, eps, norm, random):
        best, gap = x.copy(), victim.gap(x, y)
        seeds: Any = random.bit_generator.seed_seq
        seed = seeds.entropy
        for place, member in enumerate(self.members(victim.model)):
            rows = np.flatnonzero(gap >= 0)
            if not len(rows):
                break
            of_member = np.random.default_rng([*np.atleast_1d(seed), place])
            images, labels = x[rows], y[rows]
            points = member.run(victim, images.copy(), labels, eps, norm, of_member)
            points = project(points, images, eps, norm)
            keep_better(best, gap, rows, points, victim.gap(points, labels))
        return best
