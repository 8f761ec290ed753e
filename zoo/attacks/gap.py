"""How far logits are from a misclassification."""

import numpy as np


def gap_of(logits, y, target=None):
    """As :meth:`zoo.attacks.victim.Victim.gap`, of logits.

    Args:
        logits: array ``(n, classes)``.
        y: int64 array ``(n,)`` of labels.
        target: int64 array ``(n,)`` of the classes that are aimed at, or None.

    Returns:
        float64 array ``(n,)``. Logits that are NaN or have two plus infinities decide for no
        class, so they count neither as the label nor as the target.
    """
    logits, rows = np.array(logits, np.float64), np.arange(len(logits))
    wanted = y if target is None else target
    own = logits[rows, wanted].copy()
    logits[rows, wanted] = -np.inf
    with np.errstate(invalid="ignore"):
        lead = own - logits.max(axis=1)
    lead[np.isnan(lead)] = -np.inf
    return lead if target is None else -lead
