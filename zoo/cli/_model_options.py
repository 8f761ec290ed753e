"""Options of commands that run models on images; functions that check and load what they name."""

import argparse
import contextlib
import dataclasses
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zoo.cli import _own_model
from zoo.epsilon import Epsilon
from zoo.hub import catalog
from zoo.hub.records import Record
from zoo.typing import ImageShape, Norm
from zoo.utils.norms import norm_of

if TYPE_CHECKING:
    from zoo.attacks import Attack
    from zoo.data import ImageSet
    from zoo.models import CertifiedModel


def add_model_and_images(
    parser: argparse.ArgumentParser, *, many: bool = False, one_norm: bool = False
) -> None:
    """Add the options for the model and the images to a command.

    Args:
        parser: parser of the command.
        many: whether the command takes several models.
        one_norm: whether the command measures all of them in the same norm.
    """
    certify = "all models certify" if one_norm else "the model certifies"
    model = "model name, hf://org/repo[@revision], folder, or .keras file of any Keras model"
    # A shell leaves ~ as it is in --data=~/images, and in an argument in quotes.
    parser.add_argument("name", nargs="+" if many else None, type=os.path.expanduser, help=model)
    parser.add_argument(
        "--data",
        metavar="IMAGES",
        type=os.path.expanduser,
        help="image set, image file, folder of images, folder with one folder for each class, or "
        ".npz file (default: the model's test set)",
    )
    parser.add_argument(
        "--resize", action="store_true", help="scale image files to the size that the model takes"
    )
    parser.add_argument(
        "--classes",
        metavar="NAME,NAME,…",
        help="names of the class folders, in the order of the model's classes. By default, folders "
        "that are numbers stand for these classes; folders named like the classes of a catalog "
        "model's data set have the order of that set; other folders have alphabetical order",
    )
    parser.add_argument(
        "--valid-range",
        nargs=2,
        type=float,
        metavar=("LOW", "HIGH"),
        help="range of the pixels that the Keras model takes (default: 0 to 255 if it begins "
        "with a layer that divides by 255, else 0 to 1)",
    )
    parser.add_argument(
        "--n",
        type=int,
        help="use only the first N images (default: all); images in class folders are sorted by "
        "class, so the first N are of the first classes",
    )
    parser.add_argument(
        "--norm",
        type=_norm,
        metavar="{linf,l2}",
        help=f"norm of the perturbation (default: the first one that {certify})",
    )
    parser.add_argument(
        "--batch-size", type=int, default=256, help="images per batch (default: %(default)s)"
    )


def _norm(text: str) -> Norm:
    try:
        return norm_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def budget(text: str) -> Epsilon:
    """The budget that a word behind ``--eps`` stands for.

    The option takes every word up to the next option, so also a model's name that stands behind it.
    The error then says where to put the name.

    Raises:
        argparse.ArgumentTypeError: if the word is not a number or a fraction.
    """
    try:
        return Epsilon(text)
    except ValueError as error:
        advice = ""
        if "," in text:
            advice = "; separate several budgets by spaces"
        elif os.path.exists(text) or re.search("[a-z]{4}|:", text, re.IGNORECASE):
            advice = "; write names before --eps"
        raise argparse.ArgumentTypeError(f"{error}{advice}") from error


def add_eps(
    parser: argparse.ArgumentParser,
    *,
    many: bool = False,
    default: str = "those the model was measured at",
) -> None:
    """Add the option for the perturbation budget to a command.

    Args:
        parser: parser of the command.
        many: whether the command takes several budgets.
        default: what the command does without the option, in words.
    """
    parser.add_argument(
        "--eps",
        type=budget,
        nargs="+" if many else None,
        help="perturbation budget in units of the [0, 1] image, such as 0.1 or 8/255"
        f"{'; write names before it' if many else ''} (default: {default})",
    )


