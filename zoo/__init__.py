"""A Keras model zoo of certifiably robust image classifiers with pretrained weights."""

import importlib

__version__ = "0.1.0"

_PACKAGES = ("attacks", "catalog", "certificates", "data", "hub", "layers", "losses", "models", "ops")


def __getattr__(name):
    # `import zoo` loads no backend: packages arrive when they are first named.
    if name in _PACKAGES:
        return importlib.import_module(f"zoo.{name}")
    raise AttributeError(f"module 'zoo' has no attribute {name!r}")
