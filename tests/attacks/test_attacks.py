"""Every attack: in the ball, effective, and without the faults of the plain call."""

import importlib

import numpy as np
import pytest

import zoo
from tests.backend import BACKEND
from zoo.attacks import ATTACKS
from zoo.attacks.ball import random_start
from zoo.attacks.gradient import step_length
from zoo.attacks.victim import victim
from zoo.epsilon import Epsilon

# That of the second order is for one approach, and tested there.
GENERAL = [name for name in ATTACKS if name != "second_order"]
HERE = [name for name in GENERAL if BACKEND in ATTACKS[name].backends]
IN_NORMS = [(name, norm) for name in HERE for norm in ATTACKS[name].norms]
QUICK = {
    "fgsm": {},
    "pgd": {"steps": 5},
    "momentum": {"steps": 5},
    "cw": {"steps": 20, "search_steps": 2, "learning_rate": 0.05},
    "spsa": {"steps": 10, "samples": 32},
    "apgd-ce": {"steps": 8},
    "apgd-dlr": {"steps": 8},
    "apgd-t": {"steps": 8, "targets": 2},
    "fab-t": {"steps": 8, "targets": 2},
    "square": {"queries": 60},
    "surrogate": {"steps": 3, "stages": 2},
    "fmn": {"steps": 20},
    "auto": {"steps": 5, "targets": 2, "queries": 20},
}
tensorflow_only = pytest.mark.skipif(
    BACKEND != "tensorflow", reason="cleverhans has this attack for TensorFlow alone"
)


@pytest.fixture(scope="module")
def images(digits):
    return digits.images[:24], digits.labels[:24]


def accuracy(model, x, y):
    return np.mean(np.argmax(model.logits(x), axis=1) == y)


@pytest.mark.integration
@pytest.mark.parametrize(("name", "norm"), IN_NORMS)
def test_in_the_ball_and_harmful(digits_model, images, name, norm):
    x, y = images
    eps = "0.35" if norm == "linf" else "1.5"
    x_adv = digits_model.attack(x, y, name, eps=eps, norm=norm, **QUICK[name])
    change = (x_adv.astype("float64") - x).reshape(len(x), -1)
    size = np.abs(change).max(axis=1) if norm == "linf" else np.sqrt((change**2).sum(axis=1))
    assert (size <= float(Epsilon(eps).exact)).all()
    assert x_adv.min() >= 0
    assert x_adv.max() <= 1
    if (name, norm) != ("cw", "linf"):  # small in L2, it is mostly cut off in ℓ∞
        assert accuracy(digits_model, x_adv, y) < accuracy(digits_model, x, y)


@pytest.mark.integration
@pytest.mark.parametrize(("name", "norm"), IN_NORMS)
def test_a_part_is_attacked_as_within_the_set(digits_model, images, name, norm):
    """Bit for bit, whatever is random, and in any order."""
    x, y = images[0][:10], images[1][:10]
    params = {**QUICK[name], **({"restarts": 2} if name == "pgd" else {})}

    def attacked(chosen, **options):
        return digits_model.attack(
            x[chosen], y[chosen], name, eps=0.2, norm=norm, batch_size=4, **options, **params
        )

    whole = attacked(slice(None))
    for first in (8, 0, 4):
        chosen = slice(first, first + 4)
        np.testing.assert_array_equal(attacked(chosen, first=first), whole[chosen])


@pytest.mark.integration
def test_no_labels_means_the_predictions(digits_model, images):
    x, _ = images
    predicted = np.argmax(digits_model.logits(x), axis=1)
    np.testing.assert_array_equal(
        digits_model.attack(x, None, "fgsm", eps=0.1),
        digits_model.attack(x, predicted, "fgsm", eps=0.1),
    )


