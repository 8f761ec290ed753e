"""Type aliases for the annotations of this package."""

import os
from fractions import Fraction
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from zoo.epsilon import Epsilon

#: A NumPy array; the docstrings give its shape and dtype.
Array: TypeAlias = np.ndarray
#: One number, or an array with a number for each image.
Numbers: TypeAlias = float | np.floating[Any] | np.ndarray
#: Anything that ``numpy.asarray`` converts to an array.
ArrayLike: TypeAlias = npt.ArrayLike
#: A tensor of the backend, or anything that Keras accepts as one. Keras has no type for it.
Tensor: TypeAlias = Any
#: A perturbation budget, such as ``0.1``, ``"8/255"`` or an exact fraction.
Budget: TypeAlias = Epsilon | float | str | Fraction
#: The name of a file or folder.
Path: TypeAlias = str | os.PathLike[str]
#: ``(height, width, channels)`` of an image.
ImageShape: TypeAlias = tuple[int, int, int]
#: The lengths of the axes of an array; in most places without the axis of the batch.
Shape: TypeAlias = tuple[int, ...]
#: The shape of a tensor of Keras, with the batch; a length that is not known is None.
BatchShape: TypeAlias = tuple[Any, ...]
#: A number, or a scalar variable that training or a schedule changes.
Scalar: TypeAlias = Any
#: How a convolution or a pooling treats the border of an image.
Padding: TypeAlias = Literal["valid", "same"]
#: ``(lower, upper)``: bounds of every entry of a tensor.
Box: TypeAlias = tuple[Tensor, Tensor]
#: ``(slope, offset)`` of a line below or above an activation, for every entry of a tensor.
Line: TypeAlias = tuple[Tensor, Tensor]
#: The norm that measures a perturbation.
Norm: TypeAlias = Literal["linf", "l2"]
#: What :func:`zoo.utils.norms.norm_of` takes for a norm, such as ``"Linf"`` or ``np.inf``.
NormLike: TypeAlias = str | float
