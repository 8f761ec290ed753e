"""Save a model as a checkpoint folder, and load it from one.

The folder holds ``config.json`` and ``model.weights.h5``. The first is a small table: the class of
the model, and the arguments of its constructor, with a network of the zoo by its name. It has no
detail of a version of Keras, unless the model wraps a network of the user's own, which is stored in
Keras's serialised form.
"""

import json
import os
import pathlib
import re
import tempfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from zoo.errors import CheckpointError
from zoo.hub import golden, overriding, weights_file
from zoo.typing import Path, Shape
from zoo.utils.paths import expanded
from zoo.utils.whole_file import new_folder, replace

if TYPE_CHECKING:
    from zoo.models import CertifiedModel

CONFIG = "config.json"
WEIGHTS = "model.weights.h5"
CARD = "README.md"
#: The certified-accuracy curve, and its picture in the card; a checkpoint may lack both.
CURVE = "curve.json"
PICTURE = "curve.png"
FORMAT = 1


def save(model: "CertifiedModel", folder: Path, *, float16: bool = False) -> None:
    """Write a model as a checkpoint folder.

    The state of the optimizer is not saved. Both files are written under temporary names and
    renamed once they are complete.

    Args:
        model: a :class:`zoo.models.CertifiedModel`.
        folder: created if it does not exist; a checkpoint in it is replaced.
        float16: whether to store kernels in half precision, which halves the size. The weights of
            the stored model are then rounded: measure what :func:`zoo.load` returns, not ``model``.

    Raises:
        TypeError: if ``model`` is not a model of the zoo.
        FileExistsError: if ``folder`` is a file.
        ValueError: if the model's class is not registered with Keras, so that the folder could not
            be loaded, if it wraps a network with objects that a checkpoint may not use, if its
            ``get_config()`` does not describe it, if it does not compute in float32, or if a weight
            is too large for half precision.

    Examples:
        >>> import tempfile, zoo
        >>> model = zoo.models.LinfDistNet((8, 8, 1), 10, width=16, depth=2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     zoo.save(model, folder)
        ...     zoo.load(folder).width
        16
    """
    import keras

    import zoo
    from zoo.hub import allowed_classes
    from zoo.models.weights import set_weights

    if not isinstance(model, zoo.models.CertifiedModel):
        raise TypeError(
            f"zoo.save() takes a model of the zoo (a zoo.models.CertifiedModel), got "
            f"{type(model).__name__}; an ordinary Keras model has a save() of its own"
        )
    name = keras.saving.get_registered_name(type(model))
    if keras.saving.get_registered_object(name) is not type(model):
        raise ValueError(
            f"{type(model).__name__} is not registered; decorate it with "
            "@keras.saving.register_keras_serializable()"
        )
    folder = expanded(folder)
    if folder.is_file():
        raise FileExistsError(f"cannot write {folder}: it is a file, not a folder")
    if folder.suffix in (".keras", ".h5", ".hdf5"):
        raise ValueError(
            f"zoo.save() writes a folder, and {folder.name} is the name of a file; "
            f"model.save({folder.name!r}) writes a whole model into one .keras file"
        )
    arguments = model.get_config()
    try:
        allowed_classes.require_allowed(arguments)
    except ValueError as error:
        raise ValueError(f"the model could not be loaded from a checkpoint: {error}") from None
    config = {
        "format": FORMAT,
        "class": name,
        "config": _stored(type(model), arguments),
        "zoo_version": zoo.__version__,
    }
    bare = type(model).from_config(arguments)
    if any(getattr(layer, "lora_enabled", False) for layer in bare._flatten_layers()):
        raise ValueError(
            "a checkpoint folder cannot hold layers with LoRA; model.save('mine.keras') keeps them"
        )
    set_weights(bare, model.get_weights())
    if golden.difference(bare, golden.logits(model)) > golden.TOLERANCE:
        raise ValueError(
            f"the model could not be loaded from a checkpoint: {type(model).__name__}.get_config() "
            "does not describe it, because a model that is made from it with the same weights has "
            "other logits. Perhaps a setting of one of its layers was changed, or a layer of your "
            "own leaves an argument out of its get_config()"
        )
    with (
        new_folder(folder),
        tempfile.TemporaryDirectory(dir=folder, prefix=".partial-") as partial,
    ):
        partial = pathlib.Path(partial)
        bare.save_weights(partial / "plain.weights.h5")
        _compress(partial / "plain.weights.h5", partial / WEIGHTS, float16)
        (partial / CONFIG).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
        for name in (WEIGHTS, CONFIG):
            replace(partial / name, folder / name)


