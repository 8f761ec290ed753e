"""The certified models: a class per approach, with its network, certificate and training loss."""

from zoo.models.base import CertifiedModel
from zoo.models.curvature import CurvatureNet
from zoo.models.double_backprop import DoubleBackpropNet
from zoo.models.l2_nonexpansive import L2NonexpansiveNet
from zoo.models.linf_dist import LinfDistNet
from zoo.models.linf_dist_mlp import LinfDistMLP
from zoo.models.lipschitz_margin import LipschitzMarginNet

__all__ = [
    "CertifiedModel",
    "CurvatureNet",
    "DoubleBackpropNet",
    "L2NonexpansiveNet",
    "LinfDistMLP",
    "LinfDistNet",
    "LipschitzMarginNet",
]
