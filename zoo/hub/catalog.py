"""The checkpoints there are: ``weights_manifest.json`` as records."""

import dataclasses
import difflib
import fnmatch
import json
import pathlib

from zoo.errors import UnknownModelError
from zoo.utils.whole_file import write_whole

_PACKAGE = pathlib.Path(__file__).parent.parent


def _shipped(name):
    """A file beside the package in a source tree, or inside it in a wheel."""
    inside = _PACKAGE / name
    return inside if inside.exists() else _PACKAGE.parent / name


MANIFEST = _shipped("weights_manifest.json")
SCHEMA = _shipped("weights_manifest.schema.json")
WEIGHTS = _shipped("weights")


@dataclasses.dataclass(frozen=True)
class Record:
    """One checkpoint: the manifest's keys as attributes.

    Attributes:
        name: ``<approach>-<dataset>``, a qualifier in between where needed.
        approach, dataset, norm, architecture, parameters: what it is.
        files: list of ``{path, size, sha256}``.
        hub: ``{repo_id, revision}`` on the Hugging Face Hub, or None before publication.
        metrics: ``{clean, certified: […], attacked: […], …}``, every number measured.
        training: ``{recipe, epochs, seconds, hardware, …}``.
        paper, license, notes: text.
        golden: logits for the images of :mod:`zoo.hub.golden`.
    """

    name: str
    approach: str
    dataset: str
    norm: str
    architecture: str
    parameters: int
    files: list
    hub: dict | None
    metrics: dict
    training: dict
    paper: str
    license: str
    notes: str
    golden: list | None = None

    @property
    def size(self):
        """Bytes of all files."""
        return sum(file["size"] for file in self.files)

    def to_dict(self):
        """The record in JSON's types, as in the manifest."""
        return dataclasses.asdict(self)

    def __str__(self):
        measured = [("clean", _percent(self.metrics["clean"]), f"n = {self.metrics['n']}")]
        for kind in ("attacked", "certified"):
            for entry in self.metrics[kind]:
                how = entry.get("attack") or entry["method"]
                budget = f"{kind} {entry['norm']} {entry['eps']}"
                measured.append((budget, _percent(entry["accuracy"]), how))
        lines = [
            self.name,
            f"  {self.architecture}, {self.parameters:,} parameters, {self.size / 1e6:.1f} MB",
            f"  {self.approach} on {self.dataset}, {self.norm}; {self.paper}",
            *(f"  {what:<24}{value:>7}  {how}" for what, value, how in measured),
            "  trained: {epochs} epochs, {seconds} s, {hardware}".format(**self.training),
        ]
        return "\n".join([*lines, f"  {self.notes}"] if self.notes else lines)


class Records(list):
    """A list of records that prints as a table with accuracies."""

    def __str__(self):
        header = ("name", "dataset", "norm", "MB", "clean", "certified accuracy")
        rows = [
            (
                record.name,
                record.dataset,
                record.norm,
                f"{record.size / 1e6:.1f}",
                _percent(record.metrics["clean"]),
                ", ".join(
                    f"{_percent(entry['accuracy'])} at {entry['eps']}"
                    for entry in _best_certified(record)
                ),
            )
            for record in self
        ]
        widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in [header, *rows]
        ]
        return "\n".join(lines)

    __repr__ = __str__


def list_models(pattern="*", *, dataset=None, norm=None, approach=None):
    """The checkpoints that match, offline.

    Args:
        pattern: of the name, with ``*`` and ``?``.
        dataset, norm, approach: exact values to filter by.

    Returns:
        List of :class:`Record` that prints as a table.

    Raises:
        TypeError: naming the argument that is no text.

    Example:

    >>> import zoo
    >>> [record.name for record in zoo.list_models("linf-dist-*", dataset="digits")]
    ['linf-dist-digits']
    """
    wanted = {"dataset": dataset, "norm": norm, "approach": approach}
    if not isinstance(pattern, str):
        raise TypeError(f"pattern must be text, such as 'linf-*', got {pattern!r}")
    for key, value in wanted.items():
        if not isinstance(value, (str, type(None))):
            raise TypeError(f"{key} must be text or None, got {value!r}")
    return Records(
        record
        for record in _records()
        if fnmatch.fnmatchcase(record.name, pattern)
        and all(value in (None, getattr(record, key)) for key, value in wanted.items())
    )


def info(name):
    """The record of one checkpoint.

    Args:
        name: of the catalog.

    Returns:
        :class:`Record`.

    Raises:
        TypeError: if the name is no text.
        zoo.UnknownModelError: with the closest names.
    """
    if not isinstance(name, str):
        raise TypeError(f"name must be a catalog name, as in zoo.list_models(), got {name!r}")
    records = {record.name: record for record in _records()}
    if name in records:
        return records[name]
    close = difflib.get_close_matches(name, records, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(close)}?" if close else f"there are: {', '.join(records)}"
    raise UnknownModelError(f"no model {name!r}; {hint}")


def write(entry):
    """Add a measured entry to the manifest, or replace the one of the same name.

    The manifest is checked against its schema first and replaced as a whole.

    Args:
        entry: dictionary with the keys of :class:`Record`.

    Raises:
        jsonschema.ValidationError: if the entry is not of the manifest's form.
        ValueError: if a number in it is NaN or infinite.
    """
    import jsonschema

    models = [model for model in _read()["models"] if model["name"] != entry["name"]]
    manifest = {"models": sorted([*models, entry], key=lambda model: model["name"])}
    jsonschema.validate(manifest, json.loads(SCHEMA.read_text(encoding="utf-8")))
    text = json.dumps(manifest, indent=1, ensure_ascii=False, allow_nan=False)
    write_whole(MANIFEST, text + "\n")


def _records():
    return [Record(**model) for model in _read()["models"]]


def _read():
    return json.loads(MANIFEST.read_text(encoding="utf-8"))


def _best_certified(record):
    best = {}
    for entry in record.metrics["certified"]:
        if entry["accuracy"] > best.get(entry["eps"], {"accuracy": -1})["accuracy"]:
            best[entry["eps"]] = entry
    return best.values()


def _percent(fraction):
    return f"{100 * fraction:.2f}%"
