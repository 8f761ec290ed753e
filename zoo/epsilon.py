"""Exact perturbation budgets, and their roundings to float32."""

import math
from fractions import Fraction
from typing import Any

import numpy as np


class Epsilon:
    """An exact perturbation budget, and the float32 numbers on either side of it.

    No float32 number equals ``"8/255"``. An attack may use at most the largest float32 number
    that is not above the budget (``below``), and a certified radius must be at least the smallest
    one that is above it (``beyond``), so rounding never favours the defence. A Python float stands
    for the decimal number that it is printed as: ``0.3`` means 3/10. There is one exception: a
    float that is equal to a float32 number, such as ``float(radius)`` of a certificate, stands for
    exactly that number. A NumPy number stands for the decimal number that it is printed as, but a
    float16 for its exact value, because the decimal number may be far below it: ``np.float16(0.3)``
    is printed as 0.3, and is 0.300048828125.

    Args:
        value: a non-negative number (a NumPy array without dimensions is one, too), a string such
            as ``"8/255"`` or ``"0.3"``, or an :class:`Epsilon`.
        argument: what an error calls the value.
        positive: whether 0 is an error, too.

    Raises:
        ValueError: if the value is not a number between 0 and 1e30.

    Examples:
        >>> from zoo.epsilon import Epsilon
        >>> eps = Epsilon("8/255")
        >>> eps.below < 8 / 255 < eps.beyond, str(eps)
        (True, '8/255')
    """

    def __init__(self, value: Any, argument: str = "eps", *, positive: bool = False) -> None:
        if isinstance(value, Epsilon):
            self.text: str = value.text
            self.exact: Fraction = value.exact
        else:
            self._read(value, argument)
        if positive and self.exact <= 0:
            raise ValueError(f"{argument} must be positive, got {value!r}")
        if self.exact < 0:
            raise ValueError(f"{argument} must not be negative, got {value!r}")

    def _read(self, value: Any, argument: str) -> None:
        if isinstance(value, np.ndarray) and value.ndim == 0:
            value = value[()]
        if isinstance(value, np.number) and value.dtype == np.float16:
            value = float(value)
        if isinstance(value, bool) or not isinstance(value, (int, float, str, Fraction, np.number)):
            raise ValueError(f"{argument} must be a number or a string like '8/255', got {value!r}")
        self.text = str(value).strip()
        try:
            self.exact = Fraction(self.text)
        except (ValueError, ZeroDivisionError):
            raise ValueError(
                f"{argument} must be a finite number or a string like '8/255', got {value!r}"
            ) from None
        if abs(self.exact) > 1e30:
            raise ValueError(f"{argument} must be a finite number of sensible size, got {value!r}")
        number = float(self.exact)
        if repr(number) == self.text and float(np.float32(number)) == number:
            self.exact = Fraction(number)

    @property
    def below(self) -> float:
        """The largest float32 (as a Python float) that is at most the budget."""
        nearest = np.float32(float(self.exact))
        above = Fraction(float(nearest)) > self.exact
        return float(np.nextafter(nearest, np.float32(-math.inf)) if above else nearest)

    @property
    def beyond(self) -> float:
        """The smallest float32 (as a Python float) that is above the budget."""
        return float(np.nextafter(np.float32(self.below), np.float32(np.inf)))

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


def positive_epsilon(value: Any) -> Epsilon:
    """The budget that an argument ``epsilon`` of a model or a loss stands for.

    Raises:
        ValueError: if it is not positive, and as :class:`Epsilon`.
    """
    return Epsilon(value, "epsilon", positive=True)


def budgets_of(eps: Any) -> list[Epsilon]:
    """The budgets that an argument ``eps`` stands for.

    Args:
        eps: one budget, as :class:`Epsilon` takes it, or a list, tuple or array of them.

    Raises:
        ValueError: as :class:`Epsilon`.

    Examples:
        >>> from zoo.epsilon import budgets_of
        >>> budgets_of("8/255"), budgets_of([0.1, 0.3])
        ([Epsilon('8/255')], [Epsilon('0.1'), Epsilon('0.3')])
    """
    several = isinstance(eps, (list, tuple)) or (isinstance(eps, np.ndarray) and eps.ndim > 0)
    return [Epsilon(one) for one in (eps if several else [eps])]


def required_budgets(eps: Any) -> list[Epsilon]:
    """As :func:`budgets_of`, but at least one budget.

    Raises:
        ValueError: if there is none, and as :class:`Epsilon`.
    """
    budgets = budgets_of(eps)
    if not budgets:
        raise ValueError("eps must be a budget or a list of budgets, got none")
    return budgets
