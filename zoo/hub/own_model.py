"""Stage a model that is not in the catalog for publication: a folder, a file, or an object."""

import os
import pathlib
import shutil
import sys
import zipfile
from typing import TYPE_CHECKING

from zoo.errors import CheckpointError
from zoo.hub import checkpoint, golden, keras_file
from zoo.typing import Path
from zoo.utils.paths import expanded

if TYPE_CHECKING:
    from zoo.models import CertifiedModel


def is_keras_file(name: object) -> bool:
    """Whether a name is that of a ``.keras`` file."""
    return isinstance(name, (str, os.PathLike)) and os.fspath(name).endswith(keras_file.SUFFIX)


def check(source: "Path | CertifiedModel") -> None:
    """Raise unless this can be staged; a file is not loaded yet.

    Args:
        source: as for :func:`stage`.

    Raises:
        zoo.CheckpointError: if it is a file or folder that is missing, or no checkpoint.
        TypeError: if it is something else than a path or a model of the zoo.
    """
    if not isinstance(source, (str, os.PathLike)):
        if "keras" not in sys.modules or not _is_model(source):
            raise TypeError(
                "publish() takes a catalog name, a folder, a .keras file or a model of the zoo, "
                f"got {type(source).__name__}"
            )
        return
    path = expanded(source)
    if is_keras_file(path):
        if not path.is_file():
            raise CheckpointError(f"no such file: {path}")
        if not zipfile.is_zipfile(path):
            raise CheckpointError(f"{path} is no .keras file")
        return
    if not path.is_dir():
        raise CheckpointError(f"no such folder: {path}")
    checkpoint.require_readable(path)


def _is_model(source: object) -> bool:
    from zoo.models import CertifiedModel

    return isinstance(source, CertifiedModel)


def stage(source: "Path | CertifiedModel", folder: pathlib.Path) -> list[list[float]] | None:
    """Write ``config.json`` and ``model.weights.h5`` of a model into a folder.

    Args:
        source: a checkpoint folder, a ``.keras`` file, or a model.
        folder: an empty folder.

    Returns:
        The golden logits (:mod:`zoo.hub.golden`) of the model that was written; None for a
        checkpoint folder, whose files are copied as they are.

    Raises:
        zoo.CheckpointError: if a file cannot be loaded.
        TypeError, ValueError: as :func:`zoo.save`.
    """
    if isinstance(source, (str, os.PathLike)) and not is_keras_file(source):
        for file in (checkpoint.CONFIG, checkpoint.WEIGHTS):
            shutil.copyfile(expanded(source) / file, folder / file)
        return None
    from zoo.utils.backend import start_in_float32

    if isinstance(source, (str, os.PathLike)):
        start_in_float32()  # the audit computes the logits again in float32
        model = keras_file.load(expanded(source), compiled=False)
    else:
        model = source
    model.require_certifiable()  # logits in TF32 would differ from those that the audit computes
    checkpoint.save(model, folder)
    return golden.logits(model)
