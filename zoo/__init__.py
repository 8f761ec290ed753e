"""A Keras model zoo of certifiably robust image classifiers with pretrained weights."""

import importlib
from typing import TYPE_CHECKING, Any

from zoo.utils.registration import register, register_with_keras

__version__ = "0.1.0"

if TYPE_CHECKING:
    # Type checkers do not run `__getattr__`, so these imports show them the same names.
    from zoo import attacks as attacks
    from zoo import bounds as bounds
    from zoo import callbacks as callbacks
    from zoo import certificates as certificates
    from zoo import constraints as constraints
    from zoo import data as data
    from zoo import evaluation as evaluation
    from zoo import hub as hub
    from zoo import layers as layers
    from zoo import losses as losses
    from zoo import metrics as metrics
    from zoo import models as models
    from zoo import ops as ops
    from zoo.certificates import Certificate as Certificate
    from zoo.certificates.any_network import certify as certify
    from zoo.citation import cite as cite
    from zoo.errors import AuditError as AuditError
    from zoo.errors import CheckpointError as CheckpointError
    from zoo.errors import ClusterError as ClusterError
    from zoo.errors import DownloadError as DownloadError
    from zoo.errors import IntegrityError as IntegrityError
    from zoo.errors import PublishError as PublishError
    from zoo.errors import SoundnessError as SoundnessError
    from zoo.errors import UnknownModelError as UnknownModelError
    from zoo.errors import UnsupportedLayerError as UnsupportedLayerError
    from zoo.errors import ZooError as ZooError
    from zoo.evaluation import evaluate as evaluate
    from zoo.hub.catalog import info as info
    from zoo.hub.catalog import list_models as list_models
    from zoo.hub.checkpoint import save as save
    from zoo.hub.loading import load as load
    from zoo.hub.publishing import publish as publish

# `import zoo` imports neither a backend nor the subpackages, so that it takes no time.
# `__getattr__` imports a name from its module here when the name is first used.
_NAMES = {
    "certify": "certificates.any_network",
    "cite": "citation",
    "evaluate": "evaluation",
    "load": "hub.loading",
    "save": "hub.checkpoint",
    "info": "hub.catalog",
    "list_models": "hub.catalog",
    "publish": "hub.publishing",
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
    "callbacks",
    "certificates",
    "constraints",
    "data",
    "evaluation",
    "hub",
    "layers",
    "losses",
    "metrics",
    "models",
    "ops",
)

__all__ = [*_NAMES, *_PACKAGES]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        found = importlib.import_module(f"zoo.{name}")
    elif name in _NAMES:
        found = getattr(importlib.import_module(f"zoo.{_NAMES[name]}"), name)
    else:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}")
    register()
    return found


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


register_with_keras()
