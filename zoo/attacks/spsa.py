"""Simultaneous perturbation stochastic approximation: an attack without gradients."""

import numpy as np

from zoo.attacks.ball import project


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

    Reference:
        Uesato et al.: Adversarial Risk and the Dangers of Evaluating Against Weak Attacks, 2018.
    """
    import tensorflow as tf

    if learning_rate is None:
        learning_rate = 2.5 * eps.below / steps
    one = victim.compiled(_compiled, steps, samples)
    seed = _seed(random)
    rest = [tf.constant(value, tf.float32) for value in (eps.below, learning_rate, delta)]
    x_adv = [
        one(image[None], label[None], tf.constant([seed, index]), *rest)[0]
        for index, (image, label) in enumerate(zip(x, y, strict=True))
    ]
    return project(np.array(x_adv, np.float32).reshape(x.shape), x, eps, norm)


def skip_spsa(random, shape, norm, **_):
    """Draw what :func:`spsa` draws for a batch, and leave it at that."""
    _seed(random)


def _seed(random):
    return int(random.integers(2**31))


def _compiled(victim, steps, samples):
    """The attack on one image: compiled once, whatever the seed, the budget and the step sizes."""
    import tensorflow as tf
    from cleverhans.tf2.attacks import spsa as cleverhans_spsa

    def uniform(shape, seed, step, largest):
        # Of the seed alone: the program's own random state is neither used nor changed.
        seed = tf.random.experimental.stateless_fold_in(seed, tf.cast(step, tf.int32))
        return tf.random.stateless_uniform(shape, seed, -largest, largest)

    class Adam(cleverhans_spsa.SPSAAdam):
        """Their optimizer, whose constructor passes an argument that Keras 3 has no more."""

        def __init__(self):
            tf.keras.optimizers.Adam.__init__(self)
            self._num_samples = samples // 2
            self._num_iters = 1

        def minimize(self, loss_fn, x, optim_state):
            # Where the differences are drawn, the number of the step is not passed on.
            self.step = optim_state["t"] + 1.0
            return super().minimize(loss_fn, x, optim_state)

        def _get_delta(self, x, delta):
            shape = [self._num_samples, *x.shape[1:]]
            return delta * tf.sign(uniform(shape, self.seed, self.step, 1.0))

    optimizer = Adam()

    def loss(image, label):
        logits = victim(image)
        return -cleverhans_spsa.margin_logit_loss(logits, label, nb_classes=logits.shape[-1])

    @tf.function
    def one(image, label, seed, eps, learning_rate, delta):
        optimizer.seed, optimizer.lr, optimizer._delta = seed, learning_rate, delta
        start = [uniform(image.shape, seed, 0, eps)]

        def project_change(change, *args, **kwargs):
            # The first change is their start, which they draw from the program's random state.
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
