"""The leaderboard's rows: one per checkpoint and threat model."""

from zoo.epsilon import Epsilon


def rows(records):
    """One row for each checkpoint, budget and certificate that was measured.

    Args:
        records: of :class:`zoo.hub.catalog.Record`, as :func:`zoo.list_models` returns them.

    Returns:
        List of dictionaries of JSON's types, sorted by data set, norm and budget, and from the
        highest certified accuracy down. ``budget`` is ``eps`` as a number to sort by. ``attacked``
        is the lowest accuracy under any attack measured at that budget, and ``attack`` that
        attack; both are None where there was none. ``milliseconds``, with its own hardware and
        number of images, is what the row's certificate costs per image, None where not measured.

    Example:

    >>> import zoo
    >>> from zoo.evaluation.leaderboard.rows import rows
    >>> row = rows(zoo.list_models("linf-dist-digits"))[0]
    >>> row["eps"], row["method"], row["attack"], row["clean"] >= row["attacked"]
    ('0.02', 'interval', 'pgd', True)
    """
    found = [_row(record, entry) for record in records for entry in record.metrics["certified"]]
    return sorted(found, key=_rank)


def grouped(found):
    """Rows by what can be compared.

    Args:
        found: as :func:`rows` returns them.

    Returns:
        Dictionary from (data set, norm) to the rows, in the order they came.
    """
    groups = {}
    for row in found:
        groups.setdefault((row["dataset"], row["norm"]), []).append(row)
    return groups


def _row(record, entry):
    strongest = _strongest_attack(record, entry)
    cost = record.metrics.get("cost") or {}
    # The cost is of one method, and says nothing about the others.
    if cost.get("method") != entry["method"]:
        cost = {}
    return {
        "model": record.name,
        "approach": record.approach,
        "architecture": record.architecture,
        "paper": record.paper,
        "dataset": record.dataset,
        "norm": entry["norm"],
        "eps": entry["eps"],
        "budget": float(Epsilon(entry["eps"])),
        "clean": record.metrics["clean"],
        "attacked": strongest.get("accuracy"),
        "attack": strongest.get("attack"),
        "attack_parameters": strongest.get("parameters"),
        "certified": entry["accuracy"],
        "method": entry["method"],
        "n": entry["n"],
        "parameters": record.parameters,
        "bytes": record.size,
        "seconds": record.training["seconds"],
        "epochs": record.training["epochs"],
        "hardware": record.training["hardware"],
        "milliseconds": cost.get("milliseconds"),
        "cost_hardware": cost.get("hardware"),
        "cost_n": cost.get("n"),
        # No certificate here samples, and no recipe takes images beyond its training set.
        "deterministic": "yes",
        "extra_data": "none",
        "notes": record.notes,
    }


def _strongest_attack(record, entry):
    """Of those at the same budget and on the same images; empty if there was none."""
    same = [
        attack
        for attack in record.metrics["attacked"]
        if (attack["norm"], attack["n"]) == (entry["norm"], entry["n"])
        and Epsilon(attack["eps"]) == Epsilon(entry["eps"])
    ]
    return min(same, key=lambda attack: attack["accuracy"], default={})


def _rank(row):
    comparable = (row["dataset"], row["norm"], row["budget"])
    return (*comparable, -row["certified"], row["model"], row["method"])
