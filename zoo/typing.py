"""Type aliases for the annotations of this package."""

import os
from fractions import Fraction
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from zoo.epsilon import Epsilon

Array: TypeAlias = np.ndarray
"""A NumPy array; the docstrings give its shape and dtype."""
Numbers: TypeAlias = float | np.floating[Any] | np.ndarray
"""One number, or an array with a number for each image."""
ArrayLike: TypeAlias = npt.ArrayLike
"""Anything that ``numpy.asarray`` converts to an array."""
Tensor: TypeAlias = Any
"""A tensor of the backend, or anything that Keras accepts as one. Keras has no type for it."""
Budget: TypeAlias = Epsilon | float | str | Fraction
"""A perturbation budget, such as ``0.1``, ``"8/255"`` or an exact fraction."""
Path: TypeAlias = str | os.PathLike[str]
"""The name of a file or folder."""
ImageShape: TypeAlias = tuple[int, int, int]
"""``(height, width, channels)`` of an image."""
Shape: TypeAlias = tuple[int, ...]
"""The lengths of the axes of an array; in most places without the axis of the batch."""
BatchShape: TypeAlias = tuple[Any, ...]
"""The shape of a tensor of Keras, with the batch; a length that is not known is None."""
Scalar: TypeAlias = Any
"""A number, or a scalar variable that training or a schedule changes."""
Padding: TypeAlias = Literal["valid", "same"]
"""How a convolution or a pooling treats the border of an image."""
Box: TypeAlias = tuple[Tensor, Tensor]
"""``(lower, upper)``: bounds of every entry of a tensor."""
Line: TypeAlias = tuple[Tensor, Tensor]
"""``(slope, offset)`` of a line below or above an activation, for every entry of a tensor."""
Norm: TypeAlias = Literal["linf", "l2"]
"""The norm that measures a perturbation."""
NormLike: TypeAlias = str | float
"""What :func:`zoo.utils.norms.norm_of` takes for a norm, such as ``"Linf"`` or ``np.inf``."""
