"""``zoo certify``."""

import argparse
from typing import Any

from zoo.cli._model_options import add_model_and_images, check, models_and_images

SUMMARY = "Prove a radius for each image."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_and_images(parser)
    parser.add_argument("--method", default="auto", help="method of the certificate")


def run(options: argparse.Namespace) -> tuple[Any, str]:
    check(options, [options.name], method=options.method)
    ((model, images),) = models_and_images(options, [options.name])
    certificate = model.certify(
        images.images,
        norm=options.norm,
        method=options.method,
        batch_size=options.batch_size,
        verbose=not options.quiet,
    )
    result = {"model": options.name, "data": images.name, **certificate.to_dict()}
    lines = ["image  label  prediction  radius"]
    for i, (label, prediction, radius) in enumerate(
        zip(images.labels, certificate.prediction, certificate.radius, strict=True)
    ):
        lines.append(f"{i:5}  {label:5}  {prediction:10}  {radius:.6f}")
    return result, "\n".join(lines)
