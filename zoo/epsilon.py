"""Perturbation budgets without rounding surprises."""

import math
from fractions import Fraction
from typing import Any

import numpy as np


class Epsilon:
    """An exact perturbation budget, and the floats on either side of it.

    ``"8/255"`` has no float. An attacker is given the float below, a certificate must exceed the
    float above: rounding never helps the defence. A float means the number it prints as, so
    ``0.3`` is 3/10.

    Args:
        value: a non-negative number, also as an array of no dimensions, a string such as
            ``"8/255"`` or ``"0.3"``, or an :class:`Epsilon`.

    Raises:
        ValueError: if it is no finite non-negative number.

    Example:

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
