"""Attacks towards a class, and parameters under the names of cleverhans."""

import numpy as np
import pytest

from tests.attacks.test_attacks import HERE, QUICK
from zoo.attacks import ATTACKS, FGSM, check_settings
from zoo.attacks.registry import attack_of
from zoo.attacks.victim import victim

TARGETED = [name for name in HERE if ATTACKS[name].targeted]
MORE = QUICK | {
    "pgd": {"steps": 10},
    "square": {"queries": 300},
    "surrogate": {"steps": 10, "stages": 2},
    "cw": {"steps": 60, "search_steps": 3, "learning_rate": 0.05},
}


@pytest.fixture(scope="module")
def images(digits):
    return digits.images[:20], digits.labels[:20]


def test_which_there_are():
    there_are = {name for name, kind in ATTACKS.items() if kind.targeted}
    assert {"pgd", "apgd-ce", "apgd-dlr", "apgd-t", "cw", "fmn"} <= there_are
    assert not {"auto", "spsa", "second_order"} & there_are


@pytest.mark.integration
@pytest.mark.parametrize("name", TARGETED)
def test_towards_the_runner_up(digits_model, images, name):
    x, y = images
    logits = digits_model.logits(x).copy()
    logits[np.arange(20), y] = -np.inf
    target = np.argsort(logits, axis=1)[:, -2]
    norm, eps = {"cw": ("l2", 3.0), "fgsm": ("linf", 0.02)}.get(name, ("linf", 0.35))
    options = {"eps": eps, "norm": norm, **MORE[name]}
    x_adv = digits_model.attack(x, y, name, target=target, **options)
    hits = [np.argmax(digits_model.logits(a), axis=1) == target for a in (x, x_adv)]
    if name == "fgsm":  # a single step rarely gets there, but nearer
        gaps = [victim(digits_model).gap(a, y, target) for a in (x, x_adv)]
        assert np.mean(gaps[1] < gaps[0]) > 0.9
        return
    free = np.argmax(digits_model.logits(digits_model.attack(x, y, name, **options)), axis=1)
    assert hits[1].sum() > hits[0].sum()
    assert hits[1].sum() > np.sum(free == target)


def test_one_class_for_all(digits_model, images):
    """Images of this class are left as they are."""
    x, y = images
    found = digits_model.attack(x, y, "pgd", eps=0.3, target=3, steps=5)
    np.testing.assert_array_equal(found[y == 3], x[y == 3])
    assert (found[y != 3] != x[y != 3]).any()
    one_each = digits_model.attack(x, y, "pgd", eps=0.3, target=np.full(20, 3), steps=5)
    np.testing.assert_array_equal(found, one_each)


def test_each_batch_has_its_own_targets(digits_model, images):
    x, y = images
    target, options = (y + 1) % 10, {"eps": 0.3, "steps": 2, "batch_size": 8}
    whole = digits_model.attack(x, y, "pgd", target=target, **options)
    part = digits_model.attack(x[8:16], y[8:16], "pgd", target=target[8:16], first=8, **options)
    np.testing.assert_array_equal(whole[8:16], part)
    assert (part != x[8:16]).any()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"attack": "auto", "target": 3}, ValueError, "auto attack takes no target; those.*pgd"),
        ({"attack": "pgd", "target": 10}, ValueError, r"target must lie in 0..9"),
        ({"attack": "pgd", "target": [1]}, ValueError, r"target must have shape \(2,\)"),
        ({"attack": "pgd", "target": 1.5}, ValueError, "target must be integer labels"),
        ({"attack": "pgd", "target": "three"}, TypeError, "target must be"),
        ({"attack": "pgd", "eps": 8}, ValueError, r"eps must lie in \[0, 1\] .*got 8; eight steps"),
        ({"attack": "pgd", "eps": 9, "norm": "l2"}, ValueError, r"eps must lie in \[0, 8\]"),
    ],
)
def test_bad_arguments_are_named(digits_model, monkeypatch, options, error, message):
    def computed(*args, **kwargs):
        pytest.fail("something was computed before the arguments were checked")

    monkeypatch.setattr(type(digits_model), "call", computed)
    with pytest.raises(error, match=message):
        digits_model.attack(np.full((2, 8, 8, 1), 0.5), None, **{"eps": 0.1, **options})


def test_names_of_cleverhans(digits_model, images):
    x, y = images
    ours = digits_model.attack(x, y, "pgd", eps=0.2, steps=3, step_size=0.05, random_init=True)
    theirs = digits_model.attack(x, y, "pgd", eps=0.2, nb_iter=3, eps_iter=0.05, rand_init=True)
    np.testing.assert_array_equal(ours, theirs)
    chosen = attack_of("cw", {"max_iterations": 3, "initial_const": 2, "binary_search_steps": 1})
    assert (chosen.steps, chosen.initial_constant, chosen.search_steps) == (3, 2.0, 1)
    assert attack_of("momentum", {"decay_factor": 0.5}).decay == 0.5
    assert attack_of("spsa", {"spsa_samples": 4}).samples == 4
    with pytest.raises(TypeError, match="given twice.*: steps, nb_iter"):
        check_settings("pgd", params={"steps": 3, "nb_iter": 3})
    with pytest.raises(TypeError, match="no parameter 'nb_iter'; it has: loss"):
        attack_of("fgsm", {"nb_iter": 3})
    with pytest.raises(TypeError, match="unexpected keyword"):
        FGSM(nb_iter=3)
