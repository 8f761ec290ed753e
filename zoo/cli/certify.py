"""``zoo certify``."""

import argparse
from typing import TYPE_CHECKING, Any

from zoo.cli import _images_table
from zoo.cli._model_options import (
    add_csv,
    add_eps,
    add_model_and_images,
    certified_eps,
    check,
    models_and_images,
)
from zoo.cli._own_output import foreign_output_to_stderr
from zoo.cli._unfinished import Unfinished
from zoo.epsilon import Epsilon
from zoo.utils import checks
from zoo.utils.table import floor_text, percent
from zoo.utils.whole_file import require_writable, write_whole

if TYPE_CHECKING:
    from zoo.certificates import Certificate
    from zoo.data import ImageSet

_BUDGETS = (
    "the summary has those that the model was measured at, and the table of the images has none"
)

SUMMARY = "Prove for each image how far it may change without changing the prediction."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_and_images(parser)
    add_eps(parser, many=True, default=_BUDGETS)
    parser.add_argument(
        "--method",
        default="auto",
        help="method of the certificate, such as crown or interval; for a method that the model "
        "does not have, the error lists those that it has (default: the model's first one)",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        metavar="SECONDS",
        help="certify for this long, and keep what is proved by then (default: no limit)",
    )
    parser.add_argument(
        "--nearest",
        action="store_true",
        help="for each image, look for the nearest image with another answer",
    )
    add_csv(parser)


def run(options: argparse.Namespace) -> tuple[Any, str]:
    budgets = list(dict.fromkeys(options.eps or []))
    if options.timeout is not None:
        checks.positive_number(options.timeout, "--timeout")
    if options.csv:
        require_writable(options.csv)
    check(options, [options.name], method=options.method, budgets={options.name: budgets})
    ((model, images),) = models_and_images(options, [options.name])
    with foreign_output_to_stderr():
        certificate = model.certify(
            images.images,
            norm=options.norm,
            method=options.method,
            batch_size=options.batch_size,
            verbose=not options.quiet,
            nearest=options.nearest,
            timeout=options.timeout,
        )
    in_summary = budgets or certified_eps(options.name, certificate.norm)
    summary = [_measured(certificate, images, eps) for eps in in_summary]
    result = {
        "model": options.name,
        "data": images.name,
        "n": len(certificate),
        "clean": _clean(certificate, images),
        "budgets": summary,
        **{key: value for key, value in certificate.to_dict().items() if key != "labels"},
        "label": None if images.labels is None else images.labels.tolist(),
        "file": images.files,
        "certified": {str(eps): certificate.certified(eps).tolist() for eps in budgets},
    }
    table = _images_table.with_names(certificate.table(images.labels, budgets), images)
    heading = _summary(options.name, certificate, images, summary)
    text = f"{heading}\n\n{_images_table.text(table)}"
    if options.csv:
        try:
            write_whole(options.csv, table.to_csv())
        except OSError as error:
            raise Unfinished(result, text, error) from error
    return result, text


def _measured(certificate: "Certificate", images: "ImageSet", eps: Epsilon) -> dict[str, Any]:
    labels = images.labels
    return {
        "eps": str(eps),
        "certified_predictions": int(certificate.certified(eps).sum()),
        "certified_accuracy": None if labels is None else certificate.accuracy(labels, eps),
    }


def _clean(certificate: "Certificate", images: "ImageSet") -> float | None:
    if images.labels is None or not len(images):
        return None
    return float((certificate.prediction == images.labels).mean())


def _summary(
    name: str, certificate: "Certificate", images: "ImageSet", budgets: list[dict[str, Any]]
) -> str:
    import numpy as np

    n = len(certificate)
    lines = [f"{name} on {images.name}: n = {n}, {certificate.norm}, {certificate.method}"]
    if not n:
        return lines[0]
    clean = _clean(certificate, images)
    parts = [] if clean is None else [f"clean accuracy {percent(clean)}"]
    parts.append(f"median radius {floor_text(float(np.median(certificate.radius)), 4)}")
    lines.append(", ".join(parts))
    if certificate.finished is not None and not certificate.finished.all():
        lines.append(f"finished in time: {int(certificate.finished.sum())} of {n} images")
    for row in budgets:
        line = f"at eps {row['eps']}: {row['certified_predictions']} of {n} predictions certified"
        if row["certified_accuracy"] is not None:
            line += f", certified accuracy {percent(row['certified_accuracy'])}"
        lines.append(line)
    return "\n".join(lines)
