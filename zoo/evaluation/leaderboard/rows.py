"""The leaderboard's rows: one for each checkpoint, budget and certificate."""

from collections.abc import Iterable
from typing import Any

from zoo.epsilon import Epsilon
from zoo.hub.records import AttackResult, CertifiedResult, Record
from zoo.papers import paper_of
from zoo.project import approach_page, source_page
from zoo.utils.wilson import wilson


def rows(records: Iterable[Record]) -> list[dict[str, Any]]:
    """One row for each checkpoint, budget and certificate that was measured.

    Args:
        records: iterable of :class:`zoo.hub.records.Record`, as :func:`zoo.list_models` returns.

    Returns:
        List of dictionaries of JSON's types, sorted by data set, norm and budget, then from the
        highest certified accuracy to the lowest. ``budget`` is ``eps`` as a number to sort by.
        ``attack`` is the attack with the lowest accuracy at that budget, and ``attacked`` that
        accuracy on the first ``attacked_n`` images; all are None if no attack was measured.
        ``certified_low`` and ``certified_high`` are the ends of the 95 % interval of ``certified``,
        ``clean_low`` and ``clean_high`` of ``clean``. ``card``, ``recipe``, ``docs`` and
        ``paper_address`` are addresses of pages; the last one is None if it is not known.
        ``first_seconds`` is the time that the row's certificate takes for the first image after
        the model was loaded, and ``milliseconds`` the time for each further one, measured on
        ``cost_hardware`` with ``cost_n`` images; all four are None if they were not measured.

    Examples:
        >>> import zoo
        >>> from zoo.evaluation.leaderboard.rows import rows
        >>> row = rows(zoo.list_models("linf-dist-digits"))[0]
        >>> row["eps"], row["method"], row["attack"], row["clean"] >= row["attacked"]
        ('0.02', 'interval', 'pgd', True)
    """
    found = [_row(record, result) for record in records for result in record.metrics.certified]
    return sorted(found, key=_rank)


def grouped(found: Iterable[dict[str, Any]]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Group rows that can be compared: those with the same data set and norm.

    Args:
        found: rows, as :func:`rows` returns them.

    Returns:
        Dictionary from (data set, norm) to the rows, in their original order.
    """
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in found:
        groups.setdefault((row["dataset"], row["norm"]), []).append(row)
    return groups


def best_rows(found: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The row with the highest certified accuracy for each checkpoint, norm and budget.

    Args:
        found: rows, as :func:`rows` returns them.

    Returns:
        List of rows, in their original order.
    """
    best: dict[tuple, dict[str, Any]] = {}
    for row in found:
        best.setdefault((row["model"], row["norm"], row["budget"]), row)
    return list(best.values())


def _row(record: Record, result: CertifiedResult) -> dict[str, Any]:
    strongest = _strongest_attack(record, result)
    cost = record.metrics.cost
    paper = paper_of(record.paper)
    # The recorded cost is that of one method, and does not apply to the others.
    if cost is not None and cost.method != result.method:
        cost = None
    clean_low, clean_high = wilson(record.metrics.clean, record.metrics.n)
    return {
        "model": record.name,
        "approach": record.approach,
        "architecture": record.architecture,
        "paper": record.paper,
        "paper_address": paper.address if paper else None,
        "card": source_page(f"weights/{record.name}/README.md"),
        "recipe": source_page(f"training/recipes/{record.training.recipe}.toml"),
        "docs": approach_page(record.approach),
        "dataset": record.dataset,
        "norm": result.norm,
        "eps": result.eps,
        "budget": float(Epsilon(result.eps)),
        "clean": record.metrics.clean,
        "clean_low": clean_low,
        "clean_high": clean_high,
        "attacked": strongest.accuracy if strongest else None,
        "attack": strongest.attack if strongest else None,
        "attacked_n": strongest.n if strongest else None,
        "attack_parameters": strongest.parameters if strongest else None,
        "certified": result.accuracy,
        "certified_low": result.interval[0],
        "certified_high": result.interval[1],
        "method": result.method,
        "n": result.n,
        "parameters": record.parameters,
        "bytes": record.size,
        "seconds": record.training.seconds,
        "epochs": record.training.epochs,
        "hardware": record.training.hardware,
        "first_seconds": cost.first_seconds if cost else None,
        "milliseconds": cost.milliseconds if cost else None,
        "cost_hardware": cost.hardware if cost else None,
        "cost_n": cost.n if cost else None,
        # No certificate of the zoo uses sampling, and no recipe trains on extra images.
        "deterministic": "yes",
        "extra_data": "none",
        "notes": record.notes,
    }


def _strongest_attack(record: Record, result: CertifiedResult) -> AttackResult | None:
    """The attack at the same budget that leaves the lowest accuracy."""
    same = [
        attack
        for attack in record.metrics.attacked
        if attack.norm == result.norm and Epsilon(attack.eps) == Epsilon(result.eps)
    ]
    return min(same, key=lambda attack: attack.accuracy, default=None)


def _rank(row: dict[str, Any]) -> tuple:
    comparable = (row["dataset"], row["norm"], row["budget"])
    return (*comparable, -row["certified"], row["model"], row["method"])
