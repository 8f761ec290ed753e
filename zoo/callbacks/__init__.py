"""Callbacks for ``fit``: schedules of an approach, and certified accuracy while training."""

from zoo.callbacks.certified_accuracy import CertifiedAccuracy
from zoo.callbacks.p_schedule import PSchedule

__all__ = ["CertifiedAccuracy", "PSchedule"]
