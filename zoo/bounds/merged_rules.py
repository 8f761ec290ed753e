"""What compilers may do to layers in a row: merge their sums, and multiply their constants."""

from collections.abc import Sequence

from zoo.bounds.rules.affine import AffineRule, KernelRule
from zoo.bounds.rules.merge import WeightedSumRule
from zoo.bounds.rules.rule import Rule
from zoo.bounds.rules.scaling import ScalingRule
from zoo.ops.precision import double_precision


def merge_in_the_worst_way(rules: Sequence[Rule]) -> None:
    """Tell the rules of a network which layers a compiler may compute together with their own.

    Compilers remove layers that compute nothing, and then merge what is before and behind them.

    Args:
        rules: the rules, in the order in which they run.

    Raises:
        zoo.UnsupportedLayerError: as :func:`zoo.bounds.rules.constants.require_in_range`.
    """
    source = {0: 0}  # of each place, the place whose entries it has
    for place, rule in enumerate(rules, start=1):
        removed = len(rule.inputs) == 1 and rule.may_be_removed
        source[place] = source[rule.inputs[0]] if removed else place
        places = {source[part] for part in rule.inputs} - {0}
        rule.sources = tuple(rules[part - 1] for part in sorted(places))
        rule.require_constants_in_range()
    _count_merged_sums(rules, source)


def _count_merged_sums(rules: Sequence[Rule], source: dict[int, int]) -> None:
    """Count the additional roundings of sums, and of their terms, that compilers may cause.

    TensorFlow's graph optimizer replaces nested sums by one sum. It adds the terms, and the offsets
    of the layers that they come from, in any order, so each may be rounded as often as there are
    terms. XLA may start the sum of a matrix product with the tensor that is added to the product,
    also if that is a constant offset; this tensor is then rounded as often as there are products.
    In ``a + b + c``, it may start the sum of b with a, and that of c with the result: a is then
    rounded as often as b and c have products together.
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
        products = sum(_products(rule) for _, rule in members)
        if len(sums) == 1 and len(sums[0].inputs) == 1 and not products:
            continue  # an offset that is added to no sum
        terms = 1 + sum(2 * len(rule.inputs) + 1 for rule in sums)
        for _, rule in members:
            if isinstance(rule, (KernelRule, ScalingRule)):
                # Only the offset is added to sums. The products are those of the sum itself.
                rule.offset_roundings = max(rule.offset_roundings, products)
                rule.merged_roundings = max(rule.merged_roundings, terms)
            elif isinstance(rule, AffineRule):
                rule.merged_roundings = max(rule.merged_roundings, terms + products)


def _products(rule: Rule) -> int:
    """How many products a layer adds up, if a compiler may start their sum with another tensor."""
    if isinstance(rule, KernelRule):
        return rule.products
    known = isinstance(rule, (ScalingRule, WeightedSumRule))
    if known or not (isinstance(rule, AffineRule) and rule.may_be_merged):
        return 0
    # A rule of the user's: whether its layer computes products is not known.
    with double_precision():
        rule.prepare()
    return rule.roundings
