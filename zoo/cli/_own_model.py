"""Ordinary Keras models in files, as the commands take them."""

import pathlib
from typing import TYPE_CHECKING, Any

from zoo.errors import CheckpointError
from zoo.typing import ImageShape

if TYPE_CHECKING:
    from zoo.data import ImageSet
    from zoo.models import CertifiedModel

# Endings of the files that Keras saves whole models in.
_ENDINGS = (".keras", ".h5", ".hdf5")
# The file that Keras writes into a folder in which it saves a whole model.
_METADATA = "metadata.json"


def is_keras(name: str) -> bool:
    """Whether a name is the path of a model that Keras saved, a file or a folder."""
    path = pathlib.Path(name)
    return path.suffix.lower() in _ENDINGS or (path / _METADATA).is_file()


def check(name: str) -> None:
    """Raise if there is no such file; nothing is loaded.

    Raises:
        zoo.CheckpointError: naming the file.
    """
    if not pathlib.Path(name).exists():
        raise CheckpointError(f"no such model file: {name}")


def require_no_program(name: str) -> None:
    """Raise for a folder with a SavedModel, which has no layers that could be certified.

    Raises:
        zoo.CheckpointError: naming the folder.
    """
    if (pathlib.Path(name) / "saved_model.pb").is_file():
        raise CheckpointError(
            f"{name} is a SavedModel, a program whose layers are not known any more; save the "
            "model with model.save() as a .keras file"
        )


def load(name: str) -> Any:
    """Load a Keras model from its file or folder, without running any code that it contains.

    Raises:
        zoo.CheckpointError: naming the file and the reason.
    """
    from zoo.utils.backend import require_backend

    require_backend()  # before Keras is imported, whose backend would print lines
    import keras

    import zoo.models  # noqa: F401  registers the classes
    from zoo.hub import keras_file, overriding

    if name.endswith(keras_file.SUFFIX):
        keras_file.require_archive(name)
    try:
        return keras.saving.load_model(name, compile=False, safe_mode=True)
    except Exception as error:  # Keras and h5py raise many types of errors
        reason = overriding.in_one_line(error)
        raise CheckpointError(f"{name} cannot be loaded as a Keras model: {reason}") from error


def image_shape(name: str, model: Any) -> ImageShape:
    """``(height, width, channels)`` of the images that a Keras model takes.

    Raises:
        ValueError: naming the model, if it does not take images of one size.
    """
    shape = getattr(model, "input_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 4 or None in shape[1:]:
        raise ValueError(
            f"{name} must take images (batch, height, width, channels) of one size, but takes "
            f"{shape}"
        )
    return shape[1], shape[2], shape[3]


def classifier(
    model: Any, images: "ImageSet", valid_range: tuple[float, float] | None
) -> "CertifiedModel":
    """A Keras classifier with the methods of the models of the zoo.

    Args:
        model: Keras model, as :func:`load` returns it.
        images: a few images that it takes, in [0, 1].
        valid_range: ``(low, high)``, the range of the pixels that the model takes. None means 0 to
            255 for a model whose first layers divide by 255, and [0, 1] for any other.

    Returns:
        :class:`zoo.models.CertifiedModel` for images in [0, 1].

    Raises:
        TypeError, ValueError: if it takes no images, or does not return one output for each class.
    """
    from zoo.models import byte_inputs
    from zoo.models.any_classifier import as_classifier
    from zoo.utils import checks

    if valid_range is None and byte_inputs.takes_bytes(model):
        valid_range = 0.0, 255.0
    if valid_range not in (None, (0.0, 1.0)):
        model = byte_inputs.from_unit_range(model, valid_range)
    few = images.take(8).images
    try:
        few = checks.images(few, few.shape[1:])
    except ValueError as error:
        raise ValueError(
            f"{images.name}: {error}; --valid-range names another range of floats"
        ) from error
    return as_classifier(model, few)
