"""Second-order certificates from curvature bounds within a ball, tighter than global bounds."""

import numpy as np

from zoo.bounds.curvature import eigenvalue_bounds
from zoo.bounds.local_curvature import within
from zoo.bounds.smooth_network import SmoothNetwork
from zoo.certificates.curvature import Radii, pairs_of, row_radii
from zoo.ops.cores import on_all_cores
from zoo.typing import Array

# The number of balls that are tried for an image. More balls enlarge the mean radius by less than
# 0.1 %. The search ends early if the upper bound of its radius is less than _CLOSE times the
# proved radius.
_BALLS, _CLOSE = 3, 1.01


def enlarged(network: SmoothNetwork, x: Array, classes: Array, found: Radii) -> Radii:
    """Larger L2 radii, from curvature bounds that hold within a ball around each image.

    Such bounds prove a radius of at most the ball's own. Each step takes, for every image, the
    other class with the smallest radius so far, and a ball that is larger than this radius but
    smaller than the known upper bound of it.

    Args:
        network: :class:`zoo.bounds.smooth_network.SmoothNetwork`, prepared.
        x: float array ``(n, inputs)``.
        classes: int array ``(n,)``, as float32 predicts them.
        found: :class:`zoo.certificates.curvature.Radii` from global bounds.

    Returns:
        :class:`Radii` of the same form. No radius is smaller than before, and a radius of 0 stays
        0. Each ball costs two eigenvalues for each hidden layer.

    Reference:
        Singla, Feizi: Second-Order Provable Defenses against Adversarial Attacks, ICML 2020, the
        table of local curvature bounds.
    """
    x = np.asarray(x, np.float64)
    classes = np.asarray(classes)
    radius, nearest = found.radius.copy(), found.nearest.copy()
    others = pairs_of(classes, radius.shape[1] + 1)[1].reshape(radius.shape)
    norms = network.norms()
    # Upper bounds of the radii: no larger ball is tried. The diameter of the image box is √inputs.
    most = np.minimum(nearest, np.sqrt(x.shape[1]))
    for _ in range(_BALLS):
        worst = radius.argmin(axis=1)
        places = np.arange(len(x)), worst
        images = np.flatnonzero((radius[places] > 0) & (most[places] > _CLOSE * radius[places]))
        if not len(images):
            break
        places = images, worst[images]
        ball = np.minimum((radius[places] + most[places]) / 2.0, 1.5 * radius[places])
        own, other = classes[images], others[places]
        heads = (network.kernels[-1][:, own] - network.kernels[-1][:, other]).T

        def bounds_of(center: Array, radius_of_ball: float, head: Array) -> tuple[float, float]:
            ranges = within(network, center, radius_of_ball, norms)
            return eigenvalue_bounds(network, head, ranges)

        bounds = on_all_cores(bounds_of, x[images], ball, heads)
        low, high = np.transpose(bounds)
        rows = row_radii(network, x[images], own, other, low, high, ball)
        # If less than the ball's radius was proved, a larger ball, whose bounds are looser, will
        # hardly prove more.
        most[places] = np.where(rows.radius < ball * (1.0 - 1e-6), ball, most[places])
        most[places] = np.minimum(most[places], rows.nearest)
        nearest[places] = np.minimum(nearest[places], rows.nearest)
        radius[places] = np.maximum(radius[places], rows.radius)
    return Radii(radius, nearest)
