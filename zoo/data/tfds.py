"""Image sets that tensorflow-datasets prepares."""

import numpy as np

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
        loaded = tfds.load(builder, split=split, batch_size=-1, as_supervised=True)
        images, labels = tfds.as_numpy(loaded)
    except Exception as error:
        raise RuntimeError(
            f"{builder} is not in the data folder and could not be downloaded "
            f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason'})"
            "; set TFDS_DATA_DIR to a folder that has it, or pass the path of an .npz file"
        ) from error
    return images, labels