def load(folder: Path, *, weights: bool = True, **overrides: Any) -> "CertifiedModel":
    """Build the model of a checkpoint folder.

    Args:
        folder: holds ``config.json`` and ``model.weights.h5``.
        weights: whether to load the weights; with False they are freshly initialised.
        overrides: constructor arguments that replace the stored ones.

    Returns:
        A :class:`zoo.models.CertifiedModel`.

    Raises:
        CheckpointError: naming the file and what is wrong with it.
        TypeError, ValueError: naming the overrides, if the checkpoint fits without them.
    """
    import keras

    import zoo.models  # registers the classes
    from zoo.hub import sizes

    folder = pathlib.Path(folder)
    config = read_config(folder)
    kind = keras.saving.get_registered_object(config["class"])
    if not (isinstance(kind, type) and issubclass(kind, zoo.models.CertifiedModel)):
        raise CheckpointError(
            f"{folder / CONFIG} names the class {config['class']!r}, which this version of zoo "
            f"({zoo.__version__}) does not have"
        )
    stored = config["config"]
    overriding.require_arguments(kind, stored, overrides)
    arguments = {**stored, **overrides}
    path = folder / WEIGHTS
    registered = _registered(folder, kind, stored)
    try:
        # Overrides without weights describe a model of another size.
        if weights or (path.is_file() and not overrides):
            sizes.require_fit(kind, arguments, _shapes_in(path), registered)
        model = kind.from_config(arguments)
    except CheckpointError:
        raise
    except sizes.UnlikeFile as error:
        if overrides and _fits(kind, stored, path, registered):
            raise ValueError(overriding.does_not_fit(path, stored, overrides)) from error
        raise CheckpointError(f"{path} does not hold this model's weights: {error}") from error
    except Exception as error:  # whatever Keras and the backend raise for an unfit argument
        if overrides and _fits(kind, stored, path, registered):
            blamed = TypeError if isinstance(error, TypeError) else ValueError
            reason = overriding.in_one_line(error)
            raise blamed(f"{overriding.written(overrides)} does not fit: {reason}") from error
        raise CheckpointError(
            f"{folder / CONFIG} does not describe a {kind.__name__}: "
            f"{overriding.in_one_line(error)}"
        ) from error
    if weights:
        try:
            model.load_weights(path)
        except Exception as error:  # h5py and Keras raise many types of errors for a damaged file
            # The size is checked before a model is made of what a file says.
            own = overrides and _fits(kind, stored, path, registered)
            if own and _loads(kind, stored, path):
                raise ValueError(overriding.does_not_fit(path, stored, overrides)) from error
            raise CheckpointError(
                f"{path} does not hold this model's weights: {overriding.in_one_line(error)}"
            ) from error
        model.on_config_override(overrides)
    return model


def not_a_folder(path: Path) -> CheckpointError:
    """The error for a file where a checkpoint folder is expected."""
    name = os.fspath(path)
    name = name if os.sep in name else os.path.join(os.curdir, name)
    return CheckpointError(
        f"{name} is a file, not a checkpoint folder; zoo certify, zoo attack and zoo evaluate take "
        "any Keras model in a .keras file, and of a model of the zoo "
        f"zoo.save(zoo.load({name!r}), folder) makes a checkpoint folder"
    )


def require_readable(folder: Path) -> None:
    """Raise unless a folder holds both files of a checkpoint; the model is not built.

    Raises:
        CheckpointError: naming the file and what is wrong with it.
    """
    read_config(folder)
    _shapes_in(pathlib.Path(folder) / WEIGHTS)


