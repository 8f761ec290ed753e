"""Budgets and their rounding."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.epsilon import Epsilon, positive_epsilon


@given(st.fractions(0, 10, max_denominator=1000))
def test_floats_enclose_the_exact_budget(fraction):
    eps = Epsilon(f"{fraction.numerator}/{fraction.denominator}")
    assert eps.exact == fraction
    assert Fraction(eps.below) <= fraction < Fraction(eps.beyond)
    assert np.float32(eps.below) == eps.below
    assert np.nextafter(np.float32(eps.below), np.float32(np.inf)) == np.float32(eps.beyond)


def test_a_float_means_what_it_prints():
    assert Epsilon(0.3).exact == Fraction(3, 10)
    assert Epsilon(np.float32(0.1)) == Epsilon("0.1")
    assert Epsilon(".03137").exact < Fraction(8, 255)


@given(st.floats(0, 6e4, width=16))
def test_a_float16_means_its_exact_value(number):
    """What it is printed as may be below it by more than float32 numbers differ."""
    eps = Epsilon(np.float16(number))
    assert eps.exact == Fraction(number)
    assert Epsilon(str(eps)) == eps


@given(st.floats(0, 1e6, width=32))
def test_a_float32_is_not_above_the_least_radius_that_certifies_its_budget(number):
    assert number <= Epsilon(np.float32(number)).beyond


@given(st.floats(0, 1e6, width=32))
def test_a_float_that_float32_holds_means_itself(number):
    """It is then neither above nor below itself, whichever way its decimals round."""
    for eps in (Epsilon(number), Epsilon(str(number)), Epsilon(np.float64(number))):
        assert eps.exact == Fraction(number)
        assert eps.below == number < eps.beyond
        assert Epsilon(str(eps)) == eps


@pytest.mark.parametrize(
    "value", ["8/0", "a lot", -0.1, float("nan"), float("inf"), True, None, [1], 1e39, "1e400"]
)
def test_bad_budgets_are_named(value):
    with pytest.raises(ValueError, match="eps must"):
        Epsilon(value)
    with pytest.raises(ValueError, match="radius must"):
        Epsilon(value, "radius", positive=True)


@pytest.mark.parametrize("value", [0, "0", -1, "-1/2"])
def test_a_budget_that_must_be_positive_says_so(value):
    with pytest.raises(ValueError, match=f"^epsilon must be positive, got {value!r}$"):
        positive_epsilon(value)
