"""Fast gradient sign method and projected gradient descent."""

import sys
import types

import keras
import numpy as np

from zoo.attacks.ball import project, random_change, random_start

LOSSES = ("margin", "cross_entropy")


def fgsm(victim, x, y, eps, norm, *, random, loss="cross_entropy"):
    """One step of the full budget along the gradient.

    Args:
        victim: :class:`zoo.attacks.victim.Victim`.
        x, y: images and labels, checked.
        eps, norm: of the ball.
        random: unused, for the common signature.
        loss: ``"cross_entropy"``, or ``"margin"``, whose gradient never vanishes.

    Reference:
        Goodfellow, Shlens, Szegedy: Explaining and Harnessing Adversarial Examples, 2015.
    """
    step = ascent_direction(victim, x, y, norm, loss)
    return project(x + eps.below * step, x, eps, norm)


def pgd(
    victim,
    x,
    y,
    eps,
    norm,
    *,
    random,
    steps=20,
    restarts=1,
    step_size=None,
    loss="margin",
    random_init=True,
):
    """Projected gradient descent; returns the best point of all steps and restarts.

    cleverhans returns the last step of a single start. Here the most damaging point seen anywhere
    is kept, the original image included.

    Args:
        victim: :class:`zoo.attacks.victim.Victim`.
        x, y: images and labels, checked.
        eps, norm: of the ball.
        random: generator of the random starts.
        steps: gradient steps per restart.
        restarts: number of starts.
        step_size: length of a step in input units; by default ``2.5 · eps / steps``.
        loss: ``"margin"`` (label's logit against the largest other) or ``"cross_entropy"``.
        random_init: start at random in the ball, rather than at the image.

    Reference:
        Madry et al.: Towards Deep Learning Models Resistant to Adversarial Attacks, 2018.
    """
    length = min(eps.below, 2.5 * eps.below / steps) if step_size is None else float(step_size)
    best, best_gap = x.copy(), victim.gap(x, y)
    for _ in range(restarts):
        x_adv = random_start(x, eps, norm, random) if random_init else x
        for _ in range(steps):
            step = ascent_direction(victim, x_adv, y, norm, loss)
            x_adv = project(x_adv + length * step, x, eps, norm)
            gap = victim.gap(x_adv, y)
            better = gap < best_gap
            best[better], best_gap[better] = x_adv[better], gap[better]
    return best


def skip_pgd(random, shape, norm, *, restarts=1, random_init=True, **_):
    """Draw what :func:`pgd` draws for a batch of this shape, and leave it at that."""
    for _ in range(restarts if random_init else 0):
        random_change(shape, 1.0, norm, random)


def ascent_direction(victim, x, y, norm, loss):
    """Direction of unit norm in which the loss grows fastest: one step of cleverhans' FGM.

    Returns:
        float64 array of the shape of ``x``: signs for ``"linf"``, unit length for ``"l2"``.
    """
    if loss not in LOSSES:
        raise ValueError(f"loss must be one of {LOSSES}, got {loss!r}")
    order = np.inf if norm == "linf" else 2
    if keras.backend.backend() == "jax":
        stepped = _jax_step(victim, x, y, order, loss)
    else:
        stepped = _tensorflow_step(victim, x, y, order, loss)
    return np.asarray(stepped, np.float64) - x


def _tensorflow_step(victim, x, y, order, loss):
    import tensorflow as tf
    from cleverhans.tf2.attacks.fast_gradient_method import fast_gradient_method

    loss_fn = _margin_loss if loss == "margin" else tf.nn.sparse_softmax_cross_entropy_with_logits
    images, labels = tf.convert_to_tensor(x), tf.convert_to_tensor(y)
    return fast_gradient_method(victim, images, 1.0, order, loss_fn, y=labels)


def _margin_loss(labels, logits):
    import tensorflow as tf

    own = tf.one_hot(labels, logits.shape[-1])
    other = tf.reduce_max(logits - own * 1e9, axis=-1)
    return other - tf.reduce_sum(own * logits, axis=-1)


def _jax_step(victim, x, y, order, loss):
    import jax.numpy as jnp

    _provide_stax()
    from cleverhans.jax.attacks.fast_gradient_method import fast_gradient_method

    classes = np.eye(victim.model.num_classes, dtype=np.float32)
    target = classes[y]
    if loss == "margin":
        # The attack's loss is linear in its label: one minus another class is their gap.
        logits = victim.model.logits(x, batch_size=max(1, len(x))) - 1e9 * target
        target = target - classes[np.argmax(logits, axis=1)]
    return fast_gradient_method(victim, jnp.asarray(x), 1.0, order, y=jnp.asarray(target))


def _provide_stax():
    """cleverhans imports ``jax.experimental.stax``, which lives in ``example_libraries`` now."""
    if "jax.experimental.stax" not in sys.modules:
        from jax.example_libraries import stax

        module = types.ModuleType("jax.experimental.stax")
        module.logsoftmax = stax.logsoftmax
        sys.modules["jax.experimental.stax"] = module
