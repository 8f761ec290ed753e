"""Helpers for arguments, files, the terminal and processes, which the whole package uses."""