def check(
    options: argparse.Namespace,
    names: Sequence[str],
    *,
    method: str | None = "auto",
    attacks: Sequence["Attack"] = (),
    budgets: Mapping[str, Sequence[Epsilon]] | None = None,
    target: int | None = None,
) -> None:
    """Raise unless the models, the images and the settings fit together.

    No backend is imported, so that a mistake is reported at once. Models that are on the Hub alone
    are fetched, after everything else has been checked. What a Keras model's file or an image file
    holds is seen only when it is loaded.

    Args:
        options: parsed options, among them those that :func:`add_model_and_images` added.
        names: names of the models.
        method: method of the certificate; None for a command that does not certify.
        attacks: the attacks that the models will be exposed to.
        budgets: perturbation budgets by name of the model.
        target: class that the images are to be taken for.

    Raises:
        TypeError, ValueError, OSError, zoo.ZooError: naming the option that is wrong.
    """
    from zoo import data
    from zoo.attacks.registry import checked_attack
    from zoo.hub.outline import is_here
    from zoo.utils import checks

    if options.n is not None and options.n < 1:
        raise ValueError(f"--n must be at least 1, got {options.n}")
    checks.positive_integer(options.batch_size, "--batch-size")
    for name in names:
        _check_name(options, name)
    sources = {name: options.data or _record(name, "--data").dataset for name in names}
    for source in sources.values():
        data.check(source)
    _require_new_outputs(options, names)
    for option in ("resize", "classes"):
        if not getattr(options, option):
            continue
        if options.data and data.is_npz(options.data):
            raise ValueError(f"--{option} is for image files, but {options.data} is an .npz file")
        if not (options.data and data.is_own(options.data)):
            raise ValueError(f"--{option} is for image files; give them with --data")
    if options.valid_range is not None:
        low, high = options.valid_range
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError(
                f"--valid-range must be two numbers, the smaller one first, got {low:g} {high:g}"
            )
    for attack in attacks:
        checked_attack(attack, options.norm)
    files = {source for source in sources.values() if data.is_npz(source)}
    read = {source: data.load(source, "test") for source in files}
    zoo_models = [name for name in names if not _own_model.is_keras(name)]
    for name in sorted(zoo_models, key=is_here, reverse=True):
        source = sources[name]
        of_model = (budgets or {}).get(name, ())
        images = read[source].take(options.n) if source in read and options.n else read.get(source)
        _check_model(name, source, images, options.norm, method, attacks, of_model, target)


def _check_name(options: argparse.Namespace, name: str) -> None:
    _require_model(name)
    if options.valid_range is not None and not _own_model.is_keras(name):
        raise ValueError(
            f"--valid-range is for a Keras model of your own; {name} takes pixels in [0, 1]"
        )


def _require_model(name: str) -> None:
    """Raise if no model can have this name; nothing is loaded or fetched."""
    from zoo.hub import download

    if _own_model.is_keras(name):
        _own_model.check(name)
    else:
        _own_model.require_no_program(name)
        download.check(name)


def _check_model(
    name: str,
    source: str,
    images: "ImageSet | None",
    norm: str | None,
    method: str | None,
    attacks: Sequence["Attack"],
    budgets: Sequence[Epsilon],
    target: int | None,
) -> None:
    """Check the settings against what the files of a checkpoint say about its model."""
    from zoo import data
    from zoo.attacks.registry import checked_attack, require_budget
    from zoo.certificates.pairs import choose
    from zoo.hub.outline import outline
    from zoo.utils import checks

    model = outline(name)
    if model.certificates and method is None:
        norm = norm or model.certificates[0][0]
    elif model.certificates is not None:
        norm, _ = choose(model.certificates, norm, method or "auto", model.kind)
    for attack in attacks:
        checked_attack(attack, norm)
    if model.image_shape is None:
        return
    if images is not None:
        with _named(source):
            checks.images(images.images, model.image_shape)
    elif not data.is_own(source) and data.DATASETS[source].image_shape != model.image_shape:
        raise ValueError(
            f"{name} takes images {model.image_shape}, but those of {source} are "
            f"{data.DATASETS[source].image_shape}"
        )
    for eps in budgets if norm else ():
        require_budget(eps, norm, model.image_shape)
    if model.num_classes is None:
        return
    if images is not None and images.labels is not None:
        with _named(source):
            checks.labels(images.labels, len(images.labels), model.num_classes)
    if target is not None:
        checks.labels([target], 1, model.num_classes, "--target")


