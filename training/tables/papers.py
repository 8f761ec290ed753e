"""Descriptions of papers' tables: a TOML file with the printed numbers and our own networks.

The entries of such a file:

* ``citation``: the paper. ``seeds``: the seeds with which a recipe is trained; by default ``[0]``.
* ``[measure.NAME]``: a measurement that is made of every network: ``quantity``, a function of
  :mod:`training.tables.measure`, and its settings. The measurements in ``[extra.NAME]`` are made
  only of the runs that list them.
* ``[runs.NAME]``: a network. It has a ``recipe`` with ``overrides``, or a ``checkpoint``, a name in
  the catalog. ``measure`` replaces settings of measurements, ``extra`` lists additional ones, and
  ``seeds`` replaces the seeds of the file.
* ``[[tables]]``: a table with ``title``, ``caption``, ``columns`` and ``rows``. A table without
  its own caption or columns has those at the top of the file.
* A column has a ``name``, and takes its cells from one place: ``row`` (``"label"``, ``"group"`` or
  ``"status"``), ``paper`` (a key of the row's printed numbers), ``measured`` (the name of a
  measurement, or a path into its dictionary, in which ``{eps}`` stands for the row's ``eps``), or
  ``images`` (names of measurements: the numbers of test images on which they were made). A
  column that has only a name stands for something that has not been measured.
* A measured column may have ``unit = "%"``, and ``decimals`` (by default 2) or ``significant``
  digits. From a measurement that is a list, it shows the entry of an ``epoch`` (counted from 1; -1
  is the last), the fraction of entries ``above`` a number, or the first epoch such that, in it and
  in all later ones, entries are ``at_least`` those of another list.
* A row has a ``label``, the numbers of the ``paper``, and one of ``run``, ``checkpoint`` and
  ``reason``. ``run`` names one of the runs. ``checkpoint`` lists names of checkpoints: the first of
  them that is in the catalog gives the numbers, from the manifest. ``reason`` says why there is no
  network for the row.
* ``[plot]``: see :mod:`training.tables.plot`.
"""

import dataclasses
import pathlib

from training import recipe as recipes
from training import toml_file
from training.tables import manifest, measure
from training.toml_file import table
from zoo.utils.paths import expanded

PAPERS = pathlib.Path(__file__).parents[1] / "papers"
#: Keys that a result has in addition to the measurements.
BOOKKEEPING = ("epochs", "seconds", "hardware", "images", "n", "recipe", "measurements")

_TEXT = {"type": "string"}
_TEXTS = {"type": "array", "items": _TEXT}
_SETTINGS = {"type": "object", "properties": {"quantity": _TEXT}, "required": ["quantity"]}
_NUMBER = {"type": "number"}
_SEEDS = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}
_COLUMN = table(
    {"name": _TEXT},
    {
        "row": {"enum": ["label", "group", "status"]},
        "paper": _TEXT,
        "measured": {"anyOf": [_TEXT, {**_TEXTS, "minItems": 1}]},
        "images": {**_TEXTS, "minItems": 1},
        "unit": {"enum": ["%"]},
        "decimals": {"type": "integer", "minimum": 0},
        "significant": {"type": "integer", "minimum": 1},
        "epoch": {"type": "integer"},
        "above": _NUMBER,
        "at_least": _TEXT,
    },
)
_ROW = table(
    {"label": _TEXT},
    {
        "group": _TEXT,
        "eps": _TEXT,
        "paper": {"type": "object", "additionalProperties": {"type": ["number", "string"]}},
        "run": _TEXT,
        "checkpoint": {**_TEXTS, "minItems": 1},
        "reason": _TEXT,
    },
)
_COLUMNS = {"type": "array", "items": _COLUMN, "minItems": 1}
_LINE = table({"run": _TEXT, "measured": _TEXT, "label": _TEXT}, {"colour": _TEXT, "style": _TEXT})
_PANEL = table(
    {"kind": {"enum": ["bars", "epochs", "shares", "scaling"]}, "xlabel": _TEXT},
    {
        "title": _TEXT,
        "ylabel": _TEXT,
        "note": table({"measured": _TEXT, "text": _TEXT}),
        "bars": {"type": "array", "items": table({"label": _TEXT, "measured": _TEXT})},
        "lines": {"type": "array", "items": _LINE},
        "up_to": _NUMBER,
        "group": _TEXT,
        "networks": {**_TEXTS, "minItems": 1},
    },
)
_SCHEMA = table(
    {
        "citation": _TEXT,
        "tables": {
            "type": "array",
            "minItems": 1,
            "items": table(
                {"title": _TEXT, "rows": {"type": "array", "items": _ROW, "minItems": 1}},
                {"caption": _TEXT, "columns": _COLUMNS},
            ),
        },
    },
    {
        "seeds": _SEEDS,
        "caption": _TEXT,
        "columns": _COLUMNS,
        "measure": {"type": "object", "additionalProperties": _SETTINGS},
        "extra": {"type": "object", "additionalProperties": _SETTINGS},
        "runs": {
            "type": "object",
            "additionalProperties": table(
                {},
                {
                    "recipe": _TEXT,
                    "checkpoint": _TEXT,
                    "overrides": {"type": "object"},
                    "measure": {"type": "object", "additionalProperties": {"type": "object"}},
                    "extra": _TEXTS,
                    "seeds": _SEEDS,
                },
            ),
        },
        "plot": table(
            {"panels": {"type": "array", "items": _PANEL, "minItems": 1}},
            {"size": {"type": "array", "items": _NUMBER, "minItems": 2, "maxItems": 2}},
        ),
    },
)


