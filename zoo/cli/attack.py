"""``zoo attack``."""

import argparse
import os
import pathlib
from typing import Any

from zoo.attacks.command_line import add_attack_flags, attack_from
from zoo.attacks.registry import require_targeted
from zoo.cli import _images_table
from zoo.cli._model_options import (
    add_csv,
    add_eps,
    add_model_and_images,
    check,
    measured_eps,
    models_and_images,
)
from zoo.cli._unfinished import Unfinished
from zoo.epsilon import Epsilon
from zoo.typing import Array
from zoo.utils import checks
from zoo.utils.table import Column, Table, yes_or_no
from zoo.utils.whole_file import require_writable, whole_file, write_whole

SUMMARY = "Search near each image for one that the model misclassifies."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_and_images(parser)
    add_eps(parser, default="the smallest one that the model was measured at")
    parser.add_argument(
        "--save",
        metavar="FILE",
        type=os.path.expanduser,
        help="write the attacked images to this .npz file",
    )
    parser.add_argument(
        "--target",
        type=int,
        metavar="CLASS",
        help="number of the class, from 0 on, that the images are to be taken for (default: any "
        "other class)",
    )
    add_csv(parser)
    add_attack_flags(parser)


def run(options: argparse.Namespace) -> tuple[Any, str]:
    attack = attack_from(options)
    eps = Epsilon(options.eps or measured_eps(options.name, options.norm)[0])
    if options.save:
        if pathlib.Path(options.save).suffix not in ("", ".npz"):
            raise ValueError(f"--save writes an .npz file, so {options.save} must end in .npz")
        options.save = options.save.removesuffix(".npz") + ".npz"  # NumPy appends a missing .npz
        require_writable(options.save)
    if options.csv:
        require_writable(options.csv)
        if options.save and os.path.realpath(options.csv) == os.path.realpath(options.save):
            raise ValueError(f"--csv and --save would both write {options.save}")
    if options.target is not None:
        require_targeted(attack)
    check(
        options,
        [options.name],
        method=None,
        attacks=[attack],
        budgets={options.name: [eps]},
        target=options.target,
    )
    import numpy as np

    from zoo.certificates.nan_logits import classes_of, warn_of_nan

    ((model, images),) = models_and_images(options, [options.name])
    x = checks.images(images.images, model.image_shape)
    # Without labels, the attack changes the model's own predictions.
    logits = model.logits(x, batch_size=options.batch_size)
    before, decided_before = np.argmax(logits, axis=1), classes_of(logits)
    labels = before if images.labels is None else images.labels
    x_adv = model.attack(
        x,
        labels,
        attack,
        eps=eps,
        norm=options.norm,
        target=options.target,
        batch_size=options.batch_size,
        verbose=not options.quiet,
    )
    logits_after = model.logits(x_adv, batch_size=options.batch_size)
    warn_of_nan(np.any(np.isnan(logits) | np.isnan(logits_after), axis=1))
    after, decided = np.argmax(logits_after, axis=1), classes_of(logits_after)
    target = options.target
    # A targeted attack fools an image if its class becomes the target and was another one before.
    if target is None:
        fooled = decided != labels
    else:
        fooled = (decided == target) & (decided_before != target)
    known = images.labels is not None
    # An attack may make a wrong prediction right; that does not count as withstanding the attack.
    withstood = (decided_before == labels) & (decided == labels)
    result = {
        "model": options.name,
        "data": images.name,
        "attack": options.attack,
        "eps": str(eps),
        "n": len(images),
        "accuracy": float(withstood.mean()) if known and len(images) else None,
        "fooled": fooled.tolist(),
        "prediction": before.tolist(),
        "attacked": after.tolist(),
        "label": labels.tolist() if known else None,
        "file": images.files,
    }
    table = Table(
        [
            Column("image", np.arange(len(images))),
            *([Column("label", labels)] if known else []),
            Column("prediction", before),
            Column("attacked", after),
            Column("fooled", fooled, yes_or_no),
        ]
    )
    table = _images_table.with_names(table, images)
    what = "misclassified" if known else "given another class"
    if target is not None:
        result["target"] = target
        what = f"newly classified as {target}"
    text = (
        f"{options.name} on {images.name}: {fooled.sum()} of {len(images)} images "
        f"{what} under {options.attack} at eps {eps}"
    )
    if wrong := int((fooled & (decided_before != labels)).sum()) if target is None else 0:
        text += f"; {wrong} of them were misclassified before the attack"
    text += f"\n\n{_images_table.text(table)}"
    try:
        if options.save:
            given: dict[str, Any] = {"x_test": _in_range(x_adv, options.valid_range)}
            if images.labels is not None:
                given["y_test"] = images.labels
            with whole_file(options.save) as file:
                np.savez_compressed(file, **given)
            text += f"\n\nthe attacked images are in {options.save}"
        if options.csv:
            write_whole(options.csv, table.to_csv())
    except OSError as error:
        raise Unfinished(result, text, error) from error
    return result, text


def _in_range(images: Array, valid_range: list[float] | None) -> Array:
    """Images in [0, 1] as floats of the range that the same options read from a file."""
    if valid_range is None:
        return images
    low, high = valid_range
    return (low + images.astype("float64") * (high - low)).clip(low, high).astype("float32")
