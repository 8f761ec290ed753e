"""What can be proven about any Keras graph.

The passes (interval bounds, linear relaxation, Lipschitz constants, curvature) know no layers. What
a layer means for each of them stands in its rule, see :func:`register_rule`.
"""

from zoo.bounds.network_rules import rules_of
from zoo.bounds.rules.affine import AffineRule, KernelRule
from zoo.bounds.rules.rule import Rule, register_rule, supported

__all__ = ["AffineRule", "KernelRule", "Rule", "register_rule", "rules_of", "supported"]
