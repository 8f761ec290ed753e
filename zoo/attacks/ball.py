"""Projection onto the perturbation ball and the [0, 1] box, which holds exactly in float32."""

import math

import numpy as np

from zoo.epsilon import Epsilon
from zoo.typing import Array, ArrayLike, Budget, NormLike
from zoo.utils.norms import norm_of


def project(x_adv: ArrayLike, x: ArrayLike, eps: Budget, norm: NormLike) -> Array:
    """Project images onto the ball around ``x`` and onto [0, 1].

    The returned float32 pixels themselves lie in the ball, which is checked in float64: an image
    that leaves the ball by a rounding error could not disprove a certificate.

    Args:
        x_adv: float array ``(n, …)``, the images to project. A pixel that is not finite is replaced
            by that of ``x``.
        x: float32 array of the same shape in [0, 1], the centres of the balls.
        eps: radius of the ball, see :class:`zoo.epsilon.Epsilon`.
        norm: ``"linf"`` or ``"l2"``.

    Returns:
        float32 array of the shape of ``x``.

    Raises:
        ValueError: for any other norm, or if the shapes differ.

    Examples:
        >>> import numpy as np, zoo
        >>> x, x_adv = np.array([[0.5, 0.5]]), np.array([[2.0, 0.375]])
        >>> zoo.attacks.project(x_adv, x, 0.25, "linf").tolist()
        [[0.75, 0.375]]
    """
    norm = norm_of(norm)
    budget = Epsilon(eps).below
    origin = np.asarray(x, np.float32).astype(np.float64)
    x_adv = np.asarray(x_adv, np.float64)
    if x_adv.shape != origin.shape:
        raise ValueError(f"x_adv and x must have one shape, got {x_adv.shape} and {origin.shape}")
    change = np.clip(np.where(np.isfinite(x_adv), x_adv, origin), 0.0, 1.0) - origin
    if norm == "linf":
        change = np.clip(change, -budget, budget)
    else:
        lengths = length(change)
        change *= np.where(lengths > budget, budget / np.maximum(lengths, 1e-300), 1.0)
    projected = np.clip(origin + change, 0.0, 1.0).astype(np.float32)
    # Rounding to float32 may leave the ball again. Pixels that do are moved towards the original
    # ones, by at least one float32 number each time, until all images lie in the ball.
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
    """Draw images uniformly from the ball around ``x``, and clip them to [0, 1].

    Args:
        x: float array ``(n, …)`` in [0, 1].
        eps, norm: radius and norm of the ball.
        random: :class:`numpy.random.Generator`.
    """
    return project(x + _random_change(x.shape, Epsilon(eps).below, norm, random), x, eps, norm)


def _random_change(shape, budget, norm, random):
    """Draw points uniformly from the ball around 0: a float64 array of this shape, ``(n, …)``."""
    if norm_of(norm) == "linf":
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
    if norm_of(norm) == "linf":
        return np.sign(gradient)
    # The gradient of the cross-entropy is tiny at an image of which a network is sure.
    largest = np.abs(gradient).max(axis=tuple(range(1, gradient.ndim)), keepdims=True)
    gradient = gradient / np.where(largest > 0, largest, 1.0)
    return gradient / np.maximum(length(gradient), 1e-12)


def size(change, norm):
    """How large changes of images are: float64 array ``(n,)``.

    Args:
        change: array ``(n, …)``.
        norm: ``"linf"`` or ``"l2"``.
    """
    change = np.asarray(change, np.float64)
    rows = change.reshape(len(change), math.prod(change.shape[1:]))
    if norm_of(norm) == "linf":
        return np.abs(rows).max(axis=1)
    return np.sqrt(np.square(rows).sum(axis=1))


def length(change):
    """L2 norms of changes ``(n, …)``, in as many dimensions: ``(n, 1, …)``."""
    axes = tuple(range(1, change.ndim))
    return np.sqrt(np.sum(np.square(change), axis=axes, keepdims=True))
