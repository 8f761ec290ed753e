"""The gradient step that several attacks share, and a compiled gradient for cleverhans."""

import sys
import types
from typing import Any

import numpy as np

from zoo.attacks.objectives import OBJECTIVES


def step_length(step_size, eps, steps):
    """Length of a step as a float: ``step_size``; if None, ``2.5 · eps / steps``, at most eps."""
    return min(eps.below, 2.5 * eps.below / steps) if step_size is None else step_size


def ascent_direction(victim, x, y, norm, loss):
    """The direction of unit norm in which an objective grows fastest.

    It is one step of cleverhans' fast gradient method with a budget of 1.

    Args:
        victim: :class:`zoo.attacks.victim.Victim`.
        x, y: images and labels.
        norm: ``"linf"`` or ``"l2"``.
        loss: a key of :data:`zoo.attacks.objectives.OBJECTIVES`.

    Returns:
        float64 array of the shape of ``x``: signs for ``"linf"``, unit length for ``"l2"``.
    """
    import keras

    order = np.inf if norm == "linf" else 2
    step = _jax_step if keras.backend.backend() == "jax" else _tensorflow_step
    return np.asarray(step(victim, x, y, order, loss), np.float64) - x


def _tensorflow_step(victim, x, y, order, loss):
    import tensorflow as tf
    from cleverhans.tf2.attacks.fast_gradient_method import fast_gradient_method

    images, labels = tf.convert_to_tensor(x), tf.convert_to_tensor(y)
    step = with_own_gradient(victim, fast_gradient_method, order)
    return step(victim, images, 1.0, order, OBJECTIVES[loss], y=labels)


def with_own_gradient(victim, attack, order):
    """An attack of cleverhans for TensorFlow, with a gradient that is compiled for one model.

    cleverhans compiles the gradients of all models in one global function. That function keeps
    every model that was ever attacked in memory, and is compiled again for every number of images.

    Args:
        victim: :class:`zoo.attacks.victim.Victim`.
        attack: function of cleverhans that calls ``compute_gradient``.
        order: order of the norm of the perturbation, ``np.inf`` or ``2``.
    """
    gradient = victim.compiled(_tensorflow_gradient, order)
    names = {**attack.__globals__, "compute_gradient": gradient}
    return types.FunctionType(attack.__code__, names, attack.__name__, attack.__defaults__)


def _tensorflow_gradient(victim, order):
    import tensorflow as tf
    from cleverhans.tf2.utils import compute_gradient

    plain = compute_gradient.python_function

    def scaled(*args, **kwargs):
        return _scaled(plain(*args, **kwargs))

    return tf.function(scaled if order == 2 else plain, reduce_retracing=True)


def _scaled(gradient):
    """Each image's gradient divided by its largest absolute entry.

    cleverhans divides a gradient by its L2 length, but by no less than 1e-6, and the gradient of
    the cross-entropy is far shorter at an image of which a network is sure.
    """
    from keras import ops

    largest = ops.max(ops.abs(gradient), axis=(1, 2, 3), keepdims=True)
    usable = ops.logical_and(ops.isfinite(largest), largest > 0)
    return gradient / ops.where(usable, largest, 1.0)


def _jax_step(victim, x, y, order, loss):
    from zoo.ops.float32 import LARGEST

    classes = np.eye(victim.model.num_classes, dtype=np.float32)
    weights = classes[y]
    if loss == "margin":
        # cleverhans' loss for JAX is linear in the label. If it is given one label minus another,
        # it becomes the difference of the two logits, which is the margin.
        logits = victim.model.logits(x, batch_size=max(1, len(x)))
        logits = logits - LARGEST * weights
        weights = weights - classes[np.argmax(logits, axis=1)]
    step = victim.compiled(_jax_compiled_step, order)
    return step(variables_of(victim.model), x, weights)


def variables_of(model):
    """The values of a model's weights, as ``model.stateless_call`` takes them."""
    groups = (model.trainable_variables, model.non_trainable_variables)
    return [[variable.value for variable in group] for group in groups]


def _jax_compiled_step(victim, order):
    import jax

    fast_gradient_method = _cleverhans_for_jax()

    @jax.custom_vjp
    def unchanged(images):
        return images

    # As in `_tensorflow_gradient`: the gradient that cleverhans gets has a largest entry of 1.
    unchanged.defvjp(lambda images: (images, None), lambda _, gradient: (_scaled(gradient),))

    def step(variables, x, weights):
        def logits(images):
            images = unchanged(images) if order == 2 else images
            # Weights are arguments: compiled in, they would stay as they were.
            return victim.model.stateless_call(*variables, images, training=False)[0]

        return fast_gradient_method(logits, x, 1.0, order, y=weights)

    return jax.jit(step)


def _cleverhans_for_jax():
    """cleverhans' attack. It imports ``stax`` from the place where JAX had it in former times."""
    from jax.example_libraries import stax

    former = "jax.experimental.stax"
    missing = former not in sys.modules
    if missing:
        module: Any = types.ModuleType(former)
        module.logsoftmax = stax.logsoftmax
        sys.modules[former] = module
    try:
        from cleverhans.jax.attacks.fast_gradient_method import fast_gradient_method
    finally:
        if missing:
            del sys.modules[former]
    return fast_gradient_method
