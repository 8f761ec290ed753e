"""A model under attack: its logits, and the functions that attacks compile for it."""

import threading

from zoo.attacks.compiled import padded
from zoo.attacks.gap import gap_of
from zoo.bounds.model_state import settings_of

# The number of compiled functions that are kept for each model.
_KEPT = 8


class Victim:
    """A model under attack.

    Args:
        model: a :class:`zoo.models.CertifiedModel`.
        settings: what its compiled functions depend on, apart from the values of weights.
    """

    def __init__(self, model, settings=None):
        self.model, self.settings = model, settings
        self._compiled = {}
        self._surrogate, self._lock = None, threading.Lock()

    def __call__(self, images):
        return self.model(images, training=False)

    def gap(self, x, y, target=None):
        """How far the model is from being fooled: float64 ``(n,)``, below 0 where it is.

        Args:
            x, y: images and labels.
            target: classes that the images are to be taken for; None for any but the label.

        Returns:
            Logit of the label minus the largest other one; with a target, the largest other logit
            minus that of the target.
        """
        images = padded(x)
        logits = self.model.logits(images, batch_size=max(1, len(images)))
        return gap_of(logits[: len(x)], y, target)

    @property
    def surrogate(self):
        """The :class:`zoo.attacks.surrogate.Surrogate` of the model, made when first asked for."""
        from zoo.attacks.surrogate import Surrogate

        with self._lock:
            if self._surrogate is None:
                self._surrogate = Surrogate(self.model)
            return self._surrogate

    def compiled(self, make, *settings):
        """The cached result of ``make(victim, *settings)``, a compiled function.

        Compiling takes longer than a step of an attack. The function that has not been used for the
        longest time is dropped, so that many settings do not fill the memory.

        Args:
            make: function that compiles a function and returns it.
            settings: hashable values that are compiled into the function.
        """
        key = (make, *settings)
        found = self._compiled.pop(key, None)
        # A dictionary keeps the order of insertion, so the function used last comes last.
        self._compiled[key] = make(self, *settings) if found is None else found
        while len(self._compiled) > _KEPT:
            self._compiled.pop(next(iter(self._compiled)), None)
        return self._compiled[key]


def victim(model):
    """The :class:`Victim` of a model, which is made again if a setting of a layer has changed.

    Functions that were compiled before the change would attack the model with its old settings.
    """
    # Compiled functions of JAX take trainable weights apart from the others.
    settings = [settings_of(model), [id(weight) for weight in model.trainable_variables]]
    known = vars(model).get("_zoo_victim")
    if known is None or known.settings != settings:
        known = Victim(model, settings)
        # Keras must not track the victim: it holds the model, which would then contain itself.
        object.__setattr__(model, "_zoo_victim", known)
    return known
