"""The exponent of ℓp-distance layers while training."""

import math
from typing import Any

import keras

from zoo.ops.lp_distance import FAST_EXPONENTS
from zoo.utils import checks


class PSchedule(keras.callbacks.Callback):
    """Raises the exponent of the ℓp distances of an ℓ∞-distance network during training, to ∞.

    The model must be a :class:`zoo.models.LinfDistNet` or a :class:`zoo.models.LinfDistMLP`.

    ℓ∞ itself has sparse gradients: an image would train only one entry of each weight vector. A
    finite exponent trains them all, and the larger it is, the closer is the network to the one that
    is certified. ``p`` grows exponentially from ``first`` to ``last`` and is infinite for the last
    part of the training. It is rounded to the nearest exponent for which the kernel is fast. A
    ``fit`` with an ``initial_epoch``, or one that ``keras.callbacks.BackupAndRestore`` resumes,
    goes on with the exponent of that epoch.

    ``fit`` of an ℓ∞-distance network adds this callback by itself, unless another schedule is among
    its callbacks or a finite ``model.p`` was assigned. The first training of a network starts with
    ``first=8``, as published; a network that has been trained before starts with the default.

    Args:
        first, last: exponents at the beginning and at the end of the growth, ``8 ≤ first ≤ last``.
        end: fraction of the training after which ``p`` is infinite, above 0 and at most 1.

    Raises:
        ValueError: naming the argument that is out of range.

    Examples:
        >>> import zoo
        >>> train = zoo.data.load("digits", "train").take(100)
        >>> model = zoo.load("linf-dist-digits")
        >>> model.compile()
        >>> schedule = zoo.callbacks.PSchedule(first=24)
        >>> _ = model.fit(train.images, train.labels, callbacks=[schedule], verbose=0)
        >>> model.p
        inf

    Reference:
        Zhang et al., ICML 2021, section 4.2 (smoothed approximated gradients).
    """

    def __init__(self, first: float = 64.0, last: float = 1000.0, *, end: float = 0.9) -> None:
        super().__init__()
        if not FAST_EXPONENTS[0] <= first <= last < math.inf:
            raise ValueError(
                f"p must grow from at least {FAST_EXPONENTS[0]:g} to a finite number, got "
                f"first={first}, last={last}"
            )
        self.first, self.last, self.end = first, last, checks.share(end, "end")
        self._epoch = 0

    def exponent(self, done: float) -> float:
        """The exponent when a fraction of the growth is done: one of ``FAST_EXPONENTS``, or ∞."""
        if done >= 1:
            return math.inf
        exact = self.first * (self.last / self.first) ** max(0.0, done)
        return min(FAST_EXPONENTS, key=lambda p: abs(math.log(p / exact)))

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch = epoch

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        # A generator does not say how many batches an epoch has. Then p changes once an epoch.
        steps = self.params.get("steps")
        within = batch / steps if steps else 0.0
        done = (self._epoch + within) / self.params["epochs"]
        self.model.schedule_p(self.exponent(done / self.end))

    def on_train_end(self, logs: Any = None) -> None:
        self.model.schedule_p(math.inf)
