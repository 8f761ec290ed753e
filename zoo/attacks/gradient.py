"""The gradient step that several attacks share, and a compiled gradient for cleverhans."""

import types

import numpy as np

from zoo.attacks.objectives import OBJECTIVES


def step_length(step_size, eps, steps):
    """Length of a step as a float: ``step_size``; if None, ``2.5 · eps / steps``, at most eps."""
    return min(eps.below, 2.5 * eps.below / steps) if step_size is None else step_size


def ascent_direction(victim, x, y, norm, loss):
    """The direction of unit norm in which an objective grows fastest.

    Args:
        victim: :class:`zoo.attacks.victim.Victim`.
        x, y: images and labels.
        norm: ``"linf"`` or ``"l2"``.
        loss: a key of :data:`zoo.attacks.objectives.OBJECTIVES`.

    Returns:
        float64 array of the shape of ``x``: signs for ``"linf"``, unit length for ``"l2"``.
    """
    import keras

    if keras.backend.backend() == "jax":
        return _direction(_jax_gradient(victim, x, y, OBJECTIVES[loss]), norm)
    return _tensorflow_step(victim, x, y, norm, OBJECTIVES[loss]) - x


def _tensorflow_step(victim, x, y, norm, objective):
    """One step of cleverhans' fast gradient method with a budget of 1, as a float64 array."""
    import tensorflow as tf
    from cleverhans.tf2.attacks.fast_gradient_method import fast_gradient_method

    images, labels = tf.convert_to_tensor(x), tf.convert_to_tensor(y)
    step = with_own_gradient(victim, fast_gradient_method)
    order = np.inf if norm == "linf" else 2
    return np.asarray(step(victim, images, 1.0, order, objective, y=labels), np.float64)


def with_own_gradient(victim, attack):
    """An attack of cleverhans for TensorFlow, with a gradient that is compiled for one model.

    cleverhans compiles the gradients of all models in one global function. That function keeps
    every model that was ever attacked in memory, and is compiled again for every number of images.

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


def _direction(gradient, norm):
    """The signs of a gradient for ``"linf"``, the gradient scaled to unit length for ``"l2"``."""
    if norm == "linf":
        return np.sign(gradient)
    size = np.sqrt(np.sum(np.square(gradient), axis=(1, 2, 3), keepdims=True))
    return gradient / np.maximum(size, 1e-6)  # cleverhans takes the square as at least 1e-12


def _jax_gradient(victim, x, y, objective):
    """Gradient of an objective with respect to the images, as a float64 array."""
    model = victim.model
    variables = [
        [v.value for v in vs] for vs in (model.trainable_variables, model.non_trainable_variables)
    ]
    gradient = victim.compiled(_jax_compiled_gradient, objective)
    return np.asarray(gradient(variables, x, y), np.float64)


def _jax_compiled_gradient(victim, objective):
    import jax

    from zoo.ops.gradients import input_gradient

    def gradient(variables, x, y):
        def values(images):
            # The weights are arguments, because compiled constants would not follow training.
            logits, _ = victim.model.stateless_call(*variables, images, training=False)
            return objective(y, logits)

        return input_gradient(values, x)

    return jax.jit(gradient)
