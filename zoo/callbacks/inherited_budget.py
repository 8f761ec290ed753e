"""A warning when images do not allow the budget that a pretrained model was trained for."""

import warnings
from typing import Any

import keras
import numpy as np

from zoo.callbacks.certified_accuracy import advice
from zoo.data.image_set import ImageSet
from zoo.utils import checks, inputs
from zoo.utils.table import floor_text

# Images that are certified: they tell a third from a half, and take seconds with any method.
_COUNT = 64


class InheritedBudget(keras.callbacks.Callback):
    """Warns after ``fit`` if few of the images that are classified rightly are certified.

    ``fit`` of a model from ``zoo.load(name, num_classes=…)`` adds this callback by itself, because
    such a model trains for the budget of the images that it was made for. With an ``epsilon`` of
    the user's own it is not added.

    Args:
        images, labels: images and labels of the training or of its validation. The first 64 are
            certified, once.
    """

    def __init__(self, images: Any, labels: Any) -> None:
        super().__init__()
        self.images, self.labels = images[:_COUNT], labels[:_COUNT]

    def on_train_end(self, logs: Any = None) -> None:
        self.model.sync_jax_state()
        labels = checks.labels(self.labels, len(self.images), self.model.num_classes)
        try:
            certificate = self.model.certify(self.images)
        except (ValueError, RuntimeError) as error:
            # The training is complete, and what follows it must not be lost.
            warnings.warn(
                f"the model was trained, but cannot be certified as it is: {error}",
                UserWarning,
                stacklevel=2,
            )
            return
        clean = float(np.mean(certificate.prediction == labels))
        certified = certificate.accuracy(labels, self.model.epsilon)
        median = floor_text(float(np.median(certificate.radius)), 4)
        if certified < clean / 2:
            warnings.warn(
                f"of {len(labels)} images, {clean:.0%} are classified rightly, and {certified:.0%} "
                f"are certified at {self.model.epsilon}, the budget that the pretrained model was "
                f"trained for; the median radius is {median}." + advice(self.model),
                UserWarning,
                stacklevel=2,
            )


def some_images(x: Any, y: Any) -> tuple[Any, Any] | None:
    """Some images and labels of what ``fit`` was given; None if that would use them up.

    Args:
        x, y: as for ``fit``; or validation data.
    """
    if isinstance(x, ImageSet):
        x, y = x.images, x.labels
    elif inputs.is_data_set(x):
        if iter(x) is x:
            return None  # a generator
        batch = inputs.parts_of(next(iter(x), ()))
        x, y = (*batch, None)[:2]
    if not inputs.is_array(x) or y is None:
        return None
    return inputs.array(x[:_COUNT], "x"), inputs.array(y[:_COUNT], "y")
