"""The results for a paper's tables: a JSON file with one line for each network.

A result of a training says how it was made: ``recipe`` has the recipe's entries that affect the
training, and ``measurements`` the settings of the measurements.
"""

import traceback

from training import json_file
from training.images import require_separate
from training.run import affects_training, build, require_valid, train
from training.tables import queue
from training.tables.measure import Subject, measure
from zoo import data
from zoo.bounds.model_state import digest_of_weights
from zoo.hub import catalog, loading
from zoo.utils.json_text import json_text
from zoo.utils.paths import expanded
from zoo.utils.whole_file import write_whole


def read(path):
    """The results in a file, a dictionary by the keys of runs; empty if there is no file."""
    return json_file.read(path) if path.exists() else {}


def add(path, key, result):
    """Add a result to the file, which is read again first: other processes may write it, too."""
    found = {**read(path), key: result}
    lines = [f"{json_text(key)}: {json_text(value)}" for key, value in found.items()]
    write_whole(path, "{\n" + ",\n".join(lines) + "\n}\n")


def fill(paper, folder, *, only=None, results=None, data_file=None, overrides=None, verbose=1):
    """Train and measure the networks that have no result of their recipe yet, one after the other.

    The order is that of :func:`training.tables.queue.waiting`. Each result is written as soon as it
    is complete. After an interruption, even by a signal that cannot be handled, the same call
    continues with the networks that have no result; an unfinished training resumes from its last
    state, and an unfinished measurement with the quantity that was being measured. A finished
    training whose measurements have changed is measured again where they changed. An older result
    stays in the file until the new one replaces it.

    Args:
        paper: :class:`training.tables.papers.Paper`.
        folder: folder in which each training has a folder of its own.
        only: list of names of runs; by default all runs of the paper.
        results: JSON file for the results; by default the paper's own.
        data_file: an ``.npz`` file to use instead of the recipes' image sets.
        overrides: nested dictionaries that replace entries of every recipe, after the run's own
            overrides.
        verbose: 1 shows names, estimates and progress.

    Raises:
        ValueError: if the paper has no runs, or none of a given name.
        RuntimeError: at the end, naming the networks whose training or measurement failed. The
            others have been trained and measured.
    """
    path = expanded(results or paper.results)
    failed = {}
    for job in queue.waiting(paper, read(path), only=only, overrides=overrides):
        if verbose:
            print(job, flush=True)
        try:
            if job.recipe is None:
                result = _of_checkpoint(job.run, data_file)
            else:
                own = expanded(folder) / paper.name / job.folder
                result = _of_training(job.run, job.recipe, own, data_file, verbose)
        except Exception as error:
            # The others are worth training even if one cannot be. TensorFlow's errors have no class
            # in common with those of Python.
            failed[job.key] = error
            traceback.print_exc()
            continue
        add(path, job.key, result)
    if failed:
        raise RuntimeError("; ".join(f"{key} failed: {error}" for key, error in failed.items()))


def _of_training(run, recipe, folder, data_file, verbose):
    source = data_file or recipe["data"]["name"]
    training, test = _images(source)
    require_separate(source)
    require_valid(test, build(recipe))  # before a training whose test would fail
    model = train(recipe, folder, data_file=data_file, verbose=verbose)
    record = json_file.read(folder / "run.json")
    history = json_file.read(folder / "history.json")["epochs"]
    subject = Subject(model, training, test, history)
    return {
        "epochs": record["epochs"],
        **({"stopped": True} if record.get("stopped") else {}),
        # The time of all epochs with one decimal; run.json rounds it to whole seconds.
        "seconds": round(sum(epoch["seconds"] for epoch in history), 1),
        "hardware": record["hardware"],
        "images": record["images"],
        "n": len(test),
        "recipe": affects_training(recipe),
        "measurements": run.measurements,
        **_measured(subject, run.measurements, folder),
    }


def _measured(subject, measurements, folder):
    """Like :func:`training.tables.measure.measure`, but it can resume after an interruption.

    The file ``measured.json`` in the training's folder keeps each value with the settings, weights
    and images that it was measured on. Delete the file to measure all values again.
    """
    path, weights = folder / "measured.json", digest_of_weights(subject.model).hex()
    images = [f"{part.name}: {len(part)}" for part in (subject.train, subject.test)]
    kept, values = read(path), {}
    for name, settings in measurements.items():
        how = {"settings": settings, "weights": weights, "images": images}
        known = kept.get(name, {})
        if {key: known.get(key) for key in how} != how:
            kept[name] = known = {**how, "value": measure(subject, {name: settings})[name]}
            write_whole(path, json_text(kept, indent=1))
        values[name] = known["value"]
    return values


def _of_checkpoint(run, data_file):
    record = catalog.info(run.checkpoint)
    training, test = _images(data_file or record.dataset)
    subject = Subject(loading.load(run.checkpoint), training, test)
    return {
        "epochs": record.training.epochs,
        "seconds": record.training.seconds,
        "hardware": record.training.hardware,
        "n": len(test),
        "weights": queue.weights(record),
        "measurements": run.measurements,
        **measure(subject, run.measurements),
    }


def _images(name):
    return data.load(name, "train"), data.load(name, "test")
