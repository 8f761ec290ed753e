"""Attacks through cleverhans, behind one call."""

from zoo.attacks.attack import ATTACKS, attack
from zoo.attacks.ball import project

__all__ = ["ATTACKS", "attack", "project"]
