"""The L2 Lipschitz constant of a layer, and the error that float32 makes in the layer."""

import dataclasses
import math

from zoo.ops.float32 import flushing


@dataclasses.dataclass(frozen=True)
class LipschitzBound:
    """How much a layer may enlarge the L2 distance of two inputs, and the error that float32 adds.

    Attributes:
        lipschitz: upper bound of the Lipschitz constant. If there are several inputs, it is
            relative to the combined distance that the rule's ``merged`` computes.
        per_size, offset: the L2 norm of the error that float32 adds is at most
            ``per_size · ‖inputs‖ + offset``.
        sum_per_size, sum_offset: the L2 norm of the layer's sums before a folded batch
            normalisation is at most ``sum_per_size · ‖inputs‖ + sum_offset``. The normalisation may
            make the sums smaller, so its output does not tell whether they overflow.
        largest_input: the bounds hold for inputs of a smaller norm only.
    """

    lipschitz: float
    per_size: float = 0.0
    offset: float = 0.0
    sum_per_size: float = 0.0
    sum_offset: float = 0.0
    largest_input: float = math.inf


#: The bound of a layer with weights or results that float32 cannot hold.
UNKNOWN = LipschitzBound(math.inf, math.inf, math.inf)


def with_flushing(
    lipschitz: float,
    per_size: float,
    offset: float,
    *,
    terms: float,
    entries: int,
    weight: float = 1.0,
) -> LipschitzBound:
    """A :class:`LipschitzBound` that counts the error of flushing subnormal numbers to zero.

    Args:
        lipschitz, per_size, offset: the bound without that error.
        terms, entries, weight: as for :func:`zoo.ops.float32.flushing`.
    """
    lost_per_size, lost = flushing(terms, entries, weight)
    return LipschitzBound(lipschitz, per_size + lost_per_size, offset + lost)
