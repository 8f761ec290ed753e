"""Attacks: one function that runs any of them, and a registry to which a user can add attacks.

Importing this package imports neither Keras nor a backend, so that the command line can list the
attacks and their parameters without delay.
"""

from zoo.attacks import methods  # registers the attacks of this package
from zoo.attacks.attack import attack
from zoo.attacks.ball import project
from zoo.attacks.base import Attack, parameter
from zoo.attacks.nearest_flips import nearest
from zoo.attacks.registry import ATTACKS, check_settings, register_attack

__all__ = [
    "ATTACKS",
    "Attack",
    "attack",
    "check_settings",
    "methods",
    "nearest",
    "parameter",
    "project",
    "register_attack",
]

# The class of each attack is an attribute of this package too, such as ``zoo.attacks.PGD``.
_classes = {kind.__name__: kind for kind in ATTACKS.values()}
globals().update(_classes)
__all__ += list(_classes)  # pyright: ignore[reportUnsupportedDunderAll] (they are registered)
