"""The rows of a paper's tables: the printed numbers beside our results."""

import numpy as np

from training.tables import manifest
from training.tables.papers import path_of
from training.tables.queue import is_of, is_of_checkpoint, of_seed, shown
from training.tables.results import read
from zoo.hub import catalog


def tables(paper, results=None):
    """The tables of a paper.

    Args:
        paper: :class:`training.tables.papers.Paper`.
        results: JSON file with the results; by default the paper's own.

    Returns:
        List of ``{title, caption, text, rows}``. ``text`` lists the names of the columns that hold
        text; ``rows`` is a list of dictionaries from the name of a column to a number, text or
        None.
    """
    found = read(results or paper.results)
    records = {record.name: record for record in catalog.list_models()}
    return [_table(paper, table, found, records) for table in paper.tables]


def _table(paper, table, found, records):
    columns = table["columns"]
    sources = [_source(paper, row, found, records) for row in table["rows"]]
    hardware = {result["hardware"]: None for _, own in sources for result in own}
    caption = table["caption"]
    if hardware and not any(column.get("measured") == "hardware" for column in columns):
        caption = f"{caption} Hardware: {'; '.join(hardware)}."
    return {
        "title": table["title"],
        "caption": caption,
        "text": [column["name"] for column in columns if "row" in column],
        "rows": [
            {column["name"]: _cell(column, {**row, "status": status}, own) for column in columns}
            for row, (status, own) in zip(table["rows"], sources, strict=True)
        ],
    }


def _source(paper, row, found, records):
    """The status of a row, and the results that it shows."""
    if "run" in row:
        run = paper.runs[row["run"]]
        own = shown(run, found)
        return _trained(paper, run, own, records), own
    shipped = [name for name in row.get("checkpoint", ()) if name in records][:1]
    return _shipped(row, shipped, records), [manifest.numbers(records[name]) for name in shipped]


def _trained(paper, run, own, records):
    """The status of a row with a run: how its networks were trained, or how to train them."""
    if not own:
        command = f"training.tables {paper.name} --train"
        if run.checkpoint:
            command = f"training {run.checkpoint} --measure, then {command}"
        return f"not trained: python -m {command}"
    if run.checkpoint:
        record = records[run.checkpoint]
        if not is_of_checkpoint(own[0], run, record):
            command = f"python -m training.tables {paper.name} --train"
            return f"earlier weights or measurements: {command} measures anew"
        return f"a checkpoint, {_of_record(record)}"
    epochs = _range(result["epochs"] for result in own)
    recipe = of_seed(run, own[0]["recipe"]["seed"])
    if is_of(own[0], recipe):
        depth = _counted(epochs, "epoch")
    else:  # an older result, which the next training replaces
        wanted = _range([recipe["training"]["epochs"]])
        older = f"{_counted(epochs, 'epoch')} of an older recipe"
        depth = older if epochs == wanted else f"{epochs} of {wanted} epochs"
    if any(result.get("stopped") for result in own):
        depth += " (stopped early)"
    if is_of(own[0], recipe) and own[0].get("measurements") != run.measurements:
        depth += ", measured in an earlier way"
    images = f"{_range(result['images'] for result in own)} images"
    if len(run.seeds) == 1:
        return f"seed {run.seeds[0]}, {depth}, {images}, {_seconds(own)}"
    return f"{_counted(str(len(own)), 'seed')}, {depth}, {images}, {_seconds(own)} each"


def _of_record(record):
    training = record.training
    return f"seed {record.metrics.seed}, {training.epochs} epochs, {training.seconds:,} s"


def _seconds(own):
    return f"{round(np.mean([result['seconds'] for result in own])):,} s"


def _range(numbers):
    """The smallest and the largest number, or the only one, or nothing."""
    found = sorted(set(numbers))
    return "–".join(f"{number:,}" for number in dict.fromkeys(found[:1] + found[-1:]))


def _counted(number, what):
    return f"{number} {what}" if number == "1" else f"{number} {what}s"


def _shipped(row, shipped, records):
    """The status of a row without a run: its checkpoint, or the reason why there is none."""
    if "reason" in row:
        return row["reason"]
    if not shipped:
        return f"not trained: python -m training {row['checkpoint'][-1]} --measure"
    (name,) = shipped
    return f"{name}: {_of_record(records[name])}"


def _cell(column, row, own):
    if "row" in column:
        return row.get(column["row"])
    if "paper" in column:
        return row.get("paper", {}).get(column["paper"])
    if "images" in column:
        return " / ".join(_images(name, own) for name in column["images"]) if own else None
    if "measured" not in column:
        return None
    values = [value(column, result, row) for result in own]
    if "at_least" in column and None in values:
        return f"never in {values.count(None)} of {len(values)}"
    values = [_scaled(column, found) for found in values if found is not None]
    if not values:
        return None
    if len(values) > 1:
        return spread(values, column.get("decimals", 2))
    return values[0] if isinstance(values[0], str) else _rounded(column, values[0])


def _images(name, own):
    """The number of test images on which a measurement was made, as text."""
    made = [(result["n"], result["measurements"].get(name)) for result in own]
    found = [(n, settings) for n, settings in made if settings is not None]
    return _range(min(n, settings.get("images", n)) for n, settings in found) or "–"


def value(column, result, row=None):
    """The value that a measured column shows of a result.

    Args:
        column: dictionary of a measured column, see :mod:`training.tables.papers`.
        result: dictionary of a result.
        row: dictionary of a row, whose ``eps`` replaces ``{eps}`` in the column's path.

    Returns:
        A number or text; None if the result has no such value.
    """
    for part in path_of(column):
        key = part.replace("{eps}", (row or {}).get("eps", ""))
        if not isinstance(result, dict) or key not in result:
            return None
        found, result = result, result[key]
    if "epoch" in column:
        index = column["epoch"] - 1 if column["epoch"] > 0 else column["epoch"]
        return result[index] if -len(result) <= index < len(result) else None
    if "above" in column:
        return above(result, column["above"])
    if "at_least" in column:
        return first_epoch(result, found[column["at_least"]])
    return result


def above(values, least):
    """The fraction of values above a number; a value None stands for infinity."""
    return float(np.mean([np.inf if v is None else v for v in values] > np.float64(least)))


def first_epoch(values, least):
    """The first epoch, counted from 1, such that its value and all later ones reach their bounds.

    Returns:
        The number of the epoch, or None if the last value is below its bound.
    """
    below = np.flatnonzero(np.array(values) < np.array(least))
    first = int(below[-1]) + 2 if len(below) else 1
    return first if first <= len(values) else None


def spread(values, decimals=2):
    """``mean ± standard deviation`` over seeds, as text; there are at least two values."""
    values = np.asarray(values, float)
    return f"{values.mean():.{decimals}f} ± {values.std(ddof=1):.{decimals}f}"


def _scaled(column, found):
    return 100 * found if column.get("unit") == "%" else found


def _rounded(column, found):
    if "significant" in column:
        return float(f"{found:.{column['significant'] - 1}e}")
    return round(found, column.get("decimals", 2))
