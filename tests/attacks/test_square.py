"""Square attack: its shapes, and images of every size."""

import numpy as np
import pytest

import zoo
from zoo.attacks.ball import size
from zoo.attacks.methods.square import pyramid, share_at


@pytest.mark.parametrize("side", [1, 2, 3, 5, 8])
def test_the_change_of_a_square_has_length_one(side):
    for transposed in (False, True):
        square = pyramid(side, transposed)
        assert square.shape == (side, side)
        assert np.sum(square**2) == pytest.approx(1.0)
    assert (pyramid(4)[:2] > 0).all()
    assert (pyramid(4)[2:] < 0).all()


def test_squares_get_smaller():
    shares = [share_at(query, 5000, 0.8) for query in range(5000)]
    assert shares[0] == 0.8
    assert shares[-1] == 0.8 / 512
    assert (np.diff(shares) <= 0).all()


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("shape", [(8, 8, 1), (8, 8, 3), (5, 7, 3), (2, 3, 1), (1, 1, 3)])
def test_images_of_every_size(shape, norm):
    """Others' L2 variant divides by zero at 8 × 8 pixels."""
    model = zoo.models.LinfDistNet(shape, 4, width=8, depth=2)
    x = np.random.default_rng(0).uniform(size=(6, *shape)).astype("float32")
    y = np.argmax(model.logits(x), axis=1)
    eps = 0.3 if norm == "linf" else min(1.0, np.prod(shape) ** 0.5)
    x_adv = model.attack(x, y, "square", eps=eps, norm=norm, queries=40)
    assert np.isfinite(x_adv).all()
    assert (size(x_adv.astype("float64") - x, norm) <= eps).all()
    assert (x_adv != x).any()
    assert 0 <= x_adv.min() <= x_adv.max() <= 1


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_more_queries_find_more(digits, digits_model, norm):
    x, y = digits.images[:24], digits.labels[:24]
    eps = 0.2 if norm == "linf" else 0.7
    left = [
        np.mean(
            np.argmax(
                digits_model.logits(
                    digits_model.attack(x, y, "square", eps=eps, norm=norm, queries=n)
                ),
                axis=1,
            )
            == y
        )
        for n in (1, 300)
    ]
    assert left[1] < left[0]
