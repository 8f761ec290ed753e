"""Simultaneous perturbation stochastic approximation: an attack without gradients."""

import dataclasses
from typing import Any

import numpy as np

from zoo.attacks.base import Attack, parameter
from zoo.attacks.objectives import margin
from zoo.attacks.registry import register_attack
from zoo.utils import checks


@register_attack("spsa")
@dataclasses.dataclass(frozen=True)
class SPSA(Attack):
    """Ascends the margin by random finite differences, one image at a time.

    Reference:
        Uesato et al.: Adversarial Risk and the Dangers of Evaluating Against Weak Attacks, 2018.
    """

    norms = ("linf",)
    backends = ("tensorflow",)  # cleverhans implements this attack for TensorFlow only

    steps: int = parameter(
        20,
        "optimizer steps (fewer for an image once it fools the model)",
        checks.positive_integer,
        cleverhans="nb_iter",
    )
    samples: int = parameter(
        128,
        "even number of model evaluations per step",
        checks.positive_even_integer,
        cleverhans="spsa_samples",
    )
    learning_rate: float | None = parameter(
        None,
        "learning rate of Adam, in input units (None: 2.5 · eps / steps)",
        checks.positive_number,
    )
    delta: float = parameter(
        0.01, "size of the differences, in input units", checks.positive_number
    )

    def run(self, victim, x, y, eps, norm, random):
        import tensorflow as tf

        rate = 2.5 * eps.below / self.steps if self.learning_rate is None else self.learning_rate
        one = victim.compiled(_compiled, self.steps, self.samples)
        seed = int(random.integers(2**31))
        rest = [tf.constant(value, tf.float32) for value in (eps.below, rate, self.delta)]
        x_adv = [
            one(image[None], label[None], tf.constant([seed, index]), *rest)[0]
            for index, (image, label) in enumerate(zip(x, y, strict=True))
        ]
        return np.array(x_adv, np.float32).reshape(x.shape)


def _compiled(victim, steps, samples):
    """The attack on one image, compiled once for all seeds, budgets and step sizes."""
    import tensorflow as tf
    from cleverhans.tf2.attacks import spsa as cleverhans_spsa

    def uniform(shape, seed, step, largest):
        # Stateless random numbers neither use nor change the program's own random state.
        random: Any = tf.random  # type checkers do not know tf.random.experimental
        seed = random.experimental.stateless_fold_in(seed, tf.cast(step, tf.int32))
        return tf.random.stateless_uniform(shape, seed, -largest, largest)

    class Adam(cleverhans_spsa.SPSAAdam):
        """The optimizer of cleverhans, whose constructor passes an argument that Keras 3 lacks."""

        def __init__(self):
            tf.keras.optimizers.Adam.__init__(self)
            self._num_samples = samples // 2
            self._num_iters = 1

        def minimize(self, loss_fn, x, optim_state):
            # _get_delta needs the number of the step, but does not get it as an argument.
            self.step = optim_state["t"] + 1.0
            return super().minimize(loss_fn, x, optim_state)

        def _get_delta(self, x, delta):
            shape = [self._num_samples, *x.shape[1:]]
            return delta * tf.sign(uniform(shape, self.seed, self.step, 1.0))

    optimizer = Adam()

    def loss(image, label):
        # cleverhans minimises its loss.
        return -margin(label, victim(image))

    @tf.function
    def one(image, label, seed, eps, learning_rate, delta):
        optimizer.seed, optimizer.lr, optimizer._delta = seed, learning_rate, delta
        start = [uniform(image.shape, seed, 0, eps)]

        def project_change(change, *args, **kwargs):
            # cleverhans draws the first change from the program's random state, so we replace it.
            change = start.pop() if start else change
            return cleverhans_spsa._project_perturbation(change, *args, **kwargs)

        return cleverhans_spsa.projected_optimization(
            loss,
            image,
            label,
            eps,
            steps,
            optimizer,
            clip_min=0.0,
            clip_max=1.0,
            early_stop_loss_threshold=0.0,
            project_perturbation=project_change,
        )

    return one
