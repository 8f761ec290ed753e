"""The objectives, against plain NumPy."""

import keras
import numpy as np
import pytest
from keras import ops

import zoo
from zoo.attacks.gap import gap_of
from zoo.attacks.objectives import OBJECTIVES, difference, margin
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


def test_a_class_without_any_chance_hides_no_other_one():
    """Classifiers mask unused classes by a logit of -inf."""
    logits = ops.convert_to_tensor(np.float32([[3.0, 1.0, -np.inf, 0.5]]))
    assert float(margin(np.array([0]), logits)[0]) == -2.0
    assert float(difference(np.array([0]), np.array([1]), logits)[0]) == -2.0
    assert float(margin(np.array([2]), logits)[0]) == np.inf


@pytest.mark.integration
@pytest.mark.parametrize("attack", ["fgsm", "pgd", "momentum", "apgd-ce"])
def test_an_l2_step_has_its_length_where_the_gradient_is_tiny(attack):
    """The cross-entropy of a network that leads by 40 has a gradient of about 1e-17."""
    images = keras.Input((4, 4, 1))
    network = keras.Model(images, keras.layers.Dense(3)(keras.layers.Flatten()(images)))
    kernel = np.random.default_rng(0).normal(size=(16, 3))
    network.set_weights([kernel, np.array([40.0, 0.0, 0.0])])
    x = np.full((2, 4, 4, 1), 0.5, "float32")
    options = {"pgd": {"steps": 1, "loss": "cross_entropy"}, "momentum": {"steps": 1}}
    options["apgd-ce"] = {"steps": 1}
    x_adv = zoo.attacks.attack(
        network, x, [0, 0], attack, eps=0.25, norm="l2", **options.get(attack, {})
    )
    lengths = np.linalg.norm((x_adv - x).reshape(2, -1), axis=1)
    np.testing.assert_allclose(lengths, 0.25, rtol=1e-3)


@pytest.mark.integration
def test_the_last_step_of_the_minimum_norm_attack_counts():
    """The boundary of a concave lead is nearer than its slope says, so one step gets across."""

    class Bowl(keras.Model):
        def call(self, images):
            total = ops.sum(images, axis=(1, 2, 3))
            return ops.stack([ops.ones_like(total), total * total], axis=1)

    network = Bowl()
    x = np.full((1, 2, 2, 1), 0.2, "float32")
    found = zoo.attacks.attack(network, x, [0], zoo.attacks.FMN(steps=1), eps=0.2, norm="linf")
    assert np.argmax(network(found)) == 1
