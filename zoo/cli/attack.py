"""``zoo attack``."""

import argparse
from typing import Any

from zoo.attacks.command_line import add_attack_flags, attack_from
from zoo.attacks.registry import require_targeted
from zoo.cli._model_options import (
    add_eps,
    add_model_and_images,
    check,
    measured_eps,
    models_and_images,
)
from zoo.cli._unfinished import Unfinished
from zoo.epsilon import Epsilon
from zoo.utils.whole_file import require_writable

SUMMARY = "Attack each image."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_and_images(parser)
    add_eps(parser)
    parser.add_argument("--save", help="write the attacked images to this .npz file")
    parser.add_argument(
        "--target", type=int, help="class that the images are to be taken for (default: any other)"
    )
    add_attack_flags(parser)


def run(options: argparse.Namespace) -> tuple[Any, str]:
    attack = attack_from(options)
    eps = Epsilon(options.eps or measured_eps(options.name)[0])
    if options.save:
        options.save = options.save.removesuffix(".npz") + ".npz"  # NumPy appends a missing .npz
        require_writable(options.save)
    if options.target is not None:
        require_targeted(attack)
    check(
        options,
        [options.name],
        attacks=[attack],
        budgets={options.name: [eps]},
        target=options.target,
    )
    import numpy as np

    ((model, images),) = models_and_images(options, [options.name])
    x_adv = model.attack(
        images.images,
        images.labels,
        attack,
        eps=eps,
        norm=options.norm,
        target=options.target,
        batch_size=options.batch_size,
        verbose=not options.quiet,
    )
    fooled = np.argmax(model.logits(x_adv), axis=1) != images.labels
    accuracy = float(1 - fooled.mean()) if len(images) else None
    result = {
        "model": options.name,
        "data": images.name,
        "attack": options.attack,
        "eps": str(eps),
        "n": len(images),
        "accuracy": accuracy,
        "fooled": fooled.tolist(),
    }
    text = (
        f"{options.name} on {images.name}: {fooled.sum()} of {len(images)} images "
        f"misclassified under {options.attack} at eps {eps}"
    )
    if options.save:
        try:
            np.savez_compressed(options.save, x_test=x_adv, y_test=images.labels)
        except OSError as error:
            raise Unfinished(result, text, error) from error
    return result, text