@contextlib.contextmanager
def _named(source: str) -> Iterator[None]:
    """Errors about the images that a file holds begin with its name."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise type(error)(f"{source}: {error}") from error


def add_csv(parser: argparse.ArgumentParser) -> None:
    """Add the option for a file with a row for each image to a command."""
    parser.add_argument(
        "--csv",
        metavar="FILE",
        type=os.path.expanduser,
        help="write a row for each image into this file",
    )


def _require_new_outputs(options: argparse.Namespace, names: Sequence[str]) -> None:
    """Raise if a file that is to be written is one of those that are read."""
    for option in ("save", "csv", "plot"):
        output = getattr(options, option, None)
        for given in (options.data, *names):
            if not (output and given and os.path.isfile(given)):
                continue
            if os.path.realpath(output) == os.path.realpath(given):
                raise ValueError(f"--{option} would overwrite {given}, which is read")


def models_and_images(
    options: argparse.Namespace, names: Sequence[str]
) -> list[tuple["CertifiedModel", "ImageSet"]]:
    """Load the models and their images, which :func:`check` has checked.

    Args:
        options: parsed options, among them those that :func:`add_model_and_images` added.
        names: names of the models.

    Returns:
        Pairs of a :class:`zoo.models.CertifiedModel` and a :class:`zoo.data.ImageSet`, one for each
        name.

    Raises:
        TypeError, ValueError, OSError, zoo.ZooError: naming what cannot be loaded.
    """
    from zoo.utils import checks

    sources = [options.data or _record(name, "--data").dataset for name in names]
    loaded: dict[tuple[str, ImageShape], ImageSet] = {}
    found = []
    for name, source in zip(names, sources, strict=True):
        model, shape = _load(name)
        if (source, shape) not in loaded:
            loaded[source, shape] = _images(options, source, shape)
        images = loaded[source, shape]
        images = images if options.classes else _in_order_of(name, images)
        if images.images.shape[1:] != shape:
            raise ValueError(
                f"{name} takes images {shape}, but {images.name} has others, "
                f"{images.images.shape[1:]}"
            )
        model = _own_model.classifier(model, images, _valid_range(options))
        _require_classes(name, model, images)
        if images.labels is not None:
            with _named(images.name):
                checks.labels(images.labels, len(images), model.num_classes)
        found.append((model, images))
    return found


def _load(name: str) -> tuple[Any, ImageShape]:
    """A model, which may be no model of the zoo, and the shape of its images."""
    from zoo.hub import loading
    from zoo.utils.backend import start_in_float32

    start_in_float32()
    if not _own_model.is_keras(name):
        model = loading.load(name)
        return model, model.image_shape
    model = _own_model.load(name)
    return model, _own_model.image_shape(name, model)


def _images(options: argparse.Namespace, source: str, shape: ImageShape) -> "ImageSet":
    from zoo import data

    form: dict[str, Any] = {}
    if data.is_own(source):
        classes = [c.strip() for c in options.classes.split(",")] if options.classes else None
        form = {"image_shape": shape, "resize": options.resize, "class_names": classes}
    images = data.load(source, "test", n=options.n, **form)
    if options.valid_range is not None and data.is_npz(source):
        images = _unit_images(images, *options.valid_range)
    return images


def _valid_range(options: argparse.Namespace) -> tuple[float, float] | None:
    return None if options.valid_range is None else tuple(options.valid_range)


def _unit_images(images: "ImageSet", low: float, high: float) -> "ImageSet":
    """Floats in a model's own range as images in [0, 1]; integers of 8 bits are pixels anyway."""
    import numpy as np

    x = images.images
    if x.dtype.kind != "f" or not x.size:
        return images
    # The ends of the range may not be numbers of the file's type.
    if not (x.min() >= x.dtype.type(low) and x.max() <= x.dtype.type(high)):
        raise ValueError(
            f"the floats of {images.name} must lie in the --valid-range [{low:g}, {high:g}], but "
            f"range over [{x.min():g}, {x.max():g}]"
        )
    scaled = (x.astype(np.float64) - low) / (high - low)
    return dataclasses.replace(images, images=scaled.clip(0, 1).astype(np.float32))


