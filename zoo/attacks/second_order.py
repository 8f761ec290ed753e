"""The attack problem of the second-order paper."""

from zoo.attacks.ball import project


def second_order(victim, x, y, eps, norm, *, random, steps=30):
    """The point of an L2 ball where the label's lead over its strongest rival is least.

    For networks whose curvature is bounded. Where the point lies on the sphere the problem's dual
    is tight: see :meth:`zoo.models.CurvatureNet.worst_points`, which says so for each image.

    Args:
        victim: :class:`zoo.attacks.victim.Victim`.
        x, y: images and labels, checked.
        eps, norm: of the ball; only ``"l2"``.
        random: unused, for the common signature.
        steps: of the search.

    Reference:
        Singla, Feizi: Second-Order Provable Defenses against Adversarial Attacks, ICML 2020,
        section 4.
    """
    points, _ = victim.model.worst_points(x, y, eps.below, steps)
    return project(points, x, eps, norm)
