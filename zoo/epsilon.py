"""Exact perturbation budgets, and their roundings to float32."""

import math
from fractions import Fraction
from typing import Any

import numpy as np


class Epsilon:
    """An exact perturbation budget, and the float32 numbers on either side of it.

    No float32 number equals ``"8/255"``. An attack may use at most the largest float32 number
    that is not above the budget (``below``), and a certified radius is compared with the smallest
    one that is not below it (``above``), so rounding never favours the defence. A Python float
    stands for the decimal number that it is printed as: ``0.3`` means 3/10.

    Args:
        value: a non-negative number (a NumPy array without dimensions is one, too), a string such
            as ``"8/255"`` or ``"0.3"``, or an :class:`Epsilon`.

    Raises:
        ValueError: if the value is not a number between 0 and 1e30.

    Examples:
        >>> from zoo.epsilon import Epsilon
        >>> eps = Epsilon("8/255")
        >>> eps.below <= 8 / 255 <= eps.above, str(eps)
        (True, '8/255')
    """

    def __init__(self, value: Any) -> None:
        if isinstance(value, Epsilon):
            self.text: str = value.text
            self.exact: Fraction = value.exact
            return
        if isinstance(value, np.ndarray) and value.ndim == 0:
            value = value[()]
        if isinstance(value, bool) or not isinstance(value, (int, float, str, Fraction, np.number)):
            raise ValueError(f"eps must be a number or a string like '8/255', got {value!r}")
        self.text = str(value).strip()
        try:
            self.exact = Fraction(self.text)
        except (ValueError, ZeroDivisionError):
            raise ValueError(
                f"eps must be a finite number or a string like '8/255', got {value!r}"
            ) from None
        if self.exact > 1e30:
            raise ValueError(f"eps must be a finite number of sensible size, got {value!r}")
        if self.exact < 0:
            raise ValueError(f"eps must not be negative, got {value!r}")

    @property
    def above(self) -> float:
        """The smallest float32 (as a Python float) that is at least the budget."""
        return _float32(self.exact, math.inf)

    @property
    def below(self) -> float:
        """The largest float32 (as a Python float) that is at most the budget."""
        return _float32(self.exact, -math.inf)

    def __float__(self) -> float:
        return float(self.exact)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Epsilon({self.text!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Epsilon) and self.exact == other.exact

    def __hash__(self) -> int:
        return hash(self.exact)


def _float32(exact: Fraction, direction: float) -> float:
    nearest = np.float32(float(exact))
    wrong = Fraction(float(nearest)) < exact if direction > 0 else Fraction(float(nearest)) > exact
    return float(np.nextafter(nearest, np.float32(direction)) if wrong else nearest)
