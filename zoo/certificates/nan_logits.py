"""What is said of a model whose logits are no numbers."""

import warnings

from zoo.typing import Array


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
