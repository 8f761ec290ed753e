"""The attack of the paper on second-order defences."""

import dataclasses

from zoo.attacks.base import Attack, parameter
from zoo.attacks.registry import register_attack
from zoo.utils import checks


@register_attack("second_order")
@dataclasses.dataclass(frozen=True)
class SecondOrder(Attack):
    """The point of an L2 ball where the label's lead over its strongest rival is smallest.

    This attack needs a network with curvature bounds. If the point lies on the sphere, the dual of
    the problem can be tight, and no point of the ball is worse:
    :meth:`zoo.models.CurvatureNet.worst_points` returns for which images that is so.

    Reference:
        Singla, Feizi: Second-Order Provable Defenses against Adversarial Attacks, ICML 2020,
        section 4.
    """

    norms = ("l2",)

    steps: int = parameter(30, "steps of the search", checks.positive_integer)

    def check_model(self, model):
        if not hasattr(model, "worst_points"):
            raise ValueError(
                "the second_order attack needs a model with curvature bounds, a CurvatureNet; "
                f"{type(model).__name__} has none"
            )

    def run(self, victim, x, y, eps, norm, random):
        points, _ = victim.model.worst_points(x, y, eps.below, self.steps)
        return points
