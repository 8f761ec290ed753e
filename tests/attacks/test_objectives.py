"""The objectives, against plain NumPy."""

import numpy as np
from keras import ops

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


def test_the_margin_has_a_gradient_where_the_softmax_saturates():
    gradients = {
        name: ops.convert_to_numpy(
            input_gradient(lambda x, f=objective: f(LABELS[:1], x), np.float32([[1e5, 0, 1, 0]]))
        )
        for name, objective in OBJECTIVES.items()
    }
    np.testing.assert_array_equal(gradients["cross_entropy"], [[0, 0, 0, 0]])
    np.testing.assert_array_equal(gradients["margin"], [[-1, 0, 1, 0]])
