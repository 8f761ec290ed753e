"""What a checkpoint's certificate costs."""

import time

from training.hardware import hardware
from zoo.hub.records import Cost

# Seconds that the measurement may take, and the fewest and most images.
_SECONDS, _FEWEST, _MOST = 10.0, 8, 256


def cost(model, images) -> Cost:
    """Wall-clock time of the ``"auto"`` certificate, after a first call that prepares its bounds.

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
