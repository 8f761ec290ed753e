"""Auto-PGD on the difference of logits ratio."""

import dataclasses

from zoo.attacks.few_classes import has_dlr, notes_on_dlr
from zoo.attacks.methods.apgd_ce import APGDCE
from zoo.attacks.objectives import dlr, margin, targeted_dlr, towards_by_margin
from zoo.attacks.registry import register_attack


@register_attack("apgd-dlr")
@dataclasses.dataclass(frozen=True)
class APGDDLR(APGDCE):
    """Auto-PGD on the difference of logits ratio, a loss that scaling the logits does not change.

    With fewer than four classes the margin takes the place of this loss. The first start is the
    image itself, the further ones are random.

    Reference:
        As for ``apgd-ce``.
    """

    def notes(self, model):
        return notes_on_dlr(self, model)

    def _objective(self, model, *, targeted):
        if has_dlr(model):
            return targeted_dlr if targeted else dlr
        return towards_by_margin if targeted else margin
