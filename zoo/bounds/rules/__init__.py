"""One rule for each type of layer. Importing this package registers all of them."""

from zoo.bounds.rules import (
    activations,
    blocked,
    conv,
    dense,
    merge,
    pooling,
    scaling,
    shape,
    zoo_layers,
)

__all__ = [
    "activations",
    "blocked",
    "conv",
    "dense",
    "merge",
    "pooling",
    "scaling",
    "shape",
    "zoo_layers",
]
