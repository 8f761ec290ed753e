"""Bounds of the derivatives of activations within a ball: tighter ones than for all inputs."""

from collections.abc import Sequence

import numpy as np

from zoo.bounds.curvature import Ranges
from zoo.bounds.smooth_network import SmoothNetwork
from zoo.typing import Array
from zoo.utils.float64 import SLACK


def within(
    network: SmoothNetwork, center: Array, ball: float, norms: Sequence[float]
) -> list[Ranges]:
    """Bounds of the activations' derivatives, for all inputs within an L2 ball.

    Args:
        network: :class:`zoo.bounds.smooth_network.SmoothNetwork`, prepared.
        center: float64 array ``(inputs,)``.
        ball: the radius of the ball.
        norms: upper bounds of the L2 norms of the network's affine maps.

    Returns:
        For each activation ``((σ' low, σ' high), (σ'' low, σ'' high))``, arrays.
    """
    ranges, a, spread = [], center, ball
    for index, activation in enumerate(network.activations):
        kernel = network.kernels[index]
        z = a @ kernel + network.biases[index]
        reach = spread * np.linalg.norm(kernel, axis=0)
        # This covers float64's rounding, which is far smaller.
        reach = reach + SLACK * (1.0 + np.abs(a) @ np.abs(kernel) + reach)
        ranges.append(activation.ranges(z - reach, z + reach))
        if index + 1 < len(network.activations):
            spread = spread * norms[index] * ranges[-1][0][1].max()
            a = activation.exact(z)
    return ranges
