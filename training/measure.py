"""Turn a trained model into a shipped checkpoint with a measured manifest entry."""

import dataclasses
import math
import os
import pathlib
import shutil
import tempfile

import numpy as np

from training import json_file
from training import recipe as recipes
from training.cost import cost
from training.images import load_test, require_separate
from training.run import build, require_valid
from zoo.attacks import ATTACKS, Attack, check_settings
from zoo.certificates import Certificate
from zoo.certificates.pairs import EXACT
from zoo.epsilon import Epsilon
from zoo.evaluation import RobustnessReport, evaluate
from zoo.hub import catalog, checkpoint, download, golden, loading
from zoo.hub.card import write_card
from zoo.hub.curve import Curve
from zoo.hub.records import (
    AttackResult,
    CertifiedResult,
    Cost,
    File,
    Measurement,
    NearestFlips,
    Record,
    TrainingRun,
)
from zoo.utils.paths import expanded
from zoo.utils.whole_file import replace, require_writable

#: The ensemble of attacks. It is so slow that it attacks only images that are not certified.
ENSEMBLE = "auto"
#: Number of test images whose nearest flips are looked for.
NEAREST = 100


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
    catalog.require_name(recipe["name"])
    target = expanded(weights or catalog.WEIGHTS) / recipe["name"]
    require_writable(target / checkpoint.CONFIG, makes_folders=True)
    require_writable(target.parent / "file", makes_folders=True)
    require_writable(catalog.MANIFEST)
    name = recipe["data"]["name"]
    test = load_test(name, data_file)
    require_separate(data_file or name)
    model = build(recipe)
    if not len(test):
        raise ValueError(f"{test.name} has no test images")
    require_valid(test.take(recipe["measure"].get("images", len(test))), model)
    # With no images, certify and attack do nothing but check their arguments.
    _metrics(model, test.take(0), recipe)


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
        zoo.SoundnessError: if an attack broke a certificate.

    If the measurement fails, the existing checkpoint stays unchanged: its files are replaced only
    after all new ones are complete.
    """
    folder = expanded(folder)
    if not (folder / "run.json").is_file():
        raise FileNotFoundError(f"{folder} holds no finished run; train it first")
    run = json_file.read(folder / "run.json")
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
    test = load_test(recipe["data"]["name"], data_file)
    measured = cost(model, test.images)
    metrics, tightest = _metrics(model, test, recipe, verbose)
    metrics = dataclasses.replace(metrics, cost=measured)
    target = expanded(weights or catalog.WEIGHTS) / recipe["name"]
    files = []
    for name in (checkpoint.CONFIG, checkpoint.WEIGHTS):
        size, sha256 = download.digest(folder / name)
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
    curve = _curve(record, tightest, test.take(metrics.n).required_labels())
    catalog.check(record)
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as complete:
        for file in files:
            shutil.copyfile(folder / file.path, pathlib.Path(complete, file.path))
        curve.save(pathlib.Path(complete, checkpoint.CURVE))
        write_card(record, pathlib.Path(complete))
        for name in os.listdir(complete):
            replace(pathlib.Path(complete, name), target / name)
    catalog.write(record)
    return record


def current(record) -> Record:
    """The catalog's entry of a checkpoint as it is now, after a measurement that took a while.

    Args:
        record: :class:`zoo.hub.records.Record` from before the measurement.

    Raises:
        RuntimeError: if the entry is of other files by now, of which nothing was measured.
    """
    now = catalog.info(record.name)
    if now.files != record.files:
        raise RuntimeError(
            f"the weights of {record.name} were replaced during the measurement, which is "
            "therefore not written; measure again"
        )
    return now


def measure_cost(name) -> Cost:
    """Time the certificate of a shipped checkpoint, and update its cost and golden logits.

    Args:
        name: name of the checkpoint in the catalog.

    Returns:
        The :class:`zoo.hub.records.Cost` that was written.
    """
    record = catalog.info(name)
    model, test = loading.load(name), load_test(record.dataset)
    measured = cost(model, test.images)
    record = current(record)
    metrics = dataclasses.replace(record.metrics, cost=measured)
    catalog.write(dataclasses.replace(record, metrics=metrics, golden=golden.logits(model)))
    return measured


def measure_attacks(name, recipe=None, *, verbose=1) -> Record:
    """Attack a shipped checkpoint as its recipe says, and update the results of attacks.

    Args:
        name: name of the checkpoint in the catalog.
        recipe: recipe, as :func:`training.recipe.load` returns it; by default the shipped one by
            which the checkpoint was trained.
        verbose: 1 shows progress bars.

    Returns:
        :class:`zoo.hub.records.Record` as it was written, with new attacked accuracies, nearest
        flips and golden logits.

    Raises:
        zoo.SoundnessError: if an attack broke a certificate. Nothing has been written.
    """
    record = catalog.info(name)
    recipe = recipes.load(record.training.recipe) if recipe is None else recipe
    model, test = loading.load(name), load_test(record.dataset).take(record.metrics.n)
    attacked = _attacked(_report(model, test, recipe, verbose), recipe)
    nearest = _nearest(model, test, recipe, verbose)
    record = current(record)
    metrics = dataclasses.replace(record.metrics, attacked=attacked, nearest=nearest)
    record = dataclasses.replace(record, metrics=metrics, golden=golden.logits(model))
    catalog.check(record)
    write_card(record, catalog.WEIGHTS / name)
    catalog.write(record)
    return record


def measure_certificates(name, recipe=None, *, verbose=1) -> Record:
    """Certify the test images of a shipped checkpoint anew, as its recipe says.

    Args:
        name, recipe: as for :func:`measure_attacks`.
        verbose: 1 shows progress bars.

    Returns:
        :class:`zoo.hub.records.Record` as it was written, with new clean and certified accuracies,
        nearest flips, notes and golden logits. The curve beside the weights and the card are
        renewed.
    """
    record = catalog.info(name)
    recipe = recipes.load(record.training.recipe) if recipe is None else recipe
    model, test = loading.load(name), load_test(record.dataset)
    test = test.take(recipe["measure"].get("images", len(test)))
    certified, tightest = _certified(model, test, recipe, verbose)
    clean = float(np.mean(tightest.prediction == test.required_labels()))
    nearest = _nearest(model, test, recipe, verbose)
    record = current(record)
    metrics = dataclasses.replace(
        record.metrics, n=len(test), clean=clean, certified=certified, nearest=nearest
    )
    record = dataclasses.replace(
        record, metrics=metrics, notes=recipe.get("notes", ""), golden=golden.logits(model)
    )
    curve = _curve(record, tightest, test.required_labels())
    catalog.check(record)
    curve.save(catalog.WEIGHTS / name / checkpoint.CURVE)
    write_card(record, catalog.WEIGHTS / name)
    catalog.write(record)
    return record


def _curve(record, certificate, labels) -> Curve:
    """The curve of the certificate of a record's test images."""
    budgets = [r.eps for r in record.metrics.certified if r.method == certificate.method]
    (weights,) = (file.sha256 for file in record.files if file.path == checkpoint.WEIGHTS)
    return Curve.of(certificate, labels, budgets=budgets, weights=weights)


