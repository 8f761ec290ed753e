"""Checkpoints: the catalog of them, their files, and their way to and from the Hugging Face Hub."""

from zoo.hub.catalog import Record, info, list_models
from zoo.hub.download import fetch

__all__ = ["Record", "fetch", "info", "list_models"]
