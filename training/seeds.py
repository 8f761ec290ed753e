"""Train a recipe with several seeds, and record how much its accuracies differ."""

import dataclasses
import functools
import pathlib

import numpy as np

from training.images import load_test
from training.measure import current
from training.run import build, require_valid, train
from zoo.hub import catalog
from zoo.hub.card import write_card
from zoo.hub.records import Record, Seeds, Spread
from zoo.utils import checks
from zoo.utils.paths import expanded


def train_seeds(recipe, count, folder=None, *, data_file=None, verbose=1) -> Record:
    """Train a shipped checkpoint's recipe with further seeds, and write the spread of accuracies.

    The shipped weights stay those of the recipe's own seed, and their accuracies count as one of
    the trainings. An interrupted call goes on where it was, as :func:`training.run.train` does.

    Args:
        recipe: recipe, as :func:`training.recipe.load` returns it, of a checkpoint in the catalog.
        count: number of trainings, the shipped one included; at least 2.
        folder: start of the names of the runs' folders, which end in ``-seed-N``; by default
            ``runs/NAME``.
        data_file: an ``.npz`` file to use instead of the recipe's image set.
        verbose: 1 shows progress bars.

    Returns:
        :class:`zoo.hub.records.Record` as it was written.

    Raises:
        ValueError: if ``count`` is below 2, or the checkpoint has another seed than the recipe.
        RuntimeError: if the checkpoint was replaced or certified anew meanwhile.
        zoo.UnknownModelError: if the recipe's checkpoint is not in the catalog.
    """
    if checks.positive_integer(count, "seeds") < 2:
        raise ValueError(f"seeds must be at least 2, got {count}")
    record = catalog.info(recipe["name"])
    folder = expanded(folder or pathlib.Path("runs") / recipe["name"])
    best = record.metrics.best_certified()
    rows = [[record.metrics.clean, *(result.accuracy for result in best)]]
    own = recipe["seed"]
    if record.training.seed != own:
        raise ValueError(
            f"the checkpoint {record.name} was trained with seed {record.training.seed}, and its "
            f"recipe has seed {own} now; train and measure the recipe first"
        )
    seeds = [own, *(seed for seed in range(count) if seed != own)][:count]
    test = load_test(recipe["data"]["name"], data_file).take(record.metrics.n)
    require_valid(test, build(recipe))
    labels = test.required_labels()
    for seed in seeds[1:]:
        of_seed = folder.with_name(f"{folder.name}-seed-{seed}")
        model = train(
            recipe | {"seed": seed},
            of_seed,
            data_file=data_file,
            minutes=record.training.minutes,
            verbose=verbose,
        )
        certify = functools.cache(functools.partial(model.certify, test.images))
        certificates = [certify(norm=result.norm, method=result.method) for result in best]
        clean = float(np.mean(certificates[0].prediction == labels))
        pairs = zip(certificates, best, strict=True)
        rows.append([clean, *(found.accuracy(labels, result.eps) for found, result in pairs)])
    budgets = ["0", *(result.eps for result in best)]
    spreads = [
        Spread(eps=eps, mean=float(np.mean(column)), sd=float(np.std(column, ddof=1)))
        for eps, column in zip(budgets, zip(*rows, strict=True), strict=True)
    ]
    now = current(record)
    if (now.metrics.n, now.metrics.best_certified()) != (record.metrics.n, best):
        raise RuntimeError(
            f"{record.name} was certified anew during the trainings, whose accuracies are "
            "therefore not written; the same command measures them again"
        )
    metrics = dataclasses.replace(now.metrics, seeds=Seeds(seeds=seeds, accuracies=spreads))
    record = dataclasses.replace(now, metrics=metrics)
    catalog.check(record)
    write_card(record, catalog.WEIGHTS / record.name)
    catalog.write(record)
    return record
