"""The L2 Lipschitz constant of a layer, and the error that float32 makes in the layer."""

import dataclasses
import math

from zoo.ops.float32 import flushing


@dataclasses.dataclass(frozen=True)
class LipschitzBound:
    """What a layer does to the distance of two inputs, and to the error of one, in L2.

    Attributes:
        lipschitz: upper bound of the Lipschitz constant with respect to all inputs together, as
            the rule's ``merged`` puts them together.
        per_size, offset: float32 adds an error of at most ``per_size · ‖inputs‖ + offset``.
        sum_per_size, sum_offset: the sums before a folded batch normalisation, which may make them
            smaller, are at most ``sum_per_size · ‖inputs‖ + sum_offset``.
    """

    lipschitz: float
    per_size: float = 0.0
    offset: float = 0.0
    sum_per_size: float = 0.0
    sum_offset: float = 0.0


#: The bound of a layer that float32 cannot compute.
UNKNOWN = LipschitzBound(math.inf, math.inf, math.inf)


def with_flushing(lipschitz, per_size, offset, *, terms, entries, weight=1.0):
    """A :class:`LipschitzBound` that counts what is lost of numbers too small for float32.

    Args:
        lipschitz, per_size, offset: without that loss.
        terms, entries, weight: as for :func:`zoo.ops.float32.flushing`.
    """
    lost_per_size, lost = flushing(terms, entries, weight)
    return LipschitzBound(lipschitz, per_size + lost_per_size, offset + lost)
