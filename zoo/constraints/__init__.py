"""Where an optimizer's step may leave a kernel."""

from zoo.constraints.orthogonal import Orthogonal

__all__ = ["Orthogonal"]
