"""Radius of a Lipschitz classifier: half its margin."""

import numpy as np


def lipschitz_radius(logits, lipschitz=1.0, error=0.0):
    """Radius within which no logit overtakes the largest, for logits Lipschitz one by one.

    Each logit moves by at most ``lipschitz · r``, so two of them need ``r = gap / (2 · lipschitz)``
    to meet. The gap is taken after both logits, here and at the perturbed image, have been wrong by
    ``error`` in the unfavourable direction.

    Args:
        logits: array ``(n, classes)``.
        lipschitz: upper bound of the Lipschitz constant of every logit, in the norm of the radius.
        error: upper bound of ``|computed − exact|`` of any logit, anywhere in the [0, 1] box.

    Returns:
        float64 array ``(n,)``; 0 where the margin is smaller than the error, or not finite.

    Example:

    >>> import numpy as np
    >>> from zoo.certificates import lipschitz_radius
    >>> lipschitz_radius(np.array([[1.0, 0.5, 0.0]])).tolist()
    [0.25]

    Reference:
        Zhang et al., ICML 2021, section 3; Tsuzuku, Sato, Sugiyama, NeurIPS 2018, proposition 1.
    """
    gap = margin(logits) - 4.0 * error
    radius = gap / (2.0 * lipschitz)
    return np.where(np.isfinite(radius) & (radius > 0), radius, 0.0)


def margin(logits):
    """Largest minus second largest of at least two logits: float64 array ``(n,)``."""
    top = np.partition(np.asarray(logits, np.float64), -2, axis=1)
    with np.errstate(invalid="ignore"):  # inf - inf is NaN, which certifies nothing
        return top[:, -1] - top[:, -2]
