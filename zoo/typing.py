"""Types that the annotations of this package share."""

import os
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from zoo.epsilon import Epsilon

#: A NumPy array; docstrings say of which shape and dtype.
Array: TypeAlias = np.ndarray
#: A number, or an array of one for each image.
Numbers: TypeAlias = float | np.floating[Any] | np.ndarray
#: What NumPy turns into an array.
ArrayLike: TypeAlias = npt.ArrayLike
#: A tensor of the backend, or what Keras takes for one. Keras itself annotates none of them.
Tensor: TypeAlias = Any
#: A perturbation budget: ``0.1``, ``"8/255"``, or exact already.
Budget: TypeAlias = Epsilon | float | str | Fraction
#: The name of a file or folder.
Path: TypeAlias = str | os.PathLike[str]
#: Height, width and channels of an image.
ImageShape: TypeAlias = tuple[int, int, int]