def test_eps_zero_changes_nothing(digits_model, images):
    x, y = images
    for name, params in (("fgsm", {}), ("pgd", {"steps": 3})):
        np.testing.assert_array_equal(digits_model.attack(x, y, name, eps=0, **params), x)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"attack": "deepfool"}, ValueError, "one of fgsm, pgd, .*, got 'deepfool'"),
        ({"norm": "l1"}, ValueError, "'l1'"),
        ({"eps": -1}, ValueError, "eps must not be negative"),
        ({"attack": "pgd", "step": 3}, TypeError, "no parameter 'step'; it has: steps"),
        ({"attack": "pgd", "steps": 0}, ValueError, "steps must be a positive integer"),
        ({"attack": "pgd", "loss": "hinge"}, ValueError, "loss must be one of"),
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"first": 100}, ValueError, "first must be a multiple of batch_size, 256, got 100"),
    ],
)
def test_bad_arguments_are_named(digits_model, images, options, error, message):
    x, y = images
    with pytest.raises(error, match=message):
        digits_model.attack(x, y, **{"eps": 0.1, **options})


@pytest.mark.skipif(BACKEND == "tensorflow", reason="TensorFlow has every attack")
@pytest.mark.parametrize("name", [name for name in GENERAL if name not in HERE])
def test_other_backends_are_named(digits_model, images, name):
    with pytest.raises(NotImplementedError, match=f"'{name}' attack for the jax backend"):
        digits_model.attack(*images, name, eps=0.1)


@pytest.mark.parametrize("name", ["apgd-ce", "apgd-t", "surrogate", "fab-t"])
def test_further_starts_find_more(digits_model, images, name):
    x, y = images
    attacked = victim(digits_model)
    one, three = (
        attacked.gap(digits_model.attack(x, y, name, eps=0.15, restarts=n, **QUICK[name]), y)
        for n in (1, 3)
    )
    assert (three < one).any()
    if name != "fab-t":  # which returns the nearest point, not the one with the smallest gap
        assert (three <= one).all()


def test_the_length_of_a_step():
    eps = Epsilon(0.2)
    assert step_length(None, eps, 20) == pytest.approx(2.5 * 0.2 / 20, rel=1e-6)
    assert step_length(None, eps, 1) == eps.below
    assert step_length(0.03, eps, 20) == 0.03


def test_the_momentum_decays(digits_model, images):
    def attacked(steps, decay):
        return digits_model.attack(*images, "momentum", eps=0.3, steps=steps, decay=decay)

    np.testing.assert_array_equal(attacked(1, 0.0), attacked(1, 1.0))  # no gradients before
    assert (attacked(5, 0.0) != attacked(5, 1.0)).any()


def test_square_begins_with_the_given_share_of_the_pixels(digits_model, images):
    small, large = (
        digits_model.attack(*images, "square", eps=0.2, queries=20, share=share)
        for share in (0.1, 0.8)
    )
    assert (small != large).any()


def test_pgd_keeps_the_best_point(digits_model, images):
    """More steps and restarts never help the model: the best point seen is returned."""
    x, y = images
    target = victim(digits_model)
    gaps = [target.gap(x, y)]
    for restarts in (1, 2):
        x_adv = digits_model.attack(x, y, "pgd", eps=0.2, steps=4, restarts=restarts)
        gaps.append(target.gap(x_adv, y))
    for before, after in zip(gaps, gaps[1:], strict=False):
        assert (after <= before).all()
    assert (gaps[-1] < gaps[1]).any()


@tensorflow_only
def test_plain_pgd_loses_what_it_found(digits_model, images):
    """The last step of a single start is worse than ours for some image, and better for none."""
    import tensorflow as tf
    from cleverhans.tf2.attacks.projected_gradient_descent import projected_gradient_descent

    x, y = images
    target = victim(digits_model)
    plain = projected_gradient_descent(
        target, tf.constant(x), 0.2, 0.1, 5, np.inf, clip_min=0.0, clip_max=1.0, y=tf.constant(y)
    ).numpy()
    ours = digits_model.attack(
        x, y, "pgd", eps=0.2, steps=5, step_size=0.1, loss="cross_entropy", random_init=False
    )
    assert (target.gap(ours, y) <= target.gap(plain, y) + 1e-6).all()
    assert (target.gap(ours, y) < target.gap(plain, y)).any()


