"""Wilson's interval."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.utils.wilson import wilson


@given(st.integers(1, 10**6), st.floats(0, 1))
def test_its_ends_are_as_many_deviations_away_as_have_95_percent_between_them(n, share):
    """An end p is where the accuracy is 1.96 of p's own standard deviations away from p."""
    right = round(share * n)
    accuracy = right / n
    low, high = wilson(accuracy, n)
    assert 0 <= low <= accuracy <= high <= 1
    for end in (low, high):
        deviation = math.sqrt(end * (1 - end) / n)
        assert abs(accuracy - end) == pytest.approx(1.959963984540054 * deviation, abs=1e-9)


@pytest.mark.parametrize(("accuracy", "n"), [(0.5, 0), (1.1, 10), (-0.1, 10), (math.nan, 10)])
def test_what_is_no_accuracy_is_refused(accuracy, n):
    with pytest.raises(ValueError, match="an accuracy in"):
        wilson(accuracy, n)
