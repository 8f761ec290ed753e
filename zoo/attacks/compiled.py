"""What the attacks of this package compute with a model, compiled once per model."""

import numpy as np

from zoo.attacks.gradient import variables_of
from zoo.utils.backend import backend_name


def logits_of(victim, x):
    """Logits of images.

    Args:
        victim: :class:`zoo.attacks.victim.Victim`.
        x: float32 array ``(n, height, width, channels)``, with at least one image.

    Returns:
        float32 array ``(n, classes)``.
    """
    if backend_name() == "jax":
        compute = victim.compiled(_jax_logits)
        return np.asarray(compute(variables_of(victim.model), padded(x)))[: len(x)]
    return victim.compiled(_tensorflow_logits)(np.asarray(x, np.float32)).numpy()


def value_and_gradient(victim, objective, x, *labels):
    """An objective, logits and the objective's gradient in the images, in one pass.

    Args:
        victim: :class:`zoo.attacks.victim.Victim`.
        objective: function of a module, of the labels and the logits: see
            :mod:`zoo.attacks.objectives`.
        x: float32 array ``(n, height, width, channels)``, with at least one image.
        labels: what the objective takes before the logits, each an int64 array ``(n,)``.

    Returns:
        ``(values, logits, gradient)``: float64 arrays ``(n,)``, ``(n, classes)`` and of the shape
        of ``x``. Where the gradient is not finite, it is 0.
    """
    if backend_name() == "jax":
        compute = victim.compiled(_jax_gradient, objective)
        found = compute(variables_of(victim.model), padded(x), *map(padded, labels))
    else:
        compute = victim.compiled(_tensorflow_gradient, objective, len(labels))
        found = compute(np.asarray(x, np.float32), *labels)
    values, logits, gradient = (np.asarray(part, np.float64)[: len(x)] for part in found)
    return values, logits, np.where(np.isfinite(gradient), gradient, 0.0)


def padded(array):
    """On JAX, repeat the last row until the number of rows is a power of two of at least 8.

    JAX compiles anew for every number of images, and attacks drop the images that they fooled.

    Args:
        array: array with any number of rows. On TensorFlow, or without rows, it is returned as is.
    """
    if backend_name() != "jax" or not len(array):
        return array
    missing = max(8, 1 << (len(array) - 1).bit_length()) - len(array)
    return np.concatenate([array, np.repeat(array[-1:], missing, axis=0)]) if missing else array


def _tensorflow_logits(victim):
    import tensorflow as tf

    signature = [tf.TensorSpec((None, *victim.model.image_shape), tf.float32)]
    return tf.function(victim, input_signature=signature, autograph=False)


def _tensorflow_gradient(victim, objective, count):
    import tensorflow as tf

    def compute(x, *labels):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            logits = victim(x)
            values = objective(*labels, logits)
        gradient = tape.gradient(values, x)
        return values, logits, tf.zeros_like(x) if gradient is None else gradient

    images = tf.TensorSpec((None, *victim.model.image_shape), tf.float32)
    signature = [images, *[tf.TensorSpec((None,), tf.int64)] * count]
    return tf.function(compute, input_signature=signature, autograph=False)


def _jax_logits(victim):
    import jax

    def compute(variables, x):
        # Weights are arguments: compiled in, they would stay as they were.
        return victim.model.stateless_call(*variables, x, training=False)[0]

    return jax.jit(compute)


def _jax_gradient(victim, objective):
    import jax

    def compute(variables, x, *labels):
        def total(images):
            logits, _ = victim.model.stateless_call(*variables, images, training=False)
            values = objective(*labels, logits)
            return values.sum(), (values, logits)

        (_, (values, logits)), gradient = jax.value_and_grad(total, has_aux=True)(x)
        return values, logits, gradient

    return jax.jit(compute)
