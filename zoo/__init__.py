"""A Keras model zoo of certifiably robust image classifiers with pretrained weights."""

import importlib

from zoo.utils.registration import register, register_with_keras

__version__ = "0.1.0"

# `import zoo` loads neither a backend nor the rest: a name arrives when it is first used.
_NAMES = {
    "certify": "certificates.any_network",
    "load": "hub.loading",
    "save": "hub.checkpoint",
    "info": "hub.catalog",
    "list_models": "hub.catalog",
    "Certificate": "certificates",
    "AuditError": "errors",
    "CheckpointError": "errors",
    "ClusterError": "errors",
    "DownloadError": "errors",
    "IntegrityError": "errors",
    "PublishError": "errors",
    "SoundnessError": "errors",
    "UnknownModelError": "errors",
    "UnsupportedLayerError": "errors",
    "ZooError": "errors",
}
_PACKAGES = (
    "attacks",
    "bounds",
    "certificates",
    "constraints",
    "data",
    "evaluation",
    "hub",
    "layers",
    "losses",
    "models",
    "ops",
)

__all__ = [*_NAMES, *_PACKAGES]


def __getattr__(name):
    if name in _PACKAGES:
        found = importlib.import_module(f"zoo.{name}")
    elif name in _NAMES:
        found = getattr(importlib.import_module(f"zoo.{_NAMES[name]}"), name)
    else:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}")
    register()
    return found


def __dir__():
    return sorted([*globals(), *__all__])


register_with_keras()
