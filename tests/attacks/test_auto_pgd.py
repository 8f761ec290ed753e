"""Auto-PGD and what it ascends."""

import keras
import numpy as np
import pytest
from keras import ops

import zoo
from zoo.attacks import objectives
from zoo.attacks.auto_pgd import auto_pgd, checkpoints
from zoo.attacks.starts import rivals
from zoo.attacks.victim import victim
from zoo.epsilon import Epsilon

LOGITS = np.array([[3.0, 1.0, 0.5, -1.0], [0.0, 2.0, 4.0, 1.0]], "float32")
LABELS = np.array([0, 1])


def test_checkpoints_are_those_of_the_reference():
    """Its loop, which counts the steps since the last checkpoint."""
    for steps in (5, 20, 50, 100):
        distance, since, expected = max(int(0.22 * steps), 1), 0, []
        for step in range(steps):
            since += 1
            if since == distance:
                expected.append(step + 1)
                distance = max(
                    distance - max(int(0.03 * steps), 1), max(int(0.06 * steps), 1)
                )  # fmt: skip
                since = 0
        assert checkpoints(steps) == expected


def test_difference_of_logits_ratio():
    found = ops.convert_to_numpy(objectives.dlr(LABELS, ops.array(LOGITS)))
    np.testing.assert_allclose(found, [-(3 - 1) / (3 - 0.5), -(2 - 4) / (4 - 1)], rtol=1e-6)
    targets = np.array([2, 0])
    found = ops.convert_to_numpy(objectives.targeted_dlr(LABELS, targets, ops.array(LOGITS)))
    expected = [-(3 - 0.5) / (3 - (0.5 - 1) / 2), -(2 - 0) / (4 - (1 + 0) / 2)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_the_ratio_does_not_change_with_the_scale():
    found = [ops.convert_to_numpy(objectives.dlr(LABELS, ops.array(s * LOGITS))) for s in (1, 1e6)]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)


def test_rivals_are_the_likeliest_classes():
    np.testing.assert_array_equal(rivals(LOGITS, LABELS, 2), [[1, 2], [2, 3]])
    assert rivals(LOGITS, LABELS, 9).shape == (2, 3)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_it_climbs_a_linear_function_to_the_edge_of_the_ball(norm):
    keras.utils.set_random_seed(0)
    layers = [keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(4)]
    model = zoo.models.LipschitzMarginNet(keras.Sequential(layers))
    x = np.full((5, 4, 4, 1), 0.5, "float32")
    y = np.argmax(model.logits(x), axis=1)
    other = (y + 1) % 4
    eps, goal = Epsilon(0.1), (y, other)
    found, _ = auto_pgd(
        victim(model), objectives.difference, goal, x, x, eps, norm, 50, other
    )  # fmt: skip
    kernel = model.network.get_weights()[0]
    slope = kernel[:, other] - kernel[:, y]
    gained = np.sum((found - x).reshape(5, -1) * slope.T, axis=1)
    size = np.abs(slope).sum(axis=0) if norm == "linf" else np.linalg.norm(slope, axis=0)
    np.testing.assert_allclose(gained, 0.1 * size, rtol=0.02)


def few_classes(count):
    keras.utils.set_random_seed(1)
    return zoo.models.LinfDistNet((4, 4, 1), count, width=8, depth=2)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("name", ["apgd-dlr", "apgd-t", "auto"])
def test_few_classes_are_said(name, count):
    """Without a third and a fourth logit the ratio is not defined."""
    model = few_classes(count)
    x = np.random.default_rng(0).uniform(size=(6, 4, 4, 1)).astype("float32")
    params = {"queries": 10} if name == "auto" else {}
    with pytest.warns(UserWarning, match=f"at least 4 classes, the model has {count}; the diff"):
        x_adv = model.attack(x, None, name, eps=0.3, steps=10, **params)
    predicted = np.argmax(model.logits(x), axis=1)
    before, after = (victim(model).gap(images, predicted) for images in (x, x_adv))
    assert (after <= before).all()
    assert (after < before).any()
    report = model.evaluate_robustness(
        x, predicted, eps=0.3, attacks=name, params={name: {"steps": 2, **params}}
    )
    assert len(report.notes) == 1
    assert "the difference of logits took its place" in str(report)
    assert report.to_dict()["notes"] == list(report.notes)


def test_four_classes_need_no_note(recwarn):
    model = few_classes(4)
    x = np.full((2, 4, 4, 1), 0.5, "float32")
    model.attack(x, None, "apgd-dlr", eps=0.1, steps=2)
    assert not [warning for warning in recwarn if "logits" in str(warning.message)]
    report = model.evaluate_robustness(x, [0, 1], eps=0.1, attacks="fgsm")
    assert report.notes == ()
    assert "notes" not in report.to_dict()
