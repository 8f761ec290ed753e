"""``zoo compare``."""

import argparse
import os
from typing import TYPE_CHECKING, Any

from zoo.cli._model_options import (
    add_attacks,
    add_eps,
    add_model_and_images,
    attacks_from,
    certified_eps,
    check,
    is_own,
    models_and_images,
)
from zoo.cli._unfinished import Unfinished
from zoo.hub import catalog

if TYPE_CHECKING:
    from zoo.data import ImageSet
    from zoo.models import CertifiedModel
    from zoo.typing import Array

SUMMARY = "Measure several models on the same images, side by side."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_and_images(parser, many=True, one_norm=True)
    add_eps(parser, many=True, default="all that any of the models was measured at")
    add_attacks(parser, "none")
    parser.add_argument(
        "--plot",
        metavar="FILE",
        type=os.path.expanduser,
        help="draw the certified-accuracy curves into this file",
    )


def run(options: argparse.Namespace) -> tuple[Any, str]:
    from zoo import evaluation
    from zoo.evaluation.plots import draw, require_drawable

    names = list(dict.fromkeys(options.name))
    budgets = list(dict.fromkeys(options.eps or []))
    attacks = attacks_from(options)
    if options.plot:
        require_drawable(options.plot)
    if not options.data:
        _require_one_data_set(names)
    from zoo.evaluation.outcome import attacks_of

    check(options, names, attacks=attacks_of(attacks), budgets=dict.fromkeys(names, budgets))
    loaded = models_and_images(options, names)
    labels = _common_labels(names, [images for _, images in loaded])
    norm = options.norm or _common_norm(names, [model for model, _ in loaded])
    budgets = budgets or sorted({e for n in names for e in certified_eps(n, norm)}, key=float)
    if not budgets:
        raise ValueError(f"the catalog has no budget in {norm} for these models; give --eps")
    settings: dict[str, Any] = {
        "eps": budgets,
        "norm": norm,
        "attacks": attacks,
        "batch_size": options.batch_size,
    }
    # The images of all models are the same, but models may take them in other shapes.
    for model, images in loaded:
        evaluation.check(model, images.images, labels, **settings)
    reports: dict[str, evaluation.RobustnessReport] = {}

    def measured() -> tuple[Any, str]:
        compared = evaluation.Comparison(reports)
        result = [
            {"model": name, "data": images.name, **report.to_dict()}
            for name, report in reports.items()
        ]
        return result, f"{images.name}: {compared}"

    try:
        for name, (model, own) in zip(names, loaded, strict=True):
            reports[name] = evaluation.evaluate(
                model, own.images, labels, **settings, verbose=not options.quiet
            )
        if options.plot:
            draw(options.plot, evaluation.Comparison(reports).plot)
    except (Exception, KeyboardInterrupt) as error:
        if not reports:
            raise
        raise Unfinished(*measured(), error) from error
    return measured()


def _require_one_data_set(names: list[str]) -> None:
    sets = {name: catalog.info(name).dataset for name in names if not is_own(name)}
    if len(set(sets.values())) > 1:
        found = ", ".join(f"{name} is of {dataset}" for name, dataset in sets.items())
        raise ValueError(f"models of one data set can be compared, but {found}; or give --data")


def _common_labels(names: list[str], images: list["ImageSet"]) -> "Array":
    """The labels of the images, which are those of all models.

    Raises:
        ValueError: if a model numbers the classes in another order than the first one.
    """
    import numpy as np

    labels = images[0].required_labels()
    for name, own in zip(names, images, strict=True):
        if not np.array_equal(own.required_labels(), labels):
            raise ValueError(
                f"{name} and {names[0]} number the classes of {own.name} differently, so that they "
                "cannot be compared on it; if both have the same order, give it with --classes"
            )
    return labels


def _common_norm(names: list[str], models: list["CertifiedModel"]) -> str:
    """The first norm that all models certify.

    Raises:
        ValueError: naming the norms of each model, if there is none.
    """
    norms = [list(dict.fromkeys(norm for norm, _ in model.certificates)) for model in models]
    for norm in norms[0]:
        if all(norm in own for own in norms):
            return norm
    found = ", ".join(
        f"{name} certifies {' and '.join(own) or 'none'}"
        for name, own in zip(names, norms, strict=True)
    )
    raise ValueError(f"the models have no norm in common: {found}")
