"""Measure the time that a checkpoint's certificate takes."""

import time

from training.hardware import hardware
from zoo.hub.records import Cost

# How many seconds a measurement should take, and the smallest and largest number of images.
_SECONDS, _FEWEST, _MOST = 10.0, 8, 256


def cost(model, images) -> Cost:
    """Measure the wall-clock time of the ``"auto"`` certificate.

    A first call, which compiles functions and prepares the bounds of the weights, is not counted.

    Args:
        model: a :class:`zoo.models.CertifiedModel`.
        images: test images.

    Returns:
        :class:`zoo.hub.records.Cost`.
    """

    def seconds(count):
        start = time.perf_counter()
        certificate = model.certify(images[:count])
        return time.perf_counter() - start, certificate.method

    fewest = min(_FEWEST, len(images))
    seconds(fewest)
    first, method = seconds(fewest)
    count = min(_MOST, len(images), max(fewest, int(_SECONDS / (first / fewest))))
    seconds(count)
    last, _ = seconds(count)
    return Cost(
        method=method,
        milliseconds=round(1000 * last / count, 3),
        n=count,
        hardware=hardware(),
    )
