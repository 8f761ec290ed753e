"""The networks of a paper's tables that wait to be trained or measured, in their order."""

import dataclasses
import hashlib
import json
import math

import numpy as np

from training import recipe as recipes
from training.run import affects_training
from training.tables.papers import Run
from training.toml_file import merged
from zoo.hub import catalog, checkpoint


@dataclasses.dataclass(frozen=True)
class Job:
    """A network that waits.

    Attributes:
        key: key of its result.
        run: :class:`training.tables.papers.Run`.
        recipe: recipe with the run's overrides and the seed; None for a checkpoint, which is only
            measured.
        seconds: estimate of the time of its training, infinite if nothing like it was trained.
    """

    key: str
    run: Run
    recipe: dict | None
    seconds: float

    @property
    def folder(self):
        """Name of the folder of the training. It is another one for each version of the recipe."""
        text = json.dumps(affects_training(self.recipe), sort_keys=True)
        return f"{self.key}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    def __str__(self):
        if self.recipe is None:
            return f"{self.key}: measured only"
        epochs = self.recipe["training"]["epochs"]
        time = f"about {duration(self.seconds)}" if np.isfinite(self.seconds) else "unknown time"
        return f"{self.key}: at most {epochs} epochs, {time}"


def waiting(paper, found, *, only=None, overrides=None):
    """The networks without a result of their present recipe and measurements.

    The first seeds of all runs come before the second ones, and among equal seeds the cheap runs
    before the expensive ones, so that a queue that is interrupted has filled as many rows as
    possible.

    Args:
        paper: :class:`training.tables.papers.Paper`.
        found: results, as :func:`training.tables.results.read` returns them.
        only: list of names of runs; by default all runs of the paper.
        overrides: nested dictionaries that replace entries of every recipe.

    Returns:
        List of :class:`Job`.

    Raises:
        ValueError: if the paper has no runs, or none of a given name.
    """
    if not paper.runs:
        raise ValueError(
            f"{paper.name}'s rows are checkpoints, trained one by one with "
            "python -m training NAME --measure"
        )
    for name in only or ():
        if name not in paper.runs:
            raise ValueError(f"no run {name!r}; there are: {', '.join(paper.runs)}")
    records = {record.name: record for record in catalog.list_models()}
    jobs = []
    for run in paper.runs.values() if only is None else map(paper.runs.get, only):
        if run.checkpoint:
            key = run.key(None)
            record = records.get(run.checkpoint)
            if record and not is_of_checkpoint(found.get(key, {}), run, record):
                jobs.append((0, Job(key, run, None, 0.0)))
            continue
        for place, seed in enumerate(run.seeds):
            recipe = of_seed(run, seed, overrides)
            if not is_current(found.get(run.key(seed), {}), run, recipe):
                seconds = estimate(paper, found, run, recipe)
                jobs.append((place, Job(run.key(seed), run, recipe, seconds)))
    return [job for _, job in sorted(jobs, key=lambda entry: (entry[0], entry[1].seconds))]


def of_seed(run, seed, overrides=None):
    """The recipe with which a run is trained, as nested dictionaries.

    Args:
        run: a :class:`training.tables.papers.Run` with a recipe.
        seed: the seed.
        overrides: nested dictionaries that replace entries after the run's own overrides.
    """
    changes = merged(merged(run.overrides, overrides or {}), {"seed": seed})
    return recipes.load(run.recipe, changes)


def is_current(result, run, recipe):
    """Whether a result is of this recipe and of the run's present measurements."""
    return is_of(result, recipe) and result.get("measurements") == run.measurements


def is_of(result, recipe):
    """Whether a result is of a training with this recipe."""
    return result.get("recipe") == affects_training(recipe)


def shown(run, found):
    """The results that a row shows.

    These are the results of the present recipe and measurements; if there are none, those of the
    present recipe, and if there are none of these either, the older ones. They are all of one
    recipe and of the same measurements, since a row averages them.

    Args:
        run: :class:`training.tables.papers.Run`.
        found: results, as :func:`training.tables.results.read` returns them.
    """
    if run.checkpoint:
        return [found[key] for key in [run.key(None)] if key in found]
    own = {seed: found[run.key(seed)] for seed in run.seeds if run.key(seed) in found}
    present = [result for seed, result in own.items() if is_of(result, of_seed(run, seed))]
    current = [result for result in present if result.get("measurements") == run.measurements]
    chosen = current or present or list(own.values())
    return [result for result in chosen if _kind(result) == _kind(chosen[0])]


def _kind(result):
    """The recipe without its seed, and the measurements; equal for results that are averaged."""
    return {**result["recipe"], "seed": None}, result.get("measurements")


def estimate(paper, found, run, recipe):
    """Estimate of the seconds of a training, from earlier results.

    The time for one image is the median over earlier results of this run, whatever recipe they had.
    If there are none, it is the median over other runs with the same recipe file and network.

    Returns:
        The seconds, infinite if there is no such result.
    """

    def per_image(others):
        results = [found[key] for other in others for key in other.keys if key in found]
        return [r["seconds"] / (r["epochs"] * r["images"]) for r in results]

    def network(of):
        return of.overrides.get("model", {}).get("network")

    alike = [r for r in paper.runs.values() if r.recipe and r.recipe == run.recipe]
    alike = [other for other in alike if network(other) == network(run)]
    speeds = per_image([run]) or per_image(alike) or [math.inf]
    speed = float(np.median(speeds))
    trained = recipe["data"].get("images")
    if trained is None:
        of_set = (r for r in found.values() if "recipe" in r and _set(r) == recipe["data"]["name"])
        trained = max((result["images"] for result in of_set), default=1)
    return speed * recipe["training"]["epochs"] * trained


def _set(result):
    return result["recipe"]["data"]["name"]


def weights(record):
    """The checksum of a checkpoint's weights."""
    (found,) = (file.sha256 for file in record.files if file.path == checkpoint.WEIGHTS)
    return found


def is_of_checkpoint(result, run, record):
    """Whether a result is of a checkpoint's weights and of the run's present measurements."""
    return (result.get("measurements"), result.get("weights")) == (
        run.measurements,
        weights(record),
    )


def duration(seconds):
    """A time in words, rounded to minutes or tenths of an hour."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
