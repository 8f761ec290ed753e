"""The shortest way to a hyperplane within the box of images."""

import numpy as np


def to_hyperplane(x, normal, gain, norm):
    """The smallest changes of images, within [0, 1], that raise linear functions by given amounts.

    Args:
        x: float array ``(n, …)`` in [0, 1].
        normal: float array of the same shape: gradients of the functions.
        gain: float array ``(n,)``: how much each function is to grow; negative to shrink.
        norm: that the change is smallest in, ``"linf"`` or ``"l2"``.

    Returns:
        float64 array of the shape of ``x``. Where no image in [0, 1] reaches the amount, it is the
        change that comes nearest to it.

    Reference:
        Croce, Hein: Minimally Distorted Adversarial Examples with a Fast Adaptive Boundary Attack,
        ICML 2020, section 2.2.
    """
    shape = x.shape
    x, normal = (np.reshape(np.asarray(a, np.float64), (len(x), -1)) for a in (x, normal))
    # Pixels move in the directions that help, each as far as the box has room.
    normal = normal * np.where(gain < 0, -1.0, 1.0)[:, None]
    gain, weight = np.abs(gain), np.abs(normal)
    room = np.where(normal > 0, 1.0 - x, np.where(normal < 0, x, 0.0))
    # At time t a pixel has moved by min(t · speed, room). In L∞ all pixels have speed 1; in L2 the
    # speed of a pixel is its weight. The time is the root of a concave function with these corners.
    speed = np.ones_like(weight) if norm == "linf" else weight
    stops = np.where(room > 0, room / np.maximum(speed, 1e-300), 0.0)
    order = np.argsort(stops, axis=1)
    stops = np.take_along_axis(stops, order, 1)
    stopped = np.cumsum(np.take_along_axis(weight * room, order, 1), axis=1)
    rate = np.take_along_axis(np.where(room > 0, weight * speed, 0.0), order, 1)
    moving = np.maximum(np.sum(rate, axis=1, keepdims=True) - np.cumsum(rate, axis=1), 0.0)
    reached = stopped + stops * moving
    # The last corner before the amount is reached, and what is left to be gained from there.
    index = np.sum(reached < gain[:, None], axis=1)
    rows = np.arange(len(x))
    before = np.maximum(index - 1, 0)
    time0 = np.where(index > 0, stops[rows, before], 0.0)
    gained = np.where(index > 0, reached[rows, before], 0.0)
    slope = np.where(index > 0, moving[rows, before], np.sum(rate, axis=1))
    time = time0 + np.where(slope > 0, (gain - gained) / np.maximum(slope, 1e-300), 0.0)
    time = np.where(index == x.shape[1], stops[:, -1], time)
    change = np.sign(normal) * np.minimum(time[:, None] * speed, room)
    return change.reshape(shape)