def _metrics(model, test, recipe, verbose=0) -> tuple[Measurement, Certificate]:
    """Measure clean, attacked and certified accuracy on test images, but not the cost.

    The second value is the tightest certificate of the images.
    """
    test = test.take(recipe["measure"].get("images", len(test)))
    report = _report(model, test, recipe, verbose)
    labels = test.required_labels()
    known = {report.method: report.certificate} if report.n == len(test) else {}
    certified, tightest = _certified(model, test, recipe, verbose, known)
    right = tightest.prediction == labels
    metrics = Measurement(
        n=len(test),
        split="test",
        clean=float(right.mean()) if len(right) else math.nan,
        certified=certified,
        attacked=_attacked(report, recipe),
        nearest=_nearest(model, test, recipe, verbose),
        seed=recipe["seed"],
    )
    return metrics, tightest


def _certified(
    model, test, recipe, verbose, known=None
) -> tuple[list[CertifiedResult], Certificate]:
    """Certified accuracies at the budgets of a recipe by each of its methods, the default first.

    Args:
        model, test: a model, and labelled images.
        recipe: recipe, as :func:`training.recipe.load` returns it.
        verbose: 1 shows progress bars.
        known: dictionary from a method to its certificate of the images, if there is one already.

    Returns:
        ``(results, certificate)``, with the certificate of the first method.
    """
    settings, norm = recipe["measure"], model.certificates[0][0]
    default, *others = (method for own, method in model.certificates if own == norm)
    # "exact" is for a few images, as is "crown" where it is not the default: they take long.
    quick = [default, *(method for method in others if method not in ("crown", EXACT))]
    methods = settings.get("methods", quick)
    certificates = dict(known or {})
    results = []
    for method in methods:
        if method not in certificates:
            certificates[method] = model.certify(
                test.images, norm=norm, method=method, verbose=verbose
            )
        results += [
            CertifiedResult(
                eps=str(Epsilon(eps)),
                norm=norm,
                method=method,
                accuracy=certificates[method].accuracy(test.required_labels(), eps),
                n=len(test),
            )
            for eps in settings["eps"]
        ]
    return results, certificates[methods[0]]


def _attacks(settings) -> dict[str, Attack]:
    """The attacks of a recipe by name; those that are no ensemble have the recipe's parameters."""
    attacks = {}
    for name in settings.get("attacks", ("pgd", ENSEMBLE)):
        check_settings(name)
        wanted = {
            "steps": settings["attack_steps"],
            "restarts": settings["attack_restarts"],
            "loss": "cross_entropy" if name == "fgsm" else "margin",
        }
        known = {field.name for field in dataclasses.fields(ATTACKS[name])}
        known = known if name != ENSEMBLE else set()
        attacks[name] = ATTACKS[name](**{key: wanted[key] for key in wanted if key in known})
    return attacks


def _report(model, test, recipe, verbose) -> RobustnessReport:
    """Certify and attack images; the ensemble leaves out those that are certified."""
    attacks = _attacks(recipe["measure"])
    test = test.take(recipe["measure"].get("attacked_images", len(test)))
    return evaluate(
        model,
        test.images,
        test.required_labels(),
        eps=recipe["measure"]["eps"],
        attacks=attacks.values(),
        spare_certified=[name for name in attacks if name == ENSEMBLE],
        seed=recipe["seed"],
        verbose=verbose,
    )


def _attacked(report: RobustnessReport, recipe) -> list[AttackResult]:
    return [
        AttackResult(
            eps=row["eps"],
            norm=report.norm,
            attack=name,
            parameters=dataclasses.asdict(attack),
            accuracy=row["attacked"][name],
            n=report.n,
            spares_certified=name == ENSEMBLE,
        )
        for row in report.rows
        for name, attack in _attacks(recipe["measure"]).items()
    ]


def _nearest(model, test, recipe, verbose) -> NearestFlips:
    few = test.take(NEAREST)
    report = evaluate(
        model,
        few.images,
        few.required_labels(),
        eps=[],
        attacks=(),
        nearest=True,
        seed=recipe["seed"],
        verbose=verbose,
    )
    median = report.nearest_over_radius
    known = median is not None and np.isfinite(median)
    return NearestFlips(median=median if known else None, n=report.n)
