"""Numbers of rows that recur, for a backend that compiles for each shape."""

import numpy as np

from zoo.typing import Array
from zoo.utils.backend import backend_name


def padded_places(places: Array) -> Array:
    """Places of rows; on JAX the first one is repeated until their number is a power of two.

    JAX compiles each operation for each shape that it meets, which takes far longer than the
    additional rows.

    Args:
        places: int array ``(n,)``.

    Returns:
        int array that begins with ``places``.

    Examples:
        >>> import numpy as np
        >>> from zoo.utils.padding import padded_places
        >>> padded_places(np.array([3, 5, 8]))[:3]
        array([3, 5, 8])
    """
    if backend_name() != "jax" or not len(places):
        return places
    count = 1 << (len(places) - 1).bit_length()
    return np.concatenate([places, np.repeat(places[:1], count - len(places))])