@tensorflow_only
def test_margin_loss_has_a_gradient_where_cross_entropy_has_none(images):
    """Logits far apart: the softmax saturates in float32 and its gradient is exactly zero."""

    class Loud(zoo.models.LinfDistNet):
        def call(self, inputs, training=False):
            return 1e5 * super().call(inputs, training=training)

    model = zoo.load("linf-dist-digits")
    loud = Loud.from_config(model.get_config())
    loud.set_weights(model.get_weights())
    x, y = images
    right = np.argmax(loud.logits(x), axis=1) == y
    silent = loud.attack(x, y, "fgsm", eps=0.2, loss="cross_entropy")
    np.testing.assert_array_equal(silent[right], x[right])
    heard = loud.attack(x, y, "fgsm", eps=0.2, loss="margin")
    assert (heard[right] != x[right]).any(axis=(1, 2, 3)).all()


@tensorflow_only
def test_plain_sanity_checks_raise_on_good_images(digits_model, images):
    import tensorflow as tf
    from cleverhans.tf2.attacks.madry_et_al import madry_et_al

    x, y = images
    with pytest.raises(ValueError, match="inhomogeneous"):
        madry_et_al(
            victim(digits_model), tf.constant(x), 0.1, 0.05, 2, np.inf, clip_min=0.0, clip_max=1.0
        )
    assert digits_model.attack(x, y, "pgd", eps=0.1, steps=2).shape == x.shape


@tensorflow_only
def test_plain_attacks_overshoot(digits_model, images):
    """In float64 the plain result leaves the ball; ours, from the same step, does not."""
    import tensorflow as tf
    from cleverhans.tf2.attacks.fast_gradient_method import fast_gradient_method

    x, y = images
    eps = 8 / 255
    plain = fast_gradient_method(
        victim(digits_model),
        tf.constant(x),
        eps,
        np.inf,
        clip_min=0.0,
        clip_max=1.0,
        y=tf.constant(y),
    ).numpy()
    assert np.abs(plain.astype("float64") - x).max() > eps
    ours = digits_model.attack(x, y, "fgsm", eps="8/255")
    assert np.abs(ours.astype("float64") - x).max() <= eps


@pytest.mark.integration
@tensorflow_only
def test_plain_carlini_wagner_fails(digits_model, images):
    import tensorflow as tf
    from cleverhans.tf2.attacks.carlini_wagner_l2 import CarliniWagnerL2

    x, y = images
    with pytest.raises(TypeError, match="not callable"):
        CarliniWagnerL2(victim(digits_model), max_iterations=2).attack(tf.constant(x))
    assert CarliniWagnerL2(victim(digits_model), y=y).targeted  # at the truth
    x_adv = digits_model.attack(
        x, y, "cw", eps=5, norm="l2", steps=60, search_steps=4, learning_rate=0.05
    )
    # Not all: from a pixel at 0 or 1 the change of variables has hardly a slope.
    assert accuracy(digits_model, x_adv, y) < 0.5
    # Minimal: nearer than a ball in which every image can be fooled.
    fooled = np.argmax(digits_model.logits(x_adv), axis=1) != y
    sizes = np.sqrt(((x_adv - x).reshape(len(x), -1) ** 2).sum(axis=1))[fooled]
    assert np.median(sizes) < 1.5


@tensorflow_only
def test_plain_basic_iterative_method_ignores_small_budgets(digits_model, images):
    """Its start is drawn from ±0.3 whatever eps is; clipped back, nearly all are corners."""
    import tensorflow as tf
    from cleverhans.tf2.attacks.projected_gradient_descent import projected_gradient_descent

    x = np.full_like(images[0], 0.5)
    plain = projected_gradient_descent(
        victim(digits_model), tf.constant(x), 0.01, 0.001, 0, np.inf, rand_init=True,
        rand_minmax=0.3,
    ).numpy()  # fmt: skip
    assert np.mean(np.isclose(np.abs(plain - x), 0.01)) > 0.9
    ours = random_start(x, Epsilon(0.01), "linf", np.random.default_rng(0))
    assert np.mean(np.isclose(np.abs(ours - x), 0.01)) < 0.1


