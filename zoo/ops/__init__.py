"""Numerical operations that layers and bounds use, with their backend-specific code."""

from zoo.ops.gradients import input_gradient, input_jacobian
from zoo.ops.linf_interval import linf_interval
from zoo.ops.lp_distance import lp_distance
from zoo.ops.lp_distance_conv import linf_interval_conv, lp_distance_conv
from zoo.ops.norm_estimate import NormEstimate, power_iteration
from zoo.ops.singular_values import (
    average_pooling_norm,
    convolution_norm,
    dense_norm,
    row_sum_bound,
)
from zoo.utils.backend import use_float32_products

__all__ = [
    "NormEstimate",
    "average_pooling_norm",
    "convolution_norm",
    "dense_norm",
    "input_gradient",
    "input_jacobian",
    "linf_interval",
    "linf_interval_conv",
    "lp_distance",
    "lp_distance_conv",
    "power_iteration",
    "row_sum_bound",
    "use_float32_products",
]
