"""Numerics under the layers, and the only place with backend-specific code."""

from zoo.ops.linf_interval import linf_interval
from zoo.ops.lp_distance import lp_distance
from zoo.ops.lp_distance_conv import linf_interval_conv, lp_distance_conv
from zoo.ops.singular_values import convolution_norm, dense_norm, row_sum_bound

__all__ = [
    "convolution_norm",
    "dense_norm",
    "linf_interval",
    "linf_interval_conv",
    "lp_distance",
    "lp_distance_conv",
    "row_sum_bound",
]
