"""Load a model of the zoo from a whole-model ``.keras`` file, as ``model.save`` writes it."""

import pathlib
import zipfile
from typing import TYPE_CHECKING, Any

from zoo.errors import CheckpointError
from zoo.hub import overriding
from zoo.typing import Path

if TYPE_CHECKING:
    from zoo.models import CertifiedModel

SUFFIX = ".keras"


def require_archive(path: Path) -> None:
    """Raise if a ``.keras`` file is damaged. Keras says of such a file that it does not exist.

    Raises:
        CheckpointError: naming the file.
    """
    if pathlib.Path(path).is_file() and not zipfile.is_zipfile(path):
        raise CheckpointError(f"{path} is damaged: it is no zip archive, as .keras files are")


def load(
    path: Path, *, weights: bool = True, compiled: bool = True, **overrides: Any
) -> "CertifiedModel":
    """Load the model of a ``.keras`` file.

    Args:
        path: the file.
        weights: whether to load the weights; with False they are freshly initialised.
        compiled: whether the model is compiled as the saved one was, which needs its loss and its
            metrics.
        overrides: constructor arguments that replace the stored ones. A model with overrides is
            not compiled.

    Returns:
        A :class:`zoo.models.CertifiedModel`. It is compiled if the saved model was.

    Raises:
        CheckpointError: naming the file and what is wrong with it.
        TypeError, ValueError: naming the overrides, if they do not fit the model or its weights.
    """
    import keras

    import zoo.models  # registers the classes
    from zoo.models.weights import set_weights

    path = pathlib.Path(path)
    require_archive(path)
    try:
        saved: Any = keras.models.load_model(path, compile=compiled and weights and not overrides)
    except Exception as error:  # Keras, h5py and zipfile raise many types for a damaged file
        raise CheckpointError(
            f"{path} cannot be loaded: {overriding.in_one_line(error)}"
        ) from error
    if not isinstance(saved, zoo.models.CertifiedModel):
        raise CheckpointError(
            f"{path} holds a {type(saved).__name__}, not a model of the zoo; "
            "keras.models.load_model() loads it, zoo.certify() certifies it, and the models of "
            "zoo.models can wrap it"
        )
    if weights and not overrides:
        return saved
    kind, config = type(saved), saved.get_config()
    overriding.require_arguments(kind, config, overrides)
    try:
        model = kind.from_config({**config, **overrides})
    except (TypeError, ValueError) as error:
        blamed = TypeError if isinstance(error, TypeError) else ValueError
        reason = overriding.in_one_line(error)
        raise blamed(f"{overriding.written(overrides)} does not fit: {reason}") from error
    if weights:
        try:
            set_weights(model, saved.get_weights())
        except ValueError as error:
            raise ValueError(overriding.does_not_fit(path, config, overrides)) from error
        model.on_config_override(overrides)
    return model
