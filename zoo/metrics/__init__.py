"""Metrics for ``compile``: certified accuracy in every evaluation."""

from zoo.metrics.certified_accuracy import CertifiedAccuracy

__all__ = ["CertifiedAccuracy"]
