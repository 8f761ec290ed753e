"""The attack problem of the second-order paper."""

import dataclasses

from zoo.attacks.base import Attack, parameter
from zoo.attacks.registry import register_attack
from zoo.utils import checks


@register_attack("second_order")
@dataclasses.dataclass(frozen=True)
class SecondOrder(Attack):
    """The point of an L2 ball where the label's lead over its strongest rival is least.

    For networks whose curvature is bounded. Where the point lies on the sphere the problem's dual
    is tight: see :meth:`zoo.models.CurvatureNet.worst_points`, which says so for each image.

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
