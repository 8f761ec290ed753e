"""Momentum iterative method."""

import dataclasses

import numpy as np

from zoo.attacks.base import Attack, parameter
from zoo.attacks.gradient import step_length, with_own_gradient
from zoo.attacks.registry import register_attack
from zoo.utils import checks


@register_attack("momentum")
@dataclasses.dataclass(frozen=True)
class Momentum(Attack):
    """Gradient steps along an accumulated direction, on the cross-entropy.

    Reference:
        Dong et al.: Boosting Adversarial Attacks with Momentum, 2018.
    """

    backends = ("tensorflow",)  # cleverhans implements this attack for TensorFlow only

    steps: int = parameter(20, "gradient steps", checks.positive_integer)
    step_size: float | None = parameter(
        None, "length of a step in input units (None: 2.5 · eps / steps)", checks.positive_number
    )
    decay: float = parameter(1.0, "factor of the accumulated direction", checks.not_negative_number)

    def run(self, victim, x, y, eps, norm, random):
        import tensorflow as tf
        from cleverhans.tf2.attacks.momentum_iterative_method import momentum_iterative_method

        x_adv = with_own_gradient(victim, momentum_iterative_method)(
            victim,
            tf.convert_to_tensor(x),
            eps=eps.below,
            eps_iter=step_length(self.step_size, eps, self.steps),
            nb_iter=self.steps,
            norm=np.inf if norm == "linf" else 2,
            clip_min=0.0,
            clip_max=1.0,
            y=tf.convert_to_tensor(y),
            decay_factor=self.decay,
            sanity_checks=False,  # zoo.attacks.attack has already checked the images
        )
        return x_adv.numpy()
