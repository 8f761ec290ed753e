"""Sound bounds for Keras models that are made of ordinary layers.

No pass (interval bounds, linear relaxation, Lipschitz constants, curvature) contains code for a
particular layer. Each type of layer has a rule, which computes the layer's part of every pass: see
:func:`register_rule`.
"""

from zoo.bounds.network_rules import rules_of
from zoo.bounds.rules.affine import AffineRule, KernelRule
from zoo.bounds.rules.rule import Rule, register_rule, supported

__all__ = ["AffineRule", "KernelRule", "Rule", "register_rule", "rules_of", "supported"]