@dataclasses.dataclass(frozen=True)
class Run:
    """A network of a paper's tables.

    Attributes:
        name: name of the run.
        recipe: name of a recipe, or None.
        overrides: nested dictionaries that replace entries of the recipe.
        checkpoint: name of a checkpoint in the catalog, or None.
        measurements: dictionary from the name of each measurement of the run to its settings.
        seeds: seeds with which the recipe is trained.
    """

    name: str
    recipe: str | None
    overrides: dict
    checkpoint: str | None
    measurements: dict
    seeds: tuple

    def key(self, seed):
        """The key of a result: a checkpoint has one result, a recipe one for each seed."""
        return self.name if self.checkpoint else f"{self.name}-seed{seed}"

    @property
    def keys(self):
        """The keys of all results of the run, without repetition."""
        return list(dict.fromkeys(map(self.key, self.seeds)))


@dataclasses.dataclass(frozen=True)
class Paper:
    """The tables of a paper.

    Attributes:
        name: name of the TOML file, without its ending.
        citation: citation of the paper, in one line.
        runs: dictionary from name to :class:`Run`, in the order of training.
        tables: list of dictionaries: ``title``, ``caption``, ``columns``, ``rows``.
        plot: dictionary that describes the plot, see :mod:`training.tables.plot`; None if there is
            no plot.
    """

    name: str
    citation: str
    runs: dict
    tables: list
    plot: dict | None

    @property
    def results(self):
        """The JSON file of the results."""
        return PAPERS / "results" / f"{self.name}.json"


def names():
    """Names of the papers, sorted."""
    return sorted(path.stem for path in PAPERS.glob("*.toml"))


def load(name):
    """Read and check the tables of a paper.

    Args:
        name: name of a file in ``training/papers``, or the path of a ``.toml`` file.

    Returns:
        :class:`Paper`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: naming the file and the entry that is wrong.
    """
    path = expanded(name) if str(name).endswith(".toml") else PAPERS / f"{name}.toml"
    if not path.is_file():
        raise FileNotFoundError(f"no paper {name!r}; there are: {', '.join(names())}")
    content = toml_file.read(path)
    toml_file.check(content, _SCHEMA, path)
    shared = {key: content[key] for key in ("caption", "columns") if key in content}
    try:
        runs = {key: _run(key, run, content) for key, run in content.get("runs", {}).items()}
        tables = [{"caption": "", **shared, **entry} for entry in content["tables"]]
        for index, entry in enumerate(tables):
            _check_table(f"tables.{index}", entry, runs)
        for index, panel in enumerate(content.get("plot", {}).get("panels", [])):
            _check_panel(f"plot.panels.{index}", panel, runs)
        rows = [row for entry in tables for row in entry["rows"]]
        _check_names("runs", runs, {row["run"] for row in rows if "run" in row}, "row names")
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return Paper(
        name=path.stem,
        citation=content["citation"],
        runs=runs,
        tables=tables,
        plot=content.get("plot"),
    )


