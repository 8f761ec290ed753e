"""What compilers may do to layers in a row: merge their sums, and multiply their constants."""

from collections.abc import Sequence

from zoo.bounds.rules.affine import AffineRule, KernelRule
from zoo.bounds.rules.rule import Rule
from zoo.bounds.rules.scaling import ScalingRule


def merge_in_the_worst_way(rules: Sequence[Rule]) -> None:
    """Tell the rules of a network which layers a compiler may compute together with their own.

    Compilers remove layers that compute nothing, and also merge what is left and right of them.

    Args:
        rules: the rules, in the order in which they run.
    """
    source = {0: 0}  # of each place, the place whose entries it has
    for place, rule in enumerate(rules, start=1):
        removed = len(rule.inputs) == 1 and rule.may_be_removed
        source[place] = source[rule.inputs[0]] if removed else place
    _count_merged_sums(rules, source)
    _find_constants_in_a_row(rules, source)


def _count_merged_sums(rules: Sequence[Rule], source: dict[int, int]) -> None:
    """Count the additional roundings of sums, and of their terms, that compilers may cause.

    TensorFlow's graph optimizer replaces nested sums by one sum. It adds the terms, and the offsets
    of the layers that they come from, in any order, so each may be rounded as often as there are
    terms. XLA may start the sum of a matrix product with the tensor that is added to the product,
    also if that is a constant offset; this tensor is then rounded as often as there are products.
    """
    groups: dict[int, set[int]] = {}  # of each sum, the places of all sums and terms around it
    for place, rule in enumerate(rules, start=1):
        if isinstance(rule, AffineRule) and rule.may_be_merged:
            parts = [source[part] for part in rule.inputs]
            group = {place}.union(*(groups.get(part, {part}) for part in parts))
            groups.update(
                {member: group for member in group if member == place or member in groups}
            )
    for group in {id(group): group for group in groups.values()}.values():
        members = [(place, rules[place - 1]) for place in group if place]
        sums = [rule for place, rule in members if place in groups]
        products = [rule.products for _, rule in members if isinstance(rule, KernelRule)]
        if len(sums) == 1 and len(sums[0].inputs) == 1 and not products:
            continue  # an offset that is added to no sum
        terms = 1 + sum(2 * len(rule.inputs) + 1 for rule in sums)
        for place, rule in members:
            if isinstance(rule, AffineRule):
                added = max(products, default=0) if place in groups else 0
                if isinstance(rule, ScalingRule):
                    # What it is added to is the sum itself.
                    rule.offset_roundings, added = max(rule.offset_roundings, added), 0
                rule.merged_roundings = max(rule.merged_roundings, terms + added)


def _find_constants_in_a_row(rules: Sequence[Rule], source: dict[int, int]) -> None:
    """Tell each rule that multiplies by a constant which one does so before it."""
    for rule in rules:
        before = source[rule.inputs[0]]
        if isinstance(rule, AffineRule) and len(rule.inputs) == 1 and before:
            rule.before = rules[before - 1]
