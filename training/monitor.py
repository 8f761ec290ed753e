"""A callback that adds margins to the history of a training."""

import keras
import numpy as np

from zoo.attacks.victim import victim
from zoo.utils import checks


class MarginMonitor(keras.callbacks.Callback):
    """Adds the mean margin, and the margin that certification needs, to the logs of each epoch.

    ``margin`` is the label's logit minus the largest other one, averaged over the images.
    ``required`` is √2 ε times the certified Lipschitz constant of the network.

    Args:
        model: a :class:`zoo.models.LipschitzMarginNet`.
        images: :class:`zoo.data.ImageSet` over which the margin is averaged.

    Raises:
        TypeError: if the model has no Lipschitz constant of its network.
    """

    def __init__(self, model, images):
        super().__init__()
        if not hasattr(model, "network_lipschitz"):
            raise TypeError(f"a {type(model).__name__} has no Lipschitz constant of its network")
        self.images = checks.images(images.images, model.image_shape)
        self.labels = images.labels

    def on_epoch_end(self, epoch, logs=None):
        if logs is None:
            return
        self.model.sync_jax_state()
        logs["margin"] = float(np.mean(victim(self.model).gap(self.images, self.labels)))
        lipschitz = self.model.network_lipschitz()
        logs["required"] = float(np.sqrt(2.0) * lipschitz * float(self.model.epsilon))
