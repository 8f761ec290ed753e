"""The shortest way to a hyperplane, against SciPy's solvers."""

import numpy as np
import pytest
from scipy import optimize

from zoo.attacks.boundary import to_hyperplane

RANDOM = np.random.default_rng(0)
X = RANDOM.uniform(size=(40, 6))
X[:10, :3] = 0.0
NORMAL = RANDOM.normal(size=(40, 6))
NORMAL[5:20, 2:4] = 0.0
GAIN = RANDOM.normal(size=40) * 0.7


def most(i):
    """What a linear function can grow by, in the direction that is asked for, within the box."""
    room = np.where(NORMAL[i] * GAIN[i] > 0, 1 - X[i], X[i])
    return np.sum(np.abs(NORMAL[i]) * room)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_it_stays_in_the_box_and_gains_what_it_can(norm):
    change = to_hyperplane(X, NORMAL, GAIN, norm)
    assert (X + change).min() >= -1e-12
    assert (X + change).max() <= 1 + 1e-12
    wanted = [np.sign(GAIN[i]) * min(abs(GAIN[i]), most(i)) for i in range(40)]
    np.testing.assert_allclose(np.sum(NORMAL * change, axis=1), wanted, atol=1e-9)
    assert sum(most(i) < abs(GAIN[i]) for i in range(40)) >= 2


def test_linf_is_least():
    change = to_hyperplane(X, NORMAL, GAIN, "linf")
    eye, ones = np.eye(6), np.ones((6, 1))
    for i in range(40):
        if most(i) > abs(GAIN[i]):
            best = optimize.linprog(
                [0] * 6 + [1],
                A_ub=np.block([[eye, -ones], [-eye, -ones]]),
                b_ub=np.zeros(12),
                A_eq=[[*NORMAL[i], 0]],
                b_eq=[GAIN[i]],
                bounds=[*zip(-X[i], 1 - X[i], strict=True), (0, None)],
            ).fun
            assert np.abs(change[i]).max() == pytest.approx(best, abs=1e-7)


def test_l2_is_least():
    change = to_hyperplane(X, NORMAL, GAIN, "l2")
    for i in range(0, 40, 3):
        if most(i) > abs(GAIN[i]):
            constraint = {"type": "eq", "fun": lambda v, i=i: NORMAL[i] @ v - GAIN[i]}
            best = optimize.minimize(
                lambda v: v @ v,
                np.zeros(6),
                constraints=constraint,
                bounds=[*zip(-X[i], 1 - X[i], strict=True)],
            ).fun
            assert change[i] @ change[i] <= best + 1e-5


def test_a_function_without_slope_moves_nothing():
    x = np.full((2, 3, 3, 1), 0.5)
    for norm in ("linf", "l2"):
        assert not to_hyperplane(x, np.zeros(x.shape), np.array([1.0, 0.0]), norm).any()
