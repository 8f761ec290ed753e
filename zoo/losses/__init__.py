"""The losses that the papers introduce."""

from zoo.losses.clipped_hinge import ClippedHinge

__all__ = ["ClippedHinge"]