def _run(name, run, content):
    place = f"runs.{name}"
    if ("recipe" in run) == ("checkpoint" in run):
        raise ValueError(f"{place}: a run has either a recipe or a checkpoint")
    if "checkpoint" in run and "overrides" in run:
        raise ValueError(f"{place}: a checkpoint has no overrides")
    chosen, extra = run.get("extra", []), content.get("extra", {})
    _check_names(f"{place}.extra", chosen, extra, "entry of [extra] is")
    measurements = {**content.get("measure", {}), **{key: extra[key] for key in chosen}}
    changes = run.get("measure", {})
    _check_names(f"{place}.measure", changes, measurements, "measurement has the name")
    measurements = toml_file.merged(measurements, changes)
    for key, settings in measurements.items():
        try:
            measure.check(settings)
        except ValueError as error:
            raise ValueError(f"{place}: measurement {key!r}: {error}") from error
    if "recipe" in run:
        try:
            recipes.load(run["recipe"], run.get("overrides"))
        except (ValueError, FileNotFoundError) as error:
            raise ValueError(f"{place}: {error}") from error
    return Run(
        name=name,
        recipe=run.get("recipe"),
        overrides=run.get("overrides", {}),
        checkpoint=run.get("checkpoint"),
        measurements=measurements,
        seeds=tuple(run.get("seeds", content.get("seeds", (0,)))),
    )


def _check_table(place, entry, runs):
    if "columns" not in entry:
        raise ValueError(f"{place}: there are no columns, neither here nor at the top of the file")
    columns, rows = entry["columns"], entry["rows"]
    printed = {column["paper"] for column in columns if "paper" in column}
    for index, row in enumerate(rows):
        where = f"{place}.rows.{index}"
        if sum(key in row for key in ("run", "checkpoint", "reason")) != 1:
            raise ValueError(
                f"{where}: a row has a run, a checkpoint or a reason, only one of them"
            )
        _check_names(f"{where}.run", [row["run"]] if "run" in row else [], runs, "run has the name")
        _check_names(f"{where}.paper", row.get("paper", {}), printed, "column shows")
    given = {key for row in rows for key in row.get("paper", {})}
    known = _measured(rows, runs)
    for index, column in enumerate(columns):
        where = f"{place}.columns.{index}"
        if sum(key in column for key in ("row", "paper", "measured", "images")) > 1:
            raise ValueError(
                f"{where}: a column shows row, paper, measured or images, only one of them"
            )
        if "paper" in column:
            _check_names(f"{where}.paper", [column["paper"]], given, "row has the number")
        if "measured" in column:
            _check_names(f"{where}.measured", path_of(column)[:1], known, "row measures")
            if any("{eps}" in part for part in path_of(column)) and not all(
                "eps" in row or "reason" in row for row in rows
            ):
                raise ValueError(f"{where}.measured: a row has no eps to stand for {{eps}}")
        _check_names(f"{where}.images", column.get("images", []), known, "row measures")
        if "at_least" in column:
            _check_names(f"{where}.at_least", [column["at_least"]], known, "row measures")


def _check_panel(place, panel, runs):
    if panel["kind"] == "scaling":
        if not {"group", "networks"} <= panel.keys():
            raise ValueError(f"{place}: a panel of scaling needs group and networks")
        return
    wanted = "bars" if panel["kind"] == "bars" else "lines"
    if not panel.get(wanted):
        raise ValueError(f"{place}: a panel of {panel['kind']} needs {wanted}")
    for line in panel.get("lines", []):
        _check_names(f"{place}.lines", [line["run"]], runs, "run has the name")
    drawn = [part["measured"] for part in [*panel[wanted], panel.get("note")] if part]
    known = {key for run in runs.values() for key in run.measurements}
    _check_names(f"{place}.{wanted}", drawn, known, "run measures")


def _measured(rows, runs):
    """The keys that the results of the rows can have."""
    known: set[str] = set(manifest.KEYS) if any("checkpoint" in row for row in rows) else set()
    for row in rows:
        if "run" in row:
            known.update(BOOKKEEPING, runs[row["run"]].measurements)
    return known


def _check_names(place, names, known, what):
    for name in names:
        if name not in known:
            raise ValueError(f"{place}: no {what} {name!r}; there are: {', '.join(sorted(known))}")


def path_of(column):
    """The path of a measured column into a result, as a list."""
    return [column["measured"]] if isinstance(column["measured"], str) else column["measured"]
