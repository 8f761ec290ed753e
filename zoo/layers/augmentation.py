"""A layer around layers of augmentation, which act in training only."""

from typing import Any

import keras

from zoo.typing import BatchShape, Tensor


@keras.saving.register_keras_serializable(package="zoo")
class Augmentation(keras.layers.Layer):
    """Changes images in training, and is the identity everywhere else, whatever is inside.

    Keras's own layers of augmentation act whenever a caller does not say ``training=False``: so
    ``model.predict`` and ``model(x)`` are different functions of a network that has them, and a
    certificate is about the first. Inside of this layer they act in ``fit`` and in
    ``model(x, training=True)`` only. A layer of your own needs no bounds inside of it either.

    Args:
        layer: Keras layer, such as a ``keras.Sequential`` of ``RandomFlip`` and ``RandomRotation``.
            It must keep the shape of images.

    Raises:
        TypeError: for something else than a layer.
        ValueError: in training, if it changes the shape of images.

    Examples:
        >>> import keras, numpy as np, zoo
        >>> network = keras.Sequential([
        ...     keras.Input((8, 8, 1)), zoo.layers.Augmentation(keras.layers.RandomFlip()),
        ...     keras.layers.Flatten(), keras.layers.Dense(10)])
        >>> x = np.random.default_rng(0).uniform(size=(4, 8, 8, 1)).astype("float32")
        >>> certificate = zoo.certify(network, x, norm="linf")
        >>> bool((certificate.prediction == np.argmax(network(x), axis=1)).all())
        True
    """

    def __init__(self, layer: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if isinstance(layer, dict):
            layer = keras.saving.deserialize_keras_object(layer)
        if not isinstance(layer, keras.layers.Layer):
            raise TypeError(f"augmentation must be a Keras layer, got {type(layer).__name__}")
        self.layer = layer

    def build(self, input_shape: BatchShape) -> None:
        if not self.layer.built:
            self.layer.build(input_shape)
        self.built = True

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        if not training:
            return inputs
        outputs = self.layer(inputs, training=True)
        if tuple(outputs.shape[1:]) != tuple(inputs.shape[1:]):
            raise ValueError(
                f"augmentation must keep the shape of images, {tuple(inputs.shape[1:])}, but "
                f"makes {tuple(outputs.shape[1:])}"
            )
        return outputs

    def compute_output_shape(self, input_shape: BatchShape) -> BatchShape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "layer": keras.saving.serialize_keras_object(self.layer)}
