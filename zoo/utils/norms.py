"""The names of the norms that measure a perturbation."""

import math
import numbers
from typing import Any

from zoo.typing import Norm

#: The names that certificates, reports and records carry.
NORMS: tuple[Norm, ...] = ("linf", "l2")
#: How texts for readers write them.
SYMBOLS: dict[str, str] = {"linf": "ℓ∞", "l2": "L2"}

# What users write, in lower case. A number is compared as a number, see below.
_SPELLINGS: dict[str, Norm] = {
    "linf": "linf",
    "l_inf": "linf",
    "l-inf": "linf",
    "inf": "linf",
    "ℓ∞": "linf",
    "l∞": "linf",
    "l2": "l2",
    "l_2": "l2",
    "l-2": "l2",
    "2": "l2",
    "ℓ2": "l2",
}


def norm_of(value: Any) -> Norm:
    """The name of a norm, however it is written.

    Args:
        value: ``"linf"`` or ``"l2"`` in any case, also as other libraries write them: ``np.inf``,
            ``2``, ``"inf"``, ``"L_2"``, ``"ℓ∞"``.

    Returns:
        ``"linf"`` or ``"l2"``.

    Raises:
        ValueError: for anything else.

    Examples:
        >>> import numpy as np
        >>> from zoo.utils.norms import norm_of
        >>> norm_of(np.inf), norm_of("L2"), norm_of(2)
        ('linf', 'l2', 'l2')
    """
    found: Norm | None = None
    if isinstance(value, str):
        found = _SPELLINGS.get(value.strip().lower())
    elif isinstance(value, numbers.Real) and not isinstance(value, bool):
        found = "linf" if value == math.inf else "l2" if value == 2 else None
    if found is None:
        raise ValueError(f"norm must be 'linf' or 'l2', got {value!r}")
    return found
