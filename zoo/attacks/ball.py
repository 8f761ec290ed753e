"""Projection onto the perturbation ball and the [0, 1] box, exact in floating point."""

import math

import numpy as np

from zoo.epsilon import Epsilon


def project(x_adv, x, eps, norm):
    """The images nearest to ``x_adv`` that are in the ball around ``x`` and in [0, 1].

    The bound holds for the returned float32 pixels themselves, evaluated in float64: an attack
    that leaves the ball by a rounding error proves nothing about a certificate.

    Args:
        x_adv, x: float arrays ``(n, …)``; ``x`` float32 in [0, 1]. A pixel of ``x_adv`` that is not
            finite stays as it is in ``x``.
        eps: budget, see :class:`zoo.epsilon.Epsilon`.
        norm: ``"linf"`` or ``"l2"``.

    Returns:
        float32 array of the shape of ``x``.

    Raises:
        ValueError: for another norm.
    """
    if norm not in ("linf", "l2"):
        raise ValueError(f"norm must be 'linf' or 'l2', got {norm!r}")
    budget = Epsilon(eps).below
    origin = np.asarray(x, np.float32).astype(np.float64)
    x_adv = np.asarray(x_adv, np.float64)
    change = np.clip(np.where(np.isfinite(x_adv), x_adv, origin), 0.0, 1.0) - origin
    if norm == "linf":
        change = np.clip(change, -budget, budget)
    else:
        lengths = length(change)
        change *= np.where(lengths > budget, budget / np.maximum(lengths, 1e-300), 1.0)
    projected = np.clip(origin + change, 0.0, 1.0).astype(np.float32)
    # Rounding to float32 may leave the ball again; step back towards the origin until it does not.
    while True:
        change = projected.astype(np.float64) - origin
        outside = np.abs(change) > budget if norm == "linf" else length(change) > budget
        if not outside.any():
            return projected
        inwards = np.nextafter(projected, origin.astype(np.float32))
        if norm == "l2":
            inwards = np.where(outside, inwards, projected)
            shrunk = (origin + change * (1.0 - 1e-6)).astype(np.float32)
            inwards = np.where(np.abs(shrunk - origin) < np.abs(inwards - origin), shrunk, inwards)
        projected = np.where(outside, inwards, projected)


def random_start(x, eps, norm, random):
    """Images drawn uniformly from the ball around ``x``, cut off at [0, 1].

    Args:
        x: float array ``(n, …)`` in [0, 1].
        eps, norm: of the ball.
        random: :class:`numpy.random.Generator`.
    """
    return project(x + _random_change(x.shape, Epsilon(eps).below, norm, random), x, eps, norm)


def _random_change(shape, budget, norm, random):
    """Points drawn uniformly from the ball around 0: float64 array of this shape, ``(n, …)``."""
    if norm == "linf":
        return random.uniform(-budget, budget, shape)
    change = random.normal(size=shape)
    reach = random.uniform(size=(shape[0],) + (1,) * (len(shape) - 1))
    reach = reach ** (1.0 / math.prod(shape[1:]))
    return change * (budget * reach / length(change))


def direction(gradient, norm):
    """The steepest direction of unit size: signs for ``"linf"``, unit length for ``"l2"``.

    Args:
        gradient: float array ``(n, …)``.
        norm: ``"linf"`` or ``"l2"``.

    Returns:
        float array of the same shape; 0 where a gradient is 0.
    """
    return np.sign(gradient) if norm == "linf" else gradient / np.maximum(length(gradient), 1e-12)


def size(change, norm):
    """How large changes of images are: float64 array ``(n,)``.

    Args:
        change: array ``(n, …)``.
        norm: ``"linf"`` or ``"l2"``.
    """
    change = np.asarray(change, np.float64)
    rows = change.reshape(len(change), math.prod(change.shape[1:]))
    return np.abs(rows).max(axis=1) if norm == "linf" else np.sqrt(np.square(rows).sum(axis=1))


def length(change):
    """L2 norms of changes ``(n, …)``, in as many dimensions: ``(n, 1, …)``."""
    axes = tuple(range(1, change.ndim))
    return np.sqrt(np.sum(np.square(change), axis=axes, keepdims=True))
