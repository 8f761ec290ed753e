"""No attack of the zoo is weaker than what cleverhans finds when it is called directly."""

import numpy as np
import pytest

import zoo
from tests.backend import BACKEND
from zoo.attacks.victim import victim

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="cleverhans is called directly")

CASES = [
    ("linf-dist-digits", "linf", 0.1),
    ("linf-dist-digits", "linf", 0.2),
    ("lc-lmt-digits", "l2", 0.5),
    ("l2nnn-digits", "l2", 0.5),
    ("crt-digits", "l2", 0.5),
    ("double-backprop-digits", "linf", 0.1),
]


def left(model, x, y):
    return np.mean(np.argmax(model.logits(x), axis=1) == y)


@pytest.mark.integration
@pytest.mark.parametrize(("name", "norm", "eps"), CASES)
def test_pgd_at_equal_steps(digits, name, norm, eps):
    """Of equal length, without a random start, on the cross-entropy."""
    import tensorflow as tf
    from cleverhans.tf2.attacks.projected_gradient_descent import projected_gradient_descent

    model, x, y = zoo.load(name), digits.images[:50], digits.labels[:50]
    order = np.inf if norm == "linf" else 2
    for steps in (5, 20):
        length = 2.5 * eps / steps
        plain = projected_gradient_descent(
            victim(model), tf.constant(x), eps, length, steps, order,
            clip_min=0.0, clip_max=1.0, y=tf.constant(y),
        ).numpy()  # fmt: skip
        ours = model.attack(x, y, "pgd", eps=eps, norm=norm, steps=steps, step_size=length)
        assert left(model, ours, y) <= left(model, plain, y)


@pytest.mark.integration
@pytest.mark.parametrize(("name", "norm", "eps"), CASES[1:4])
def test_the_ensemble_is_no_weaker_than_pgd(digits, name, norm, eps):
    model, x, y = zoo.load(name), digits.images[:40], digits.labels[:40]
    pgd = model.attack(x, y, "pgd", eps=eps, norm=norm)
    ensemble = zoo.attacks.AutoAttack(steps=20, targets=3, queries=100)
    auto = model.attack(x, y, ensemble, eps=eps, norm=norm)
    certified = model.certify(x, norm=norm).accuracy(y, eps)
    assert certified <= left(model, auto, y) <= left(model, pgd, y)