def _registered(
    folder: pathlib.Path, kind: type["CertifiedModel"], stored: dict[str, Any]
) -> Mapping[str, type]:
    """The classes that a configuration names, which must all be allowed."""
    from zoo.hub import allowed_classes

    try:
        return allowed_classes.require_allowed(stored)
    except Exception as error:  # whatever Keras raises for what it cannot read
        raise CheckpointError(
            f"{folder / CONFIG} does not describe a {kind.__name__}: "
            f"{overriding.in_one_line(error)}"
        ) from error


def _loads(kind: type["CertifiedModel"], stored: dict[str, Any], path: pathlib.Path) -> bool:
    """Whether the weights of a checkpoint fit its own model, so that a mistake is in overrides."""
    try:
        kind.from_config(stored).load_weights(path)
    except Exception:  # whatever Keras and h5py raise
        return False
    return True


def _fits(
    kind: type["CertifiedModel"],
    stored: dict[str, Any],
    path: pathlib.Path,
    registered: Mapping[str, type],
) -> bool:
    """Whether a checkpoint is a model as it is stored, so that a mistake is in the overrides."""
    from zoo.hub import sizes

    try:
        sizes.require_fit(kind, stored, _shapes_in(path), registered)
    except Exception:  # whatever Keras and h5py raise
        return False
    return True


def _shapes_in(path: pathlib.Path) -> list[Shape]:
    if not path.is_file():
        raise CheckpointError(f"{path.parent} has no {WEIGHTS}")
    try:
        return weights_file.shapes_in(path)
    except Exception as error:  # h5py raises many types of errors for a damaged file
        raise CheckpointError(f"{path} does not hold this model's weights: {error}") from error


def _stored(kind: type, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments that a checkpoint stores.

    A name that Keras made up is left out, so that a loaded model gets a new one. Otherwise two
    models from the same checkpoint would have the same name, and could not both be layers of a
    third model.
    """
    left_out = {"dtype", "trainable"}
    name = str(arguments.get("name", ""))
    if re.fullmatch(kind.__name__.lower() + r"\d*", name.replace("_", "")):
        left_out.add("name")
    return {key: value for key, value in arguments.items() if key not in left_out}


def read_config(folder: Path) -> dict[str, Any]:
    """The checked content of ``config.json``.

    Raises:
        CheckpointError: if it is missing, no JSON, or of an unknown format.
    """
    path = pathlib.Path(folder) / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{folder} is no checkpoint: it has no {CONFIG}") from None
    except NotADirectoryError:
        raise not_a_folder(folder) from None
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    if not isinstance(config, dict) or not {"format", "class", "config"} <= set(config):
        raise CheckpointError(f"{path} lacks one of the entries format, class, config")
    if not isinstance(config["class"], str) or not isinstance(config["config"], dict):
        raise CheckpointError(f"{path}: class must be a name, and config a table")
    if config["format"] != FORMAT:
        raise CheckpointError(
            f"{path} has format {config['format']!r}; this version reads format {FORMAT}"
        )
    return config


def _compress(source: pathlib.Path, target: pathlib.Path, float16: bool) -> None:
    """Copy a weight file with gzip compression; ``float16`` stores matrices in half precision."""
    import h5py
    import numpy as np

    with h5py.File(source) as old, h5py.File(target, "w") as new:

        def copy(name: str, node: Any) -> None:
            if isinstance(node, h5py.Group):
                group = new.require_group(name)
                group.attrs.update(node.attrs)
                return
            values = node[()]
            matrix = np.ndim(values) >= 2
            if matrix and float16:
                if np.abs(values).max(initial=0) > np.finfo(np.float16).max:
                    raise ValueError(f"{name} has entries too large for float16")
                values = values.astype(np.float16)
            # One chunk for the whole array takes about 5 % less space than the chunks that h5py
            # chooses. HDF5 allows chunks of less than 4 GiB.
            chunks = values.shape if matrix and 0 < values.nbytes < 2**32 else None
            packing = {"compression": "gzip", "compression_opts": 9, "shuffle": True}
            new.create_dataset(name, data=values, chunks=chunks, **(packing if matrix else {}))

        new.attrs.update(old.attrs)
        old.visititems(copy)
