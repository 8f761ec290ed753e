"""Simultaneous perturbation stochastic approximation: an attack without gradients."""

import numpy as np

from zoo.attacks.ball import project
from zoo.attacks.victim import require_tensorflow


def spsa(
    victim,
    x,
    y,
    eps,
    norm,
    *,
    random,
    steps=20,
    samples=128,
    learning_rate=None,
    delta=0.01,
):
    """Descends the margin by random finite differences, one image at a time.

    Args:
        victim: :class:`zoo.attacks.victim.Victim`.
        x, y: images and labels, checked.
        eps, norm: of the ball; only ``"linf"``.
        random: seeds the differences.
        steps: optimizer steps; an image that is fooled stops early.
        samples: even number of model evaluations per step.
        learning_rate: of Adam, in input units; by default ``2.5 · eps / steps``.
        delta: size of the differences, in input units.

    Raises:
        ValueError: for another norm, or an odd number of samples.

    Reference:
        Uesato et al.: Adversarial Risk and the Dangers of Evaluating Against Weak Attacks, 2018.
    """
    require_tensorflow("spsa")
    if norm != "linf":
        raise ValueError(f"the spsa attack is for norm 'linf', got {norm!r}")
    if samples < 2 or samples % 2:
        raise ValueError(f"samples must be a positive even number, got {samples!r}")
    import tensorflow as tf

    tf.random.set_seed(_seed(random))
    if learning_rate is None:
        learning_rate = 2.5 * eps.below / steps
    # Compiled for each batch: the seed of a compiled function is the one it was compiled under.
    one = _compiled(victim, eps.below, steps, samples, learning_rate, delta)
    x_adv = [one(image[None], label[None])[0] for image, label in zip(x, y, strict=True)]
    return project(np.array(x_adv, np.float32).reshape(x.shape), x, eps, norm)


def skip_spsa(random, shape, norm, **_):
    """Draw what :func:`spsa` draws for a batch, and leave it at that."""
    _seed(random)


def _seed(random):
    return int(random.integers(2**31))


def _compiled(victim, eps, steps, samples, learning_rate, delta):
    import tensorflow as tf
    from cleverhans.tf2.attacks import spsa as cleverhans_spsa

    class Adam(cleverhans_spsa.SPSAAdam):
        """Their optimizer, whose constructor passes an argument that Keras 3 has no more."""

        def __init__(self):
            tf.keras.optimizers.Adam.__init__(self, learning_rate=learning_rate)
            self.lr = learning_rate
            self._delta = delta
            self._num_samples = samples // 2
            self._num_iters = 1

    optimizer = Adam()

    def loss(image, label):
        logits = victim(image)
        return -cleverhans_spsa.margin_logit_loss(logits, label, nb_classes=logits.shape[-1])

    @tf.function
    def one(image, label):
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
        )

    return one
