"""Momentum iterative method."""

import dataclasses

import numpy as np

from zoo.attacks.ball import direction, project
from zoo.attacks.base import Attack, parameter
from zoo.attacks.compiled import value_and_gradient
from zoo.attacks.gradient import step_length, with_own_gradient
from zoo.attacks.objectives import cross_entropy, towards_by_cross_entropy
from zoo.attacks.registry import register_attack
from zoo.utils import checks
from zoo.utils.backend import backend_name


@register_attack("momentum")
@dataclasses.dataclass(frozen=True)
class Momentum(Attack):
    """Gradient steps along an accumulated direction, on the cross-entropy.

    On TensorFlow, cleverhans computes the steps. It has no such attack for JAX, where this class
    computes the same steps itself.

    Reference:
        Dong et al.: Boosting Adversarial Attacks with Momentum, 2018.
    """

    targeted = True

    steps: int = parameter(20, "gradient steps", checks.positive_integer, cleverhans="nb_iter")
    step_size: float | None = parameter(
        None,
        "length of a step in input units (None: 2.5 · eps / steps)",
        checks.positive_number,
        cleverhans="eps_iter",
    )
    decay: float = parameter(
        1.0,
        "factor of the accumulated direction",
        checks.not_negative_number,
        cleverhans="decay_factor",
    )

    def run(self, victim, x, y, eps, norm, random, target=None):
        length = step_length(self.step_size, eps, self.steps)
        if backend_name() == "tensorflow":
            return self._of_cleverhans(victim, x, y, eps, norm, length, target)
        x_adv, momentum = x, np.zeros(x.shape)
        objective = cross_entropy if target is None else towards_by_cross_entropy
        labels = (y,) if target is None else (y, target)
        for _ in range(self.steps):
            _, _, gradient = value_and_gradient(victim, objective, x_adv, *labels)
            size = np.mean(np.abs(gradient), axis=(1, 2, 3), keepdims=True)
            momentum = self.decay * momentum + gradient / np.maximum(size, 1e-12)
            x_adv = project(x_adv + length * direction(momentum, norm), x, eps, norm)
        return x_adv

    def _of_cleverhans(self, victim, x, y, eps, norm, length, target):
        import tensorflow as tf
        from cleverhans.tf2.attacks.momentum_iterative_method import momentum_iterative_method

        order = np.inf if norm == "linf" else 2
        x_adv = with_own_gradient(victim, momentum_iterative_method, order)(
            victim,
            tf.convert_to_tensor(x),
            eps=eps.below,
            eps_iter=length,
            nb_iter=self.steps,
            norm=order,
            clip_min=0.0,
            clip_max=1.0,
            y=tf.convert_to_tensor(y if target is None else target),
            targeted=target is not None,
            decay_factor=self.decay,
            sanity_checks=False,  # zoo.attacks.attack has already checked the images
        )
        return x_adv.numpy()
