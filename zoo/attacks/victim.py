"""What an attack sees of a model: logits, and one callable that stays the same.

cleverhans compiles its gradient once per callable, so a new lambda each time would compile each
time.
"""

import keras
import numpy as np


class Victim:
    """A model under attack.

    Args:
        model: a :class:`zoo.models.CertifiedModel`.
    """

    def __init__(self, model):
        self.model = model

    def __call__(self, images):
        return self.model(images, training=False)

    def gap(self, x, y):
        """Logit of the label minus the largest other one: float64 ``(n,)``, below 0 when fooled."""
        logits = self.model.logits(x, batch_size=max(1, len(x))).astype(np.float64)
        rows = np.arange(len(y))
        own = logits[rows, y].copy()
        logits[rows, y] = -np.inf
        return own - logits.max(axis=1)


def victim(model):
    """The one :class:`Victim` of a model."""
    # Set past Keras's tracking: the victim holds the model, which would make the graph a circle.
    if "_zoo_victim" not in model.__dict__:
        object.__setattr__(model, "_zoo_victim", Victim(model))
    return model._zoo_victim


def require_tensorflow(attack):
    """Raise unless the backend is TensorFlow, where cleverhans has the attack.

    Raises:
        NotImplementedError: naming attack and backend.
    """
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise NotImplementedError(
            f"cleverhans has no {attack!r} attack for the {backend} backend; "
            "use 'fgsm' or 'pgd', or the tensorflow backend"
        )
