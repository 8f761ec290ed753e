"""How far a layer really stretches, to hold against the bound it claims."""

import keras
import numpy as np


def matrix_of(layer, input_shape):
    """The whole operator of an affine layer as a float64 matrix, from its impulse responses.

    Args:
        layer: affine.
        input_shape: without the batch.
    """
    size = int(np.prod(input_shape))
    impulses = np.concatenate([np.zeros((1, size)), np.eye(size)]).astype("float32")
    outputs = keras.ops.convert_to_numpy(layer(impulses.reshape(-1, *input_shape)))
    outputs = outputs.reshape(size + 1, -1).astype("float64")
    return outputs[1:] - outputs[0]


def steepest(function, input_shape, random, *, rounds=40, population=64):
    """The largest ``‖f(a) − f(b)‖ / ‖a − b‖`` that a search over pairs finds.

    Args:
        function: of a float32 array ``(n, *input_shape)``.
        input_shape: without the batch.
    """
    a = random.normal(size=(population, *input_shape))
    step = random.normal(size=a.shape)
    best = np.zeros(population)
    for _ in range(rounds):
        size = 10.0 ** random.uniform(-2, 0, size=(population, *[1] * len(input_shape)))
        new_a = a + size * random.normal(size=a.shape) * random.integers(0, 2)
        new_step = step + size * random.normal(size=a.shape)
        pairs = np.stack([new_a, new_a + new_step]).astype("float32")
        first, second = (keras.ops.convert_to_numpy(function(x)).astype("float64") for x in pairs)
        moved = np.linalg.norm((second - first).reshape(population, -1), axis=1)
        distance = (pairs[1].astype("float64") - pairs[0]).reshape(population, -1)
        ratio = moved / np.linalg.norm(distance, axis=1)
        better = ratio > best
        a[better], step[better], best[better] = new_a[better], new_step[better], ratio[better]
        # The worse half goes on from the better one.
        order = np.argsort(best)
        half = population // 2
        a[order[:half]], step[order[:half]] = a[order[half:]], step[order[half:]]
        best[order[:half]] = best[order[half:]]
    return best.max()


def stretch(layer, x, epochs=20):
    """Trains the layer to return ten times its inputs' size: whatever it can do to stretch."""
    inputs = keras.Input(x.shape[1:])
    model = keras.Model(inputs, layer(inputs))
    model.compile(keras.optimizers.Adam(0.05), lambda y_true, y_pred: -keras.ops.square(y_pred))
    model.fit(x, np.zeros(len(x)), epochs=epochs, verbose=0, batch_size=16)
