"""Checkpoints: their catalog, their files, and download from and publication on the Hub."""

from zoo.hub.catalog import Record, info, list_models
from zoo.hub.description import describe
from zoo.hub.download import fetch

__all__ = ["Record", "describe", "fetch", "info", "list_models"]
