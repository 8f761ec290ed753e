"""Options of commands that run models on images, and functions that load the models and images."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from zoo.hub import catalog
from zoo.hub.records import Record

if TYPE_CHECKING:
    from zoo.data import ImageSet
    from zoo.models import CertifiedModel


def add_model_and_images(parser: argparse.ArgumentParser, *, many: bool = False) -> None:
    """Add the options for the model and the images to a command.

    Args:
        parser: parser of the command.
        many: whether the command takes several models.
    """
    model = "model name, hf://org/repo[@revision], or folder"
    parser.add_argument("name", nargs="+" if many else None, help=model)
    parser.add_argument("--data", help="image set or .npz file (default: the model's test set)")
    parser.add_argument("--n", type=int, help="only the first N images")
    parser.add_argument(
        "--norm", type=str.lower, choices=("linf", "l2"), help="norm of the perturbation"
    )
    parser.add_argument(
        "--batch-size", type=int, default=256, help="images per batch (default: %(default)s)"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bars")


def add_eps(parser: argparse.ArgumentParser, *, many: bool = False) -> None:
    """Add the option for the perturbation budget to a command.

    Args:
        parser: parser of the command.
        many: whether the command takes several budgets.
    """
    parser.add_argument(
        "--eps",
        nargs="+" if many else None,
        help="perturbation budget, such as 0.1 or 8/255 (default: those the model was measured at)",
    )


def models_and_images(
    options: argparse.Namespace, names: Sequence[str]
) -> list[tuple["CertifiedModel", "ImageSet"]]:
    """Load the models and their images.

    All names and options are checked before anything is loaded.

    Args:
        options: parsed options, among them those that :func:`add_model_and_images` added.
        names: names of the models.

    Returns:
        Pairs of a :class:`zoo.models.CertifiedModel` and a :class:`zoo.data.ImageSet`, one for each
        name.

    Raises:
        TypeError, ValueError, OSError, zoo.ZooError: naming the option that is wrong.
    """
    from zoo import data
    from zoo.hub import download, loading
    from zoo.utils import checks

    if options.n is not None and options.n < 1:
        raise ValueError(f"--n must be at least 1, got {options.n}")
    checks.positive_integer(options.batch_size, "--batch-size")
    sources = [options.data or _record(name, "--data").dataset for name in names]
    for name, source in zip(names, sources, strict=True):
        download.check(name)
        data.check(source)
    images = {source: data.load(source, "test") for source in dict.fromkeys(sources)}
    if options.n is not None:
        images = {source: images[source].take(options.n) for source in images}
    return [
        (loading.load(name), images[source]) for name, source in zip(names, sources, strict=True)
    ]


def measured_eps(name: str) -> list[str]:
    """The budgets at which a model was attacked, according to the catalog.

    Raises:
        ValueError: if there are none; the message asks for ``--eps``.
    """
    measured = [result.eps for result in _record(name, "--eps").metrics.attacked]
    if not measured:
        raise ValueError(f"the catalog has no budget at which {name} was attacked; give --eps")
    return measured


def _record(name: str, option: str) -> Record:
    from zoo.hub import download

    if download.is_outside_catalog(name):
        raise ValueError(f"{name} has no entry in the catalog to take defaults from; give {option}")
    return catalog.info(name)
