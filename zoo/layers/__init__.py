"""The neurons and blocks that the papers introduce."""

from zoo.layers.augmentation import Augmentation
from zoo.layers.conv import Conv2D
from zoo.layers.convex_residual import ConvexResidual
from zoo.layers.dense import Dense
from zoo.layers.equalized_dense import EqualizedDense
from zoo.layers.flatten import Flatten
from zoo.layers.linf_distance import LinfDistance, NearIdentity
from zoo.layers.linf_distance_conv import LinfDistanceConv2D, NearIdentityConv2D
from zoo.layers.max_min import MaxMin
from zoo.layers.mean_shift import MeanShift
from zoo.layers.nonexpansive_conv import NonexpansiveConv2D
from zoo.layers.nonexpansive_dense import NonexpansiveDense
from zoo.layers.norm_pooling import NormPooling2D
from zoo.layers.pixel_shuffle import PixelShuffle, PixelUnshuffle
from zoo.layers.roll import Roll
from zoo.layers.two_sided_relu import TwoSidedReLU

__all__ = [
    "Augmentation",
    "Conv2D",
    "ConvexResidual",
    "Dense",
    "EqualizedDense",
    "Flatten",
    "LinfDistance",
    "LinfDistanceConv2D",
    "MaxMin",
    "MeanShift",
    "NearIdentity",
    "NearIdentityConv2D",
    "NonexpansiveConv2D",
    "NonexpansiveDense",
    "NormPooling2D",
    "PixelShuffle",
    "PixelUnshuffle",
    "Roll",
    "TwoSidedReLU",
]
