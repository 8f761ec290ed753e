"""Image sets that tensorflow-datasets prepares."""

import contextlib
import hashlib
import os
import pathlib
import sys
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from zoo.utils.first_line import first_line
from zoo.utils.process import note_use
from zoo.utils.quiet import without_startup_lines


def from_tfds(builder: str, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Read one split of a set; a set that is missing is downloaded and prepared first.

    Args:
        builder: name of the builder in tensorflow-datasets. A builder that is defined elsewhere is
            found once the module that defines it has been imported.
        split: name of the split.

    Returns:
        Arrays of images and integer labels, in the order of the set.

    Raises:
        RuntimeError: if tensorflow-datasets is not installed, or the set is not on this machine and
            cannot be downloaded.
    """
    with _tensorflow_datasets(builder) as tfds:
        loaded = tfds.load(
            builder, split=split, batch_size=-1, as_supervised=True, data_dir=_data_folder()
        )
        images, labels = tfds.as_numpy(loaded)
    return images, labels


def from_own_builder(name: str, define: Callable[[Any], type], split: str) -> dict[str, np.ndarray]:
    """Read one split of a set whose builder is defined here, and prepare the set if it is missing.

    Args:
        name: name of the builder, which is its folder in ``TFDS_DATA_DIR``.
        define: function from the module ``tensorflow_datasets`` to the class of the builder.
        split: name of a split of the builder.

    Returns:
        Dictionary from the name of a feature to the array of its values, in the order of the set.

    Raises:
        RuntimeError: as :func:`from_tfds`.
    """
    with _tensorflow_datasets(name) as tfds:
        from tensorflow_datasets.core import registered

        # tensorflow-datasets may have a builder of the same name, which must stay.
        with registered.skip_registration():
            kind = define(tfds)
        builder = kind(data_dir=_data_folder())
        builder.download_and_prepare()
        return dict(tfds.as_numpy(builder.as_dataset(split=split, batch_size=-1)))


def archive(downloads: Any, address: str, digest: str) -> pathlib.Path:
    """The path of an archive of a builder: one that the user has, or else the download.

    Args:
        downloads: the ``tfds.download.DownloadManager`` that the builder is given.
        address: address of the archive. If a file of the same name lies in the manual folder of
            tensorflow-datasets (``downloads/manual`` in ``TFDS_DATA_DIR``), this file is used as it
            is.
        digest: ``"md5:…"`` or ``"sha256:…"``, the digest that a download must have.

    Raises:
        ValueError: if the download has another digest.
    """
    name = pathlib.PurePosixPath(urllib.parse.urlsplit(address).path).name
    own = pathlib.Path(downloads.download_dir) / "manual" / name
    if own.is_file():
        return own
    path = pathlib.Path(downloads.download(address))
    kind, _, expected = digest.partition(":")
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, kind).hexdigest()
    if found != expected:
        path.unlink()  # it would be taken for the archive the next time
        raise ValueError(f"{address} has the {kind} digest {found}, expected {expected}")
    return path


def _data_folder() -> str | None:
    """The folder of ``TFDS_DATA_DIR``, which tensorflow-datasets reads only when it is imported."""
    folder = os.environ.get("TFDS_DATA_DIR")
    return os.path.expanduser(folder) if folder else None


@contextlib.contextmanager
def _tensorflow_datasets(builder: str) -> Iterator[Any]:
    """A context that gives the module; errors in it become a RuntimeError that names the set."""
    note_use("tensorflow")
    try:
        with without_startup_lines():
            import tensorflow_datasets as tfds
    except ImportError as error:
        raise RuntimeError(
            f"{builder} comes from tensorflow-datasets, which is not installed; install it, or "
            "pass the path of an .npz file"
        ) from error
    try:
        # It prints the progress of a download to standard output, where the command line prints
        # its results.
        with contextlib.redirect_stdout(sys.stderr):
            yield tfds
    except Exception as error:
        raise RuntimeError(
            f"{builder} is not in the data folder and could not be downloaded and prepared "
            f"({first_line(error)}); set TFDS_DATA_DIR to a folder that has it, or pass the path "
            "of an .npz file"
        ) from error
