"""The neurons and blocks that the papers introduce."""

from zoo.layers.linf_distance import LinfDistance, NearIdentity
from zoo.layers.mean_shift import MeanShift

__all__ = ["LinfDistance", "MeanShift", "NearIdentity"]
