"""The neurons and blocks that the papers introduce."""

from zoo.layers.equalized_dense import EqualizedDense
from zoo.layers.linf_distance import LinfDistance, NearIdentity
from zoo.layers.linf_distance_conv import LinfDistanceConv2D, NearIdentityConv2D
from zoo.layers.mean_shift import MeanShift

__all__ = [
    "EqualizedDense",
    "LinfDistance",
    "LinfDistanceConv2D",
    "MeanShift",
    "NearIdentity",
    "NearIdentityConv2D",
]
