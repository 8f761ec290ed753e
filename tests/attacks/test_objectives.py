"""The objectives, against plain NumPy."""

import numpy as np
import pytest
from keras import ops

from zoo.attacks.gap import gap_of
from zoo.attacks.objectives import OBJECTIVES
from zoo.ops import input_gradient

LOGITS = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
LABELS = np.array([0, 1, 2, 3, 0, 1])
ROWS = np.arange(6)


def test_values():
    found = {n: ops.convert_to_numpy(f(LABELS, ops.array(LOGITS))) for n, f in OBJECTIVES.items()}
    own = LOGITS[ROWS, LABELS]
    cross_entropy = np.log(np.exp(LOGITS).sum(axis=1)) - own
    np.testing.assert_allclose(found["cross_entropy"], cross_entropy, rtol=1e-5)
    others = np.where(np.eye(4, dtype=bool)[LABELS], -np.inf, LOGITS)
    np.testing.assert_allclose(found["margin"], others.max(axis=1) - own, rtol=1e-6)


@pytest.mark.parametrize("lead", [1e5, 1e12, 1e30])
def test_the_margin_has_a_gradient_where_the_softmax_saturates(lead):
    gradients = {
        name: ops.convert_to_numpy(
            input_gradient(lambda x, f=objective: f(LABELS[:1], x), np.float32([[lead, 0, 1, 0]]))
        )
        for name, objective in OBJECTIVES.items()
    }
    np.testing.assert_array_equal(gradients["cross_entropy"], [[0, 0, 0, 0]])
    np.testing.assert_array_equal(gradients["margin"], [[-1, 0, 1, 0]])


def test_logits_that_decide_for_no_class_are_misclassified():
    logits = [[np.nan, 1.0, 0.0], [np.inf, np.inf, 0.0], [np.inf, 1.0, 0.0], [1.0, 2.0, 0.0]]
    labels = np.zeros(4, int)
    np.testing.assert_array_equal(gap_of(logits, labels) >= 0, [False, False, True, False])
    # None of the first two is of the class that is aimed at.
    np.testing.assert_array_equal(gap_of(logits, labels, labels) < 0, [False, False, True, False])
