"""A network of ℓp distances with the weights of a network of ℓ∞ distances."""

import contextlib
import random
import threading

import numpy as np


class Surrogate:
    """A copy of a model whose ℓ∞ distances are ℓp distances at inference too.

    The gradient of an ℓ∞ distance has a single non-zero entry. That of an ℓp distance depends on
    every pixel, and its direction is useful where both networks are alike. Only the gradients of
    the copy are used: its predictions say nothing about the model, which is not changed.

    Args:
        model: a model whose layers of distances have an exponent ``p``, see
            :func:`distance_layers`.

    Attributes:
        lock: to be held from :meth:`prepare` to the last use of the copy. Another thread that
            attacks the model uses the same copy, with an exponent of its own.
    """

    def __init__(self, model):
        # This loads Keras, which is not to happen before something is attacked.
        from zoo.attacks.victim import Victim

        self._model, self.lock = model, threading.Lock()
        with _random_states_kept():
            copy = type(model).from_config(model.get_config())
            # This builds the layers of a model that builds them when called.
            copy(np.zeros((1, *model.image_shape), "float32"))
        for layer in distance_layers(copy):
            _compute_with_p(layer)
        self.victim = Victim(copy)

    def prepare(self, p):
        """Take the weights that the model has now, and an exponent.

        Args:
            p: the exponent of all distances, at least 2.

        Returns:
            :class:`zoo.attacks.victim.Victim` of the copy.
        """
        self.victim.model.set_weights(self._model.get_weights())
        self.set_p(p)
        return self.victim

    def set_p(self, p):
        """Another exponent for all distances of the copy, at least 2."""
        for layer in distance_layers(self.victim.model):
            layer.p = p


def distance_layers(model):
    """The layers of a model that compute ℓ∞ distances and can compute ℓp distances: a list."""
    from zoo.layers.linf_distance import DistanceNeurons

    return [layer for layer in model._flatten_layers() if isinstance(layer, DistanceNeurons)]


def exponents(first, last, steps):
    """Exponents that grow by the same factor from step to step: a list of ``steps`` floats."""
    return [first * (last / first) ** (step / max(1, steps - 1)) for step in range(steps)]


def _compute_with_p(layer):
    """Make a layer use its exponent whatever it is asked for.

    A certificate refuses a layer whose method was replaced, so no copy can be taken for the model.
    """
    of_class = layer.call
    layer.trainable = True  # a frozen layer ignores its exponent
    layer.call = lambda inputs, training=False: of_class(inputs, training=True)


@contextlib.contextmanager
def _random_states_kept():
    """A context in which weights may be initialised without a trace in the program's own states."""
    from keras.src.backend.common import global_state

    state = random.getstate()
    generator = global_state.get_global_attribute("global_seed_generator")
    value = None if generator is None else generator.state.value
    try:
        yield
    finally:
        random.setstate(state)
        if generator is not None:
            generator.state.assign(value)
