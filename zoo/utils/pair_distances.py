"""How far the columns of a kernel are apart, bounded from above."""

import numpy as np

from zoo.typing import Array, ArrayLike
from zoo.utils.float64 import SLACK


def pair_distances(kernel: ArrayLike) -> Array:
    """Upper bounds of ``‖w_c − w_j‖₂`` for each pair of columns of a kernel.

    Args:
        kernel: array ``(features, classes)``.

    Returns:
        float64 array ``(classes, classes)``, rounded up.

    Examples:
        >>> import numpy as np
        >>> from zoo.utils.pair_distances import pair_distances
        >>> pair_distances(np.array([[3.0, 0.0], [0.0, 4.0]])).round(4).tolist()
        [[0.0, 5.0], [5.0, 0.0]]
    """
    # The slack covers float64's rounding of the norms.
    with np.errstate(invalid="ignore"):
        return row_distances(np.asarray(kernel, np.float64).T) * (1.0 + SLACK)


def row_distances(rows: Array) -> Array:
    """The L2 distances of rows in float64, which rounds them to nearest.

    They are computed one row at a time, because a difference for each pair takes memory.

    Args:
        rows: float64 array ``(classes, features)``.

    Returns:
        float64 array ``(classes, classes)``.

    Examples:
        >>> from zoo.utils.pair_distances import row_distances
        >>> row_distances(np.array([[3.0, 0.0], [0.0, 4.0]])).tolist()
        [[0.0, 5.0], [5.0, 0.0]]
    """
    return np.stack([np.linalg.norm(rows - own, axis=1) for own in rows])
