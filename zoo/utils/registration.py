"""Register the classes of this package with Keras, so that it can load saved models."""

import importlib
import importlib.abc
import sys
from typing import Any

_PACKAGES = ("zoo.constraints", "zoo.layers", "zoo.losses", "zoo.metrics", "zoo.models")


def register() -> None:
    """Import the packages that register classes with Keras.

    ``keras.models.load_model`` finds a class of this package only after the module that defines it
    was imported. Nothing happens if Keras has not been imported, or while the import of Keras or of
    a module of zoo is still running, because that would be a circular import.
    """
    if "keras" not in sys.modules or any(map(_is_initializing, list(sys.modules))):
        return
    for package in _PACKAGES:
        importlib.import_module(package)


def register_with_keras() -> None:
    """Call :func:`register` now, or as soon as Keras has been imported.

    ``import zoo`` must not import Keras, which takes seconds. If Keras is imported later, an import
    hook calls :func:`register`.
    """
    if "keras" in sys.modules:
        register()
    else:
        sys.meta_path.insert(0, _AfterKeras())


def _is_initializing(name: str) -> bool:
    spec = getattr(sys.modules[name], "__spec__", None)
    ours = name == "keras" or name.startswith("zoo.")
    return ours and getattr(spec, "_initializing", False)


class _AfterKeras(importlib.abc.MetaPathFinder):
    """Import hook that calls :func:`register` at the end of the import of Keras."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname != "keras":
            return None
        others = [finder for finder in sys.meta_path if finder is not self]
        found = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next(filter(None, found), None)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module: Any) -> None:
            # Not earlier, because a program may only ask whether there is a Keras to import.
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            execute(module)
            # The import system resets this flag only after this function; register() reads it.
            module.__spec__._initializing = False
            register()

        spec.loader.exec_module = exec_module
        return spec
