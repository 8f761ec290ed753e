"""``zoo evaluate``."""

import argparse
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from zoo.cli import _images_table
from zoo.cli._model_options import (
    add_attacks,
    add_csv,
    add_eps,
    add_model_and_images,
    attacks_from,
    check,
    measured_eps,
    models_and_images,
)
from zoo.cli._unfinished import Unfinished
from zoo.epsilon import Epsilon
from zoo.utils.whole_file import require_writable, write_whole

if TYPE_CHECKING:
    from zoo.data import ImageSet
    from zoo.evaluation import RobustnessReport
    from zoo.models import CertifiedModel

# The name of a model, the model, its images, and the other arguments of zoo.evaluation.evaluate.
_Job = tuple[str, "CertifiedModel", "ImageSet", dict[str, Any]]

# How many pairs of classes --by-class shows.
_PAIRS = 10

SUMMARY = "Measure the clean accuracy, the accuracy under attack and the certified accuracy."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_and_images(parser, many=True)
    add_eps(parser, many=True)
    add_attacks(parser, "fgsm,pgd")
    parser.add_argument(
        "--nearest",
        action="store_true",
        help="for each image, look for the nearest image with another answer",
    )
    parser.add_argument(
        "--by-class",
        action="store_true",
        help="show the accuracies of each class, their mean over the classes (balanced accuracy), "
        "and, if the certificate has a radius for each class, which classes the images may become",
    )
    parser.add_argument(
        "--plot",
        metavar="FILE",
        type=os.path.expanduser,
        help="draw the certified-accuracy curve into this file",
    )
    add_csv(parser)
    parser.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="evaluate on this Ray cluster: host:port, ray://host:port, auto, or local for this "
        "machine alone",
    )
    parser.add_argument(
        "--task-cpus",
        type=float,
        help="processors for each task on the cluster; a task is one batch (default: 1)",
    )
    parser.add_argument(
        "--task-gpus",
        type=float,
        help="GPUs, or the fraction of a GPU, for each task on the cluster (default: 0)",
    )


def run(options: argparse.Namespace) -> tuple[Any, str]:
    from zoo.evaluation.outcome import attacks_of

    options.name = list(dict.fromkeys(options.name))
    if options.plot and len(options.name) > 1:
        raise ValueError("--plot draws the curve of one model; give one name")
    if options.csv and len(options.name) > 1:
        raise ValueError("--csv writes the images of one model; give one name")
    if options.ray is None and (options.task_cpus, options.task_gpus) != (None, None):
        raise ValueError("--task-cpus and --task-gpus are for --ray")
    if options.plot:
        from zoo.evaluation.plots import require_drawable

        require_drawable(options.plot)
    if options.ray is not None:
        from zoo.evaluation import scale_out

        scale_out.check_cluster(options.ray, **_for_each_task(options))
    if options.csv:
        require_writable(options.csv)
    settings = [_evaluation_settings(options, name) for name in options.name]
    check(
        options,
        options.name,
        attacks=attacks_of(settings[0]["attacks"]),
        budgets={
            name: of_model["eps"] for name, of_model in zip(options.name, settings, strict=True)
        },
    )
    loaded = models_and_images(options, options.name)
    for _, images in loaded:
        images.required_labels()
    jobs = [
        (name, model, images, of_model)
        for name, (model, images), of_model in zip(options.name, loaded, settings, strict=True)
    ]
    results: list[dict[str, Any]] = []
    texts: list[str] = []

    def measured() -> tuple[Any, str]:
        return results if len(options.name) > 1 else results[0], "\n\n".join(texts)

    from zoo.evaluation.plots import draw

    reports = (_evaluate_here if options.ray is None else _evaluate_on_ray)(options, jobs)
    try:
        for (name, _, images, of_model), report in zip(jobs, reports, strict=True):
            results.append({"model": name, "data": images.name, **report.to_dict()})
            texts.append(f"{name} on {images.name}\n{report}")
            if options.by_class:
                names = images.class_names
                if names is not None:  # there may be folders of the first classes alone
                    names += tuple(map(str, range(len(names), report.certificate.num_classes)))
                classes = report.by_class(names)
                results[-1]["by_class"] = classes.to_dict()
                texts[-1] += f"\n\n{classes.table()}\n\n{classes.balanced()}"
                if report.certificate.per_class is not None:
                    budget = max(of_model["eps"], key=float)
                    texts[-1] += f"\n\nwithin {budget}:\n{classes.confusions(budget).head(_PAIRS)}"
            if options.plot:
                draw(options.plot, report.plot)
                texts[-1] += f"\n\nthe curve is in {options.plot}"
            if options.csv:
                table = _images_table.with_names(report.per_image(), images)
                write_whole(options.csv, table.to_csv())
    except (Exception, KeyboardInterrupt) as error:
        if not results:
            raise
        raise Unfinished(*measured(), error) from error
    return measured()


def _evaluate_here(options: argparse.Namespace, jobs: list[_Job]) -> Iterator["RobustnessReport"]:
    from zoo import evaluation

    for _, model, images, settings in jobs:
        evaluation.check(model, images.images, images.required_labels(), **settings)
    for _, model, images, settings in jobs:
        yield evaluation.evaluate(
            model, images.images, images.required_labels(), **settings, verbose=not options.quiet
        )


def _evaluate_on_ray(options: argparse.Namespace, jobs: list[_Job]) -> Iterator["RobustnessReport"]:
    from zoo.evaluation import scale_out

    of_cluster = [
        scale_out.Job(name, model, images.images, images.required_labels(), settings)
        for name, model, images, settings in jobs
    ]
    takes = _for_each_task(options)
    return scale_out.evaluate_each(of_cluster, options.ray, **takes, verbose=not options.quiet)


def _for_each_task(options: argparse.Namespace) -> dict[str, Any]:
    takes = {"cpus": options.task_cpus, "gpus": options.task_gpus}
    return {kind: number for kind, number in takes.items() if number is not None}


def _evaluation_settings(options: argparse.Namespace, name: str) -> dict[str, Any]:
    budgets = map(Epsilon, options.eps or measured_eps(name, options.norm))
    return {
        "eps": list(dict.fromkeys(budgets)),
        "norm": options.norm,
        "attacks": attacks_from(options),
        "batch_size": options.batch_size,
        "nearest": options.nearest,
        # Nothing else shows radii, and accuracies at budgets take less time without them.
        "radii": bool(options.nearest or options.plot or options.csv or options.by_class),
    }
