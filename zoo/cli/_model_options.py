"""Options of commands that run models on images; functions that check and load what they name."""

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from zoo.epsilon import Epsilon
from zoo.hub import catalog
from zoo.hub.records import Record

if TYPE_CHECKING:
    from zoo.attacks import Attack
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


def check(
    options: argparse.Namespace,
    names: Sequence[str],
    *,
    method: str = "auto",
    attacks: Sequence["Attack"] = (),
    budgets: Mapping[str, Sequence[Epsilon]] | None = None,
    target: int | None = None,
) -> None:
    """Raise unless the models, the images and the settings fit together.

    No backend is imported, so that a mistake is reported at once. Models that are on the Hub alone
    are fetched, after everything else has been checked.

    Args:
        options: parsed options, among them those that :func:`add_model_and_images` added.
        names: names of the models.
        method: method of the certificate.
        attacks: the attacks that the models will be exposed to.
        budgets: perturbation budgets by name of the model.
        target: class that the images are to be taken for.

    Raises:
        TypeError, ValueError, OSError, zoo.ZooError: naming the option that is wrong.
    """
    from zoo import data
    from zoo.attacks.registry import checked_attack, require_budget
    from zoo.certificates.pairs import choose
    from zoo.hub import download
    from zoo.hub.outline import is_here, outline
    from zoo.utils import checks

    if options.n is not None and options.n < 1:
        raise ValueError(f"--n must be at least 1, got {options.n}")
    checks.positive_integer(options.batch_size, "--batch-size")
    sources = {name: options.data or _record(name, "--data").dataset for name in names}
    for name, source in sources.items():
        download.check(name)
        data.check(source)
    for attack in attacks:
        checked_attack(attack, options.norm)
    files = {source for source in sources.values() if str(source).endswith(".npz")}
    read = {source: data.load(source, "test") for source in files}
    for name in sorted(names, key=is_here, reverse=True):
        model, source = outline(name), sources[name]
        norm = options.norm
        if model.certificates is not None:
            norm, _ = choose(model.certificates, norm, method, model.kind)
        for attack in attacks:
            checked_attack(attack, norm)
        if model.image_shape is None:
            continue
        if source in read:
            images = read[source].images[: options.n]
            checks.images(images, model.image_shape)
        elif data.DATASETS[source].image_shape != model.image_shape:
            raise ValueError(
                f"{name} takes images {model.image_shape}, but those of {source} are "
                f"{data.DATASETS[source].image_shape}"
            )
        for eps in (budgets or {}).get(name, ()) if norm else ():
            require_budget(eps, norm, model.image_shape)
        if model.num_classes is None:
            continue
        if source in read and budgets:
            labels = read[source].labels[: options.n]
            checks.labels(labels, len(labels), model.num_classes)
        if target is not None:
            checks.labels([target], 1, model.num_classes, "target")


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
    from zoo import data
    from zoo.hub import loading

    sources = [options.data or _record(name, "--data").dataset for name in names]
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
