"""Momentum iterative method."""

import numpy as np

from zoo.attacks.ball import project
from zoo.attacks.gradient import with_own_gradient


def momentum(victim, x, y, eps, norm, *, random, steps=20, step_size=None, decay=1.0):
    """Gradient steps along an accumulated direction, on the cross-entropy.

    Args:
        victim: :class:`zoo.attacks.victim.Victim`.
        x, y: images and labels, checked.
        eps, norm: of the ball.
        random: unused, for the common signature.
        steps: number of steps.
        step_size: length of a step in input units; by default ``2.5 · eps / steps``.
        decay: factor of the accumulated direction.

    Reference:
        Dong et al.: Boosting Adversarial Attacks with Momentum, 2018.
    """
    import tensorflow as tf
    from cleverhans.tf2.attacks.momentum_iterative_method import momentum_iterative_method

    length = min(eps.below, 2.5 * eps.below / steps) if step_size is None else float(step_size)
    x_adv = with_own_gradient(victim, momentum_iterative_method)(
        victim,
        tf.convert_to_tensor(x),
        eps=eps.below,
        eps_iter=length,
        nb_iter=steps,
        norm=np.inf if norm == "linf" else 2,
        clip_min=0.0,
        clip_max=1.0,
        y=tf.convert_to_tensor(y),
        decay_factor=decay,
        sanity_checks=False,  # the images have been checked
    )
    return project(x_adv.numpy(), x, eps, norm)