@tensorflow_only
def test_carlini_wagner_fools_by_the_confidence(digits_model, images):
    x, y = images[0][:8], images[1][:8]
    x_adv = digits_model.attack(
        x, y, "cw", eps=8, norm="l2", confidence=0.1, steps=60, search_steps=3, learning_rate=0.05
    )
    changed = (x_adv != x).any(axis=(1, 2, 3))
    assert changed.any()
    assert (victim(digits_model).gap(x_adv, y)[changed] <= -0.1 + 1e-5).all()


@pytest.mark.integration
@tensorflow_only
def test_carlini_wagner_treats_images_by_themselves(digits_model, images):
    x, y = images
    options = {"eps": 5, "norm": "l2", **QUICK["cw"]}
    together = digits_model.attack(x[:6], y[:6], "cw", **options)
    alone = digits_model.attack(x[:6], y[:6], "cw", batch_size=1, **options)
    np.testing.assert_allclose(together, alone, atol=1e-4)


@tensorflow_only
def test_carlini_wagner_takes_colour_images():
    model = zoo.models.LinfDistNet((4, 4, 3), 3, width=8, depth=2)
    x = np.random.default_rng(0).uniform(size=(5, 4, 4, 3)).astype("float32")
    x_adv = model.attack(x, None, "cw", eps=3, norm="l2", **QUICK["cw"])
    assert (np.argmax(model.logits(x_adv), axis=1) != np.argmax(model.logits(x), axis=1)).any()


@tensorflow_only
def test_plain_spsa_fails(digits_model, images):
    import tensorflow as tf
    from cleverhans.tf2.attacks.spsa import spsa

    x, y = images
    ends = {"clip_min": 0.0, "clip_max": 1.0}
    with pytest.raises((TypeError, ValueError), match="lr"):
        spsa(victim(digits_model), tf.constant(x[:1]), tf.constant(y[:1]), 0.1, 2, **ends)
    with pytest.raises(ValueError, match="batch_size of 1"):
        spsa(victim(digits_model), tf.constant(x), tf.constant(y), 0.1, 2, **ends)
    assert digits_model.attack(x[:3], y[:3], "spsa", eps=0.1, steps=2).shape == (3, 8, 8, 1)


@pytest.mark.parametrize("loss", ["cross_entropy", "margin"])
@pytest.mark.parametrize("name", ["fgsm", "pgd"])
def test_cleverhans_takes_the_steps(digits, monkeypatch, name, loss):
    """On either backend, for either loss."""
    from zoo.attacks import gradient

    module = f"cleverhans.{'tf2' if BACKEND == 'tensorflow' else BACKEND}.attacks"
    if BACKEND == "jax":
        gradient._cleverhans_for_jax()  # without this, the module cannot be imported
    method = importlib.import_module(f"{module}.fast_gradient_method")
    taken, original = [], method.fast_gradient_method

    def step(*args, **kwargs):
        taken.append(args)
        return original(*args, **kwargs)

    def with_own_gradient(victim, attack, order):
        assert attack is step
        return step

    monkeypatch.setattr(method, "fast_gradient_method", step)
    monkeypatch.setattr(gradient, "with_own_gradient", with_own_gradient)
    model = zoo.load("linf-dist-digits")  # for which nothing is compiled yet
    model.attack(digits.images[:4], digits.labels[:4], name, eps=0.1, loss=loss, **QUICK[name])
    assert taken


def test_only_the_images_that_are_named_are_attacked(digits_model, digits):
    x, y = digits.images[:12], digits.labels[:12]
    where = np.arange(12) % 3 == 0
    where[4:8] = False  # a batch without any
    attacked = digits_model.attack(x, y, "fgsm", eps=0.1, batch_size=4, where=where)
    expected = digits_model.attack(x, y, "fgsm", eps=0.1, batch_size=4)
    np.testing.assert_array_equal(attacked[where], expected[where])
    np.testing.assert_array_equal(attacked[~where], x[~where].astype("float32"))
    for wrong in (where[:5], where.astype(int)):
        with pytest.raises(ValueError, match="where must be a bool array of shape .12,."):
            digits_model.attack(x, y, "fgsm", eps=0.1, where=wrong)
