"""One file per approach: its networks, its certificate, its training loss."""

from zoo.models.base import CertifiedModel
from zoo.models.linf_dist import LinfDistNet

__all__ = ["CertifiedModel", "LinfDistNet"]
