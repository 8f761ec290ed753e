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
    step = with_own_gradient(victim, fast_gradient_method)
    return step(victim, images, 1.0, order, loss_fn, y=labels)


def with_own_gradient(victim, attack):
    """An attack of cleverhans for TensorFlow, with the gradient compiled for this model alone.

    cleverhans compiles the gradients of all models in one function. It keeps every model that was
    ever attacked, and compiles again for every number of images.

    Args:
        victim: :class:`zoo.attacks.victim.Victim`.
        attack: function of cleverhans that calls ``compute_gradient``.
    """
    names = {**attack.__globals__, "compute_gradient": victim.compiled(_tensorflow_gradient)}
    return types.FunctionType(attack.__code__, names, attack.__name__, attack.__defaults__)


def _tensorflow_gradient(victim):
    import tensorflow as tf
    from cleverhans.tf2.utils import compute_gradient

    return tf.function(compute_gradient.python_function, reduce_retracing=True)


def _margin_loss(labels, logits):
    import tensorflow as tf

    own = tf.one_hot(labels, logits.shape[-1])
    other = tf.reduce_max(logits - own * 1e9, axis=-1)
    return other - tf.reduce_sum(own * logits, axis=-1)


def _jax_step(victim, x, y, order, loss):
    import jax.numpy as jnp

    classes = np.eye(victim.model.num_classes, dtype=np.float32)
    target = classes[y]
    if loss == "margin":
        # The attack's loss is linear in its label: one minus another class is their gap.
        logits = victim.model.logits(x, batch_size=max(1, len(x))) - 1e9 * target
        target = target - classes[np.argmax(logits, axis=1)]
    model = victim.model
    variables = [
        [v.value for v in vs] for vs in (model.trainable_variables, model.non_trainable_variables)
    ]
    step = victim.compiled(_jax_compiled_step, order)
    return step(variables, jnp.asarray(x), jnp.asarray(target))


def _jax_compiled_step(victim, order):
    import jax

    fast_gradient_method = _cleverhans_for_jax()

    def step(variables, x, target):
        def logits(images):
            # Weights are arguments: compiled in, they would stay as they were.
            outputs, _ = victim.model.stateless_call(*variables, images, training=False)
            return outputs

        return fast_gradient_method(logits, x, 1.0, order, y=target)

    return jax.jit(step)


def _cleverhans_for_jax():
    """The attack of cleverhans, which imports ``stax`` from where JAX had it in former times."""
    from jax.example_libraries import stax

    former = "jax.experimental.stax"
    missing = former not in sys.modules
    if missing:
        sys.modules[former] = types.ModuleType(former)
        sys.modules[former].logsoftmax = stax.logsoftmax
    try:
        from cleverhans.jax.attacks.fast_gradient_method import fast_gradient_method
    finally:
        if missing:
            del sys.modules[former]
    return fast_gradient_method
