"""Weights of one model for another one with the same layers."""

from typing import Any

import keras
import numpy as np


def set_weights(layer: keras.layers.Layer, values: list[Any]) -> None:
    """Like Keras's ``layer.set_weights``, also for layers that were adapted to data.

    A ``keras.layers.Normalization`` computes with constants, which Keras makes of its weights when
    it is built or adapted, but not when these weights are set.

    Args:
        layer: a built layer or model.
        values: list of arrays, as of ``get_weights()``.
    """
    layer.set_weights(values)
    for part in layer._flatten_layers():
        if isinstance(part, keras.layers.Normalization):
            part.finalize_state()


def are_finite(model: keras.Model) -> bool:
    """Whether no weight of a model is NaN or infinite, as after a training that diverged."""
    return all(np.isfinite(weight).all() for weight in model.get_weights())
