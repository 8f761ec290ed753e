"""The measurements behind a paper's tables: a JSON file, one line for each network."""

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
    """The results so far, by the keys of runs; none if there is no file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def add(path, key, result):
    """Write a result into the file, which another process may have changed meanwhile."""
    found = {**read(path), key: result}
    lines = [f"{json_text(key)}: {json_text(value)}" for key, value in found.items()]
    write_whole(path, "{\n" + ",\n".join(lines) + "\n}\n")


def fill(paper, folder, *, only=None, results=None, data_file=None, overrides=None, verbose=1):
    """Train and measure what has no result yet, one network after the other.

    Each result is kept as soon as it is there. An interrupted call goes on with the same command:
    with the networks that have no result, and within a training from its last state.

    Args:
        paper: :class:`training.tables.papers.Paper`.
        folder: of the runs, each in a folder of its own.
        only: names of runs; by default all of the paper.
        results: JSON file; by default the paper's own.
        data_file: an ``.npz`` file in place of the recipes' image sets.
        overrides: nested dictionaries that replace entries of every recipe, after the run's own.
        verbose: 1 shows names and progress.

    Raises:
        ValueError: if the paper has no networks of its own, or none of a name.
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
    # A seed at a time: the tables are whole after the first.
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
        # Of all epochs together, which run.json rounds to whole seconds.
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
