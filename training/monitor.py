"""What a history records after each epoch beside the loss and the accuracy."""

import keras
import numpy as np

from zoo.attacks.victim import victim
from zoo.utils import checks


class MarginMonitor(keras.callbacks.Callback):
    """Adds the mean margin, and the margin that the bound asks for, to the logs of each epoch.

    ``margin`` is the mean over the images of the label's logit minus the largest other one;
    ``required`` is √2 ε times the certified Lipschitz constant of the network.

    Args:
        model: a :class:`zoo.models.LipschitzMarginNet`.
        images: :class:`zoo.data.ImageSet` that the margin is averaged over.

    Raises:
        TypeError: if the model has no such constant.
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