def _in_order_of(name: str, images: "ImageSet") -> "ImageSet":
    """The images with class numbers of the catalog's model, if their folders have its names."""
    import numpy as np

    from zoo import data

    if is_own(name) or images.class_names is None or images.labels is None:
        return images
    known = data.DATASETS.get(catalog.info(name).dataset)
    names = (known and known.class_names) or ()
    if images.class_names == names or not set(images.class_names) <= set(names):
        return images
    order = np.array([names.index(folder) for folder in images.class_names], np.int64)
    return dataclasses.replace(
        images, labels=order[images.labels], class_names=names, num_classes=len(names)
    )


def _require_classes(name: str, model: "CertifiedModel", images: "ImageSet") -> None:
    """Raise if the names of the classes' folders cannot be those of the model's classes."""
    if images.class_names is None:
        return
    numbers = [str(number) for number in range(images.num_classes)]
    are_numbers = [str(int(c)) if c.isdecimal() else c for c in images.class_names] == numbers
    if images.num_classes > model.num_classes or (
        images.num_classes != model.num_classes and not are_numbers
    ):
        text = (
            f"{name} has {model.num_classes} classes, {images.name} has {images.num_classes}: "
            f"{', '.join(images.class_names)}"
        )
        if images.num_classes < model.num_classes:
            text += (
                "; call the folders by the numbers of the classes, from 0 on, or give the names of "
                "all classes with --classes"
            )
        raise ValueError(text)


def add_attacks(parser: argparse.ArgumentParser, default: str) -> None:
    """Add the option for the attacks of an evaluation to a command.

    Args:
        parser: parser of the command.
        default: what stands for the option if it is not given.
    """
    parser.add_argument(
        "--attacks",
        metavar="NAME,NAME,…",
        default=default,
        help="names of attacks, separated by commas, or none (default: %(default)s); "
        "`zoo attack --help` lists the names",
    )


def attacks_from(options: argparse.Namespace) -> tuple[str, ...]:
    """The names that ``--attacks`` gives."""
    names = tuple(filter(None, (name.strip() for name in options.attacks.split(","))))
    return () if names == ("none",) else names


def measured_eps(name: str, norm: str | None) -> list[str]:
    """The budgets at which a model was attacked in a norm, according to the catalog.

    Args:
        name: name of the model.
        norm: ``"linf"`` or ``"l2"``; None for the model's own.

    Raises:
        ValueError: if there are none; the message asks for ``--eps``.
    """
    record = _record(name, "--eps")
    norm = norm or record.norm
    measured = [result.eps for result in record.metrics.attacked if result.norm == norm]
    if not measured:
        raise ValueError(
            f"the catalog has no budget in {norm} at which {name} was attacked; give --eps"
        )
    return list(dict.fromkeys(measured))


def certified_eps(name: str, norm: str) -> list[Epsilon]:
    """The budgets at which a model's certificates were measured, none for a model of one's own."""
    if is_own(name):
        return []
    results = catalog.info(name).metrics.certified
    return sorted({Epsilon(result.eps) for result in results if result.norm == norm}, key=float)


def is_own(name: str) -> bool:
    """Whether a name is that of a file or folder or of a Hub repository, not of the catalog."""
    from zoo.hub import download

    return _own_model.is_keras(name) or download.is_outside_catalog(name)


def _record(name: str, option: str) -> Record:
    """The catalog's entry of a model; if it has none, the error asks for an option."""
    _require_model(name)
    if is_own(name):
        raise ValueError(f"{name} has no entry in the catalog to take defaults from; give {option}")
    return catalog.info(name)
