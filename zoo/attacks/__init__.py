"""Attacks through cleverhans, behind one call."""

from zoo.attacks.attack import attack
from zoo.attacks.ball import project
from zoo.attacks.settings import ATTACKS, check_settings

__all__ = ["ATTACKS", "attack", "check_settings", "project"]
