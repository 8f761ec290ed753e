"""Constraints that Keras applies to kernels after each step of an optimizer."""

from zoo.constraints.orthogonal import Orthogonal

__all__ = ["Orthogonal"]
