"""The interval in which the accuracy on all images lies, given the accuracy on some of them."""

import math

# The standard normal distribution has 95 % of its mass within this many standard deviations.
_Z = 1.959963984540054


def wilson(accuracy: float, n: int) -> tuple[float, float]:
    """Wilson's score interval of 95 % for an accuracy.

    The images are taken for a random sample. The interval says how far the accuracy on other images
    of the same kind may be from the measured one; it says nothing about the seed of the training.

    Args:
        accuracy: fraction of the images, between 0 and 1.
        n: number of images, at least 1.

    Returns:
        ``(low, high)``, between 0 and 1.

    Reference:
        Wilson: Probable Inference, the Law of Succession, and Statistical Inference, JASA 1927.

    Examples:
        >>> from zoo.utils.wilson import wilson
        >>> [round(end, 4) for end in wilson(0.9, 1000)]
        [0.8798, 0.9171]
    """
    if n < 1 or not 0 <= accuracy <= 1:
        raise ValueError(f"an accuracy in [0, 1] of at least 1 image is needed: {accuracy}, {n}")
    share = _Z**2 / n
    centre = (accuracy + share / 2) / (1 + share)
    width = _Z * math.sqrt(accuracy * (1 - accuracy) / n + share / (4 * n)) / (1 + share)
    # At 0 and 1 the ends are 0 and 1 but for rounding.
    return max(0.0, min(accuracy, centre - width)), min(1.0, max(accuracy, centre + width))
