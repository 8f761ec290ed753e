"""Turn a trained model into a shipped checkpoint with a measured manifest entry."""

import dataclasses
import json
import pathlib
import shutil

import numpy as np

from training.cost import cost
from training.run import build
from zoo import data
from zoo.attacks import ATTACKS, check_settings
from zoo.evaluation import evaluate
from zoo.hub import catalog, checkpoint, download, golden, loading
from zoo.hub.card import card
from zoo.hub.records import (
    AttackResult,
    CertifiedResult,
    Cost,
    File,
    Measurement,
    Record,
    TrainingRun,
)
from zoo.utils.whole_file import require_writable


def check(recipe, *, data_file=None, weights=None):
    """Raise, before a model is trained, the errors that :func:`measure` would raise afterwards.

    Args:
        recipe: recipe, as :func:`training.recipe.load` returns it.
        data_file, weights: as for :func:`measure`.

    Raises:
        ValueError: naming the entry of the recipe that is wrong, or what is wrong with the images.
        FileNotFoundError, RuntimeError: if there are no test images.
        OSError: if the checkpoint or the manifest cannot be written.
    """
    target = pathlib.Path(weights or catalog.WEIGHTS) / recipe["name"]
    require_writable(target / checkpoint.CONFIG, makes_folders=True)
    require_writable(catalog.MANIFEST)
    test = data.load(data_file or recipe["data"]["name"], "test")
    model = build(recipe)
    # With no images, certify and attack do nothing but check their arguments.
    metrics_of(model, test.take(0), recipe)


def measure(recipe, folder, *, data_file=None, weights=None, verbose=1):
    """Measure a finished run on the test set, copy its weights and write its manifest entry.

    Args:
        recipe: recipe, as :func:`training.recipe.load` returns it.
        folder: folder of the run.
        data_file: an ``.npz`` file to use instead of the recipe's image set.
        weights: folder of the shipped checkpoints, to which the weights are copied; by default the
            catalog's.
        verbose: 1 shows progress bars.

    Returns:
        :class:`zoo.hub.records.Record`, the manifest entry.

    Raises:
        FileNotFoundError, ValueError: if the run has not finished.
        zoo.SoundnessError: if an attack broke a certificate. Nothing has been written.
    """
    folder = pathlib.Path(folder)
    if not (folder / "run.json").is_file():
        raise FileNotFoundError(f"{folder} holds no finished run; train it first")
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    if "minutes" in run:  # a run with a time limit is finished after any number of epochs
        if run["epochs"] < 1:
            raise ValueError(
                f"{folder} holds less than one epoch; give a run in another folder more --minutes"
            )
    elif run["epochs"] < recipe["training"]["epochs"] and not run.get("stopped"):
        raise ValueError(
            f"{folder} holds {run['epochs']} of {recipe['training']['epochs']} epochs; finish the "
            "run before it is measured"
        )
    # We measure the model from the stored file, whose weights are rounded.
    model = checkpoint.load(folder)
    test = data.load(data_file or recipe["data"]["name"], "test")
    metrics = dataclasses.replace(
        metrics_of(model, test, recipe, verbose), cost=cost(model, test.images)
    )
    target = pathlib.Path(weights or catalog.WEIGHTS) / recipe["name"]
    target.mkdir(parents=True, exist_ok=True)
    files = []
    for name in (checkpoint.CONFIG, checkpoint.WEIGHTS):
        shutil.copyfile(folder / name, target / name)
        size, sha256 = download.digest(target / name)
        files.append(File(path=name, size=size, sha256=sha256))
    record = Record(
        name=recipe["name"],
        approach=recipe["approach"],
        dataset=recipe["data"]["name"],
        norm=model.certificates[0][0],
        architecture=model.architecture,
        parameters=int(sum(np.prod(w.shape) for w in model.trainable_weights)),
        files=files,
        hub=None,
        metrics=metrics,
        training=TrainingRun(
            recipe=run["recipe"],
            seed=run["seed"],
            epochs=run["epochs"],
            minutes=run.get("minutes"),
            seconds=run["seconds"],
            hardware=run["hardware"],
            backend=run["backend"],
            images=run["images"],
        ),
        paper=model.paper,
        license="apache-2.0",
        notes=recipe.get("notes", ""),
        golden=golden.logits(model),
    )
    (target / "README.md").write_text(card(record), encoding="utf-8")
    catalog.write(record)
    return record


def measure_cost(name) -> Cost:
    """Time the certificate of a shipped checkpoint, and update its cost and golden logits.

    Args:
        name: name of the checkpoint in the catalog.

    Returns:
        The :class:`zoo.hub.records.Cost` that was written.
    """
    record = catalog.info(name)
    model, test = loading.load(name), data.load(record.dataset, "test")
    measured = cost(model, test.images)
    metrics = dataclasses.replace(record.metrics, cost=measured)
    catalog.write(dataclasses.replace(record, metrics=metrics, golden=golden.logits(model)))
    return measured


def _parameters(attack, settings):
    """The parameters of an attack that a recipe sets, without those that the attack lacks."""
    check_settings(attack)
    wanted = {
        "steps": settings["attack_steps"],
        "restarts": settings["attack_restarts"],
        "loss": "cross_entropy" if attack == "fgsm" else "margin",
    }
    known = [field.name for field in dataclasses.fields(ATTACKS[attack])]
    return {name: value for name, value in wanted.items() if name in known}


def metrics_of(model, test, recipe, verbose=0) -> Measurement:
    """Measure clean, attacked and certified accuracy on test images, but not the cost."""
    settings = recipe["measure"]
    test = test.take(settings.get("images", len(test)))
    attacks = tuple(settings.get("attacks", ("pgd",)))
    parameters = {attack: _parameters(attack, settings) for attack in attacks}
    report = evaluate(
        model,
        test.images,
        test.required_labels(),
        eps=settings["eps"],
        attacks=attacks,
        params=parameters,
        seed=recipe["seed"],
        verbose=verbose,
    )
    n, norm = report.n, report.norm
    certified = []
    known = [method for own, method in model.certificates if own == norm]
    for method in settings.get("methods", known):
        certificate = (
            report.certificate
            if method == report.method
            else model.certify(test.images, norm=norm, method=method)
        )
        for row in report.rows:
            accuracy = certificate.accuracy(test.labels, row["eps"])
            certified.append(
                CertifiedResult(eps=row["eps"], norm=norm, method=method, accuracy=accuracy, n=n)
            )
    attacked = [
        AttackResult(
            eps=row["eps"],
            norm=norm,
            attack=attack,
            parameters=parameters[attack],
            accuracy=row["attacked"][attack],
            n=n,
        )
        for row in report.rows
        for attack in attacks
    ]
    return Measurement(
        n=n,
        split="test",
        clean=report.clean,
        certified=certified,
        attacked=attacked,
        seed=recipe["seed"],
    )
