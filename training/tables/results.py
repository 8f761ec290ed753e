"""The results for a paper's tables: a JSON file with one line for each network."""

import json
import pathlib

from training import recipe as recipes
from training.hardware import hardware
from training.run import train
from training.tables.measure import Subject, measure
from training.toml_file import merged
from zoo import data
from zoo.hub import catalog, loading
from zoo.utils.json_text import json_text
from zoo.utils.whole_file import write_whole


def read(path):
    """The results in a file, a dictionary by the keys of runs; empty if there is no file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def add(path, key, result):
    """Add a result to the file, which is read again first: other processes may write it, too."""
    found = {**read(path), key: result}
    lines = [f"{json_text(key)}: {json_text(value)}" for key, value in found.items()]
    write_whole(path, "{\n" + ",\n".join(lines) + "\n}\n")


def fill(paper, folder, *, only=None, results=None, data_file=None, overrides=None, verbose=1):
    """Train and measure the networks that have no result yet, one after the other.

    Each result is written as soon as it is complete. After an interruption, the same call continues
    with the networks that have no result; an unfinished training resumes from its last state.

    Args:
        paper: :class:`training.tables.papers.Paper`.
        folder: folder in which each run has a folder of its own.
        only: list of names of runs; by default all runs of the paper.
        results: JSON file for the results; by default the paper's own.
        data_file: an ``.npz`` file to use instead of the recipes' image sets.
        overrides: nested dictionaries that replace entries of every recipe, after the run's own
            overrides.
        verbose: 1 shows names and progress.

    Raises:
        ValueError: if the paper has no runs, or none of a given name.
    """
    if not paper.runs:
        raise ValueError(
            f"{paper.name}'s rows are checkpoints, trained one by one with "
            "python -m training NAME --measure"
        )
    chosen = list(paper.runs) if only is None else only
    for name in chosen:
        if name not in paper.runs:
            raise ValueError(f"no run {name!r}; there are: {', '.join(paper.runs)}")
    path = pathlib.Path(results or paper.results)
    shipped = {record.name for record in catalog.list_models()}
    # All runs of one seed come before those of the next: after the first seed, all rows are filled.
    for seed in paper.seeds:
        for run in map(paper.runs.get, chosen):
            key = run.key(seed)
            if key in read(path) or (run.checkpoint and run.checkpoint not in shipped):
                continue
            if verbose:
                print(key, flush=True)
            if run.checkpoint:
                result = _of_checkpoint(run, data_file)
            else:
                recipe = recipes.load(
                    run.recipe, merged(merged(run.overrides, overrides or {}), {"seed": seed})
                )
                own = pathlib.Path(folder) / paper.name / key
                result = _of_training(run, recipe, own, data_file, verbose)
            add(path, key, result)


def _of_training(run, recipe, folder, data_file, verbose):
    model = train(recipe, folder, data_file=data_file, verbose=verbose)
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    history = json.loads((folder / "history.json").read_text(encoding="utf-8"))["epochs"]
    training, test = _images(data_file or recipe["data"]["name"])
    subject = Subject(model, training, test, history)
    return {
        "epochs": record["epochs"],
        # The time of all epochs with one decimal; run.json rounds it to whole seconds.
        "seconds": round(sum(epoch["seconds"] for epoch in history), 1),
        "hardware": record["hardware"],
        "images": record["images"],
        "n": len(test),
        **measure(subject, run.measurements),
    }


def _of_checkpoint(run, data_file):
    record = catalog.info(run.checkpoint)
    training, test = _images(data_file or record.dataset)
    subject = Subject(loading.load(run.checkpoint), training, test)
    return {"hardware": hardware(), "n": len(test), **measure(subject, run.measurements)}


def _images(name):
    return data.load(name, "train"), data.load(name, "test")
