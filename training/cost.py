"""Measure the time that a checkpoint's certificate takes."""

import time

from training.hardware import hardware
from zoo.hub.records import Cost

# How many seconds a measurement should take, and the smallest and largest number of images.
_SECONDS, _FEWEST, _MOST = 10.0, 8, 256


def cost(model, images) -> Cost:
    """Measure the wall-clock time of the ``"auto"`` certificate.

    The first image is timed by itself: functions are compiled for it, and the weights are analysed.

    Args:
        model: a :class:`zoo.models.CertifiedModel` that was just loaded and has certified nothing.
        images: test images.

    Returns:
        :class:`zoo.hub.records.Cost`.
    """

    def seconds(count):
        start = time.perf_counter()
        certificate = model.certify(images[:count])
        return time.perf_counter() - start, certificate.method

    alone, method = seconds(1)
    fewest = min(_FEWEST, len(images))
    seconds(fewest)  # a batch of another size may be compiled anew
    few, _ = seconds(fewest)
    count = min(_MOST, len(images), max(fewest, int(_SECONDS / (few / fewest))))
    seconds(count)
    many, _ = seconds(count)
    return Cost(
        method=method,
        milliseconds=round(1000 * many / count, 3),
        n=count,
        hardware=hardware(),
        first_seconds=round(alone, 2),
    )
