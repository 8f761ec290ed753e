"""Numerics under the layers, and the only place with backend-specific code."""

from zoo.ops.linf_interval import linf_interval
from zoo.ops.lp_distance import lp_distance

__all__ = ["linf_interval", "lp_distance"]
