"""Operations of ``keras.ops`` that compute what a layer computes."""

import math

import keras

from zoo.typing import Shape

# The names of the operations' classes, and the activations that they are.
_ACTIVATIONS = {
    "HardSigmoid": "hard_sigmoid",
    "HardTanh": "hard_tanh",
    "Relu": "relu",
    "Relu6": "relu6",
    "Selu": "selu",
    "Sigmoid": "sigmoid",
    "Silu": "silu",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "Tanh": "tanh",
}


def layer_of(operation: keras.Operation, shape: Shape) -> keras.layers.Layer | None:
    """The layer that computes the same as an operation with one tensor, or None.

    Keras writes ``keras.activations.relu(x)`` and ``keras.ops.reshape(x, …)`` of a symbolic tensor
    as operations, not as layers, and has no public names for their classes.

    Args:
        operation: an operation that is no layer.
        shape: shape of the tensor without the batch.
    """
    kind, options = type(operation), {"name": operation.name, "dtype": "float32"}
    if not kind.__module__.startswith("keras.src."):
        return None
    if kind.__name__ in _ACTIVATIONS:
        return keras.layers.Activation(_ACTIVATIONS[kind.__name__], **options)
    if kind.__name__ == "ReLU":
        return keras.layers.ReLU(
            operation.max_value, operation.negative_slope, operation.threshold, **options
        )
    if kind.__name__ == "LeakyRelu":
        return keras.layers.LeakyReLU(operation.negative_slope, **options)
    if kind.__name__ == "Elu":
        return keras.layers.ELU(operation.alpha, **options)
    if kind.__name__ == "Reshape":
        batch, *target = operation.newshape
        # Any other target would mix the entries of different images.
        if batch == -1 and math.prod(target) == math.prod(shape):
            return keras.layers.Reshape(target, **options)
    return None
