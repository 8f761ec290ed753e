"""What is said of a model whose logits are no numbers."""

import warnings

import numpy as np

from zoo.typing import Array


def classes_of(logits: Array) -> Array:
    """The classes that logits decide for.

    Args:
        logits: array ``(n, classes)``.

    Returns:
        int64 array ``(n,)``: the class of the largest logit, the first one of equals; -1 where a
        logit is NaN or several are plus infinity, because such logits decide for none.

    Examples:
        >>> import numpy as np
        >>> from zoo.certificates.nan_logits import classes_of
        >>> classes_of(np.array([[1.0, 2.0], [0.0, np.nan], [np.inf, np.inf]]))
        array([ 1, -1, -1])
    """
    undecided = np.isnan(logits).any(axis=1) | (np.isposinf(logits).sum(axis=1) > 1)
    return np.where(undecided, -1, np.argmax(logits, axis=1))


def warn_of_nan(lost: Array) -> None:
    """Warn if a model predicts nothing for some images, although NumPy reads class 0 from NaN.

    Args:
        lost: bool array ``(n,)``, whether a logit of the image is NaN.
    """
    if lost.any():
        warnings.warn(
            f"the model's logits are NaN for {lost.sum()} of {len(lost)} images, which have radius "
            "0, and whose predictions and accuracies mean nothing; the weights may be NaN or huge, "
            "as after a training that diverged",
            UserWarning,
            stacklevel=3,
        )
