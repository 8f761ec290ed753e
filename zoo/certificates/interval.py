"""Radius by bisection over a yes/no certificate."""

import math

import numpy as np

from zoo.certificates.certificate import round_down


def largest_certified(is_certified, start, *, upper=1.0, tolerance=1e-5):
    """Largest budget, per image, that a certificate proves.

    Every returned budget was itself proved, or is the given start: stopping early or a certificate
    that is not monotone makes the result smaller, never wrong.

    Args:
        is_certified: function of a float32 array ``(n,)`` of budgets to a bool array ``(n,)``.
        start: float array ``(n,)`` of budgets known to be certified.
        upper: budget beyond which there is nothing to prove; 1 is the whole [0, 1] box in ℓ∞.
        tolerance: width of the last bracket; no finer than float32.

    Returns:
        float32 array ``(n,)``.

    Example:

    >>> import numpy as np
    >>> from zoo.certificates import largest_certified
    >>> round(float(largest_certified(lambda e: e <= 0.3, np.zeros(1))[0]), 4)
    0.3
    """
    low = round_down(start)
    high = np.maximum(low, np.float32(upper))
    # As many halvings for every image: its radius must not depend on its neighbours.
    for _ in range(min(24, math.ceil(math.log2(max(1.0, upper / tolerance))))):
        middle = (low + high) / np.float32(2)
        proved = np.asarray(is_certified(middle), bool)
        low, high = np.where(proved, middle, low), np.where(proved, high, middle)
    return low
