"""The rows of a paper's tables: the printed numbers beside our results."""

import numpy as np

from training.tables import manifest
from training.tables.papers import path_of
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
    return [
        {
            "title": table["title"],
            "caption": table["caption"],
            "text": [column["name"] for column in table["columns"] if "row" in column],
            "rows": [_row(paper, table["columns"], row, found, records) for row in table["rows"]],
        }
        for table in paper.tables
    ]


def _row(paper, columns, row, found, records):
    if "run" in row:
        run = paper.runs[row["run"]]
        keys = dict.fromkeys(run.key(seed) for seed in paper.seeds)
        own = [found[key] for key in keys if key in found]
        status = _trained(paper, run, own)
        as_spread = len(paper.seeds) > 1 and not run.checkpoint
    else:
        shipped = [name for name in row.get("checkpoint", ()) if name in records]
        own = [manifest.numbers(records[name]) for name in shipped[:1]]
        status, as_spread = _shipped(row, shipped), False
    place = {**row, "status": status}
    return {column["name"]: _cell(column, place, own, as_spread) for column in columns}


def _trained(paper, run, own):
    """The status of a row with a run: how its networks were trained, or how to train them."""
    if not own:
        command = f"training.tables {paper.name} --train"
        if run.checkpoint:
            command = f"training {run.checkpoint} --measure, then {command}"
        return f"not trained: python -m {command}"
    if run.checkpoint:
        return "a checkpoint"
    epochs = "–".join(map(str, sorted({result["epochs"] for result in own})))
    trained = f"{epochs} {'epoch' if epochs == '1' else 'epochs'}"
    if len(paper.seeds) == 1:
        (result,) = own
        return f"{trained}, {round(result['seconds'] / result['epochs'], 1):g} s each"
    seconds = round(np.mean([result["seconds"] for result in own]))
    return f"{len(own)} {'seed' if len(own) == 1 else 'seeds'}, {trained}, {seconds} s each"


def _shipped(row, shipped):
    """The status of a row without a run: its checkpoint, or the reason why there is none."""
    if "reason" in row:
        return row["reason"]
    if not shipped:
        return f"not trained: python -m training {row['checkpoint'][-1]} --measure"
    return shipped[0]


def _cell(column, row, own, as_spread):
    if "row" in column:
        return row.get(column["row"])
    if "paper" in column:
        return row.get("paper", {}).get(column["paper"])
    if "measured" not in column:
        return None
    values = [value(column, result, row) for result in own]
    if "at_least" in column and None in values:
        return f"never in {values.count(None)} of {len(values)}"
    values = [_scaled(column, found) for found in values if found is not None]
    if not values:
        return None
    if as_spread:
        return spread(values)
    return values[0] if isinstance(values[0], str) else _rounded(column, values[0])


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


def spread(values):
    """``mean ± standard deviation`` over seeds, as text."""
    values = np.asarray(values, float)
    return f"{values.mean():.2f} ± {values.std(ddof=1) if len(values) > 1 else 0:.2f}"


def _scaled(column, found):
    return 100 * found if column.get("unit") == "%" else found


def _rounded(column, found):
    if "significant" in column:
        return float(f"{found:.{column['significant'] - 1}e}")
    return round(found, column.get("decimals", 2))
