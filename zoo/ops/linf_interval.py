"""The ℓ∞ distance to kernel rows, over a box of inputs."""

import functools
from collections.abc import Callable
from typing import Any, NoReturn

from keras import ops

from zoo.ops.gradients import traced_once
from zoo.ops.host_call import host_call
from zoo.ops.lp_distance import Implementation, chosen_implementation, lp_distance
from zoo.typing import Tensor


def linf_interval(
    lower: Tensor, upper: Tensor, w: Tensor, *, implementation: Implementation = "auto"
) -> tuple[Tensor, Tensor]:
    """Smallest and largest ``‖z − w[o]‖_∞`` over the box ``lower ≤ z ≤ upper``.

    Both are attained: coordinates are independent, so the smallest is
    ``max_i max(lower_i − w_i, w_i − upper_i, 0)`` and the largest
    ``max_i max(|lower_i − w_i|, |upper_i − w_i|)``.

    Args:
        lower, upper: tensors of shape ``(batch, inputs)``, float32, ``lower ≤ upper``.
        w: tensor of shape ``(units, inputs)``, float32.
        implementation: as in :func:`zoo.ops.lp_distance`.

    Returns:
        ``(low, high)``, tensors of shape ``(batch, units)``. Only the portable implementation has a
        gradient.

    Raises:
        ValueError: if the shapes do not fit, or the implementation is unknown or does not work on
            this backend.

    Examples:
        >>> import numpy as np
        >>> from zoo.ops import linf_interval
        >>> box = np.array([[-1.0]], "float32"), np.array([[2.0]], "float32")
        >>> [float(end[0, 0]) for end in linf_interval(*box, np.array([[4.0]], "float32"))]
        [2.0, 5.0]

    Reference:
        Interval bounds of the ℓ∞-distance neuron; Zhang et al., ICML 2021.
    """
    lower, upper, w = (ops.convert_to_tensor(a, "float32") for a in (lower, upper, w))
    shapes = [tuple(a.shape) for a in (lower, upper, w)]
    if {len(shape) for shape in shapes} != {2} or len({inputs for _, inputs in shapes}) != 1:
        _refuse(shapes)
    if None not in (shapes[0][0], shapes[1][0]) and shapes[0][0] != shapes[1][0]:
        _refuse(shapes)
    # Reshaping makes a tensor of a variable, for which the portable form would be traced again.
    lower, upper, w = (ops.reshape(a, (-1, a.shape[1])) for a in (lower, upper, w))
    implementation = chosen_implementation(implementation)
    if implementation == "numba":
        from zoo.ops import lp_distance_numba as kernels

        shape = (lower.shape[0], w.shape[0])
        low, high = host_call(kernels.interval, [lower, upper, w], [(shape, "float32")] * 2)
        return low, high
    if implementation == "pallas":
        from zoo.ops import lp_distance_pallas as kernels

        return kernels.interval(lower, upper, w)
    return tuple(_portable()(lower, upper, w))


@functools.cache
def _portable() -> Callable[..., Any]:
    return traced_once(_portable_interval, on_jax=True)


def _portable_interval(lower: Tensor, upper: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    far = [lp_distance(z, w, float("inf"), implementation="portable") for z in (lower, upper)]
    # The one-sided differences max_i (a_i - w_i), or 0 if all are negative.
    near = [_largest_difference(lower, w), _largest_difference(-upper, -w)]
    return ops.maximum(*near), ops.maximum(*far)


def _largest_difference(a: Tensor, w: Tensor) -> Tensor:
    def unit(row: Tensor) -> Tensor:
        return ops.max(a - row, axis=-1, initial=0.0)

    return ops.transpose(ops.map(unit, w))


def _refuse(shapes: list[Any]) -> NoReturn:
    raise ValueError(
        "linf_interval expects lower and upper of one shape (batch, inputs) and w of shape (units, "
        "inputs), got {}, {} and {}".format(*shapes)
    )
