"""A table of models to choose from."""

from zoo.epsilon import Epsilon
from zoo.hub import catalog

_NORMS = {"linf": "ℓ∞", "l2": "L2"}


def model_table():
    """A Markdown table: the best model of each approach, data set and norm."""
    rows = [
        ["images", "norm", "model", "clean", "certified", "cost", "training"],
        ["---", "---", "---", "---:", "---", "---:", "---:"],
    ]
    best = {}
    for record in catalog.list_models():
        if record.dataset == "digits":
            continue
        middle = budgets(record)[(len(budgets(record)) - 1) // 2]
        key = (record.dataset, record.norm, record.approach)
        best[key] = max(best.get(key, (-1.0, None)), (accuracy(record, middle), record.name))
    for _, name in best.values():
        record = catalog.info(name)
        shown = "<br>".join(f"{accuracy(record, eps):.1%} at {eps}" for eps in budgets(record))
        cost, seconds = record.metrics.cost, record.training.seconds
        rows.append(
            [
                record.dataset,
                _NORMS[record.norm],
                f"`{name}`",
                f"{record.metrics.clean:.1%}",
                shown,
                shown_cost(cost) if cost else "–",
                f"{seconds / 60:.0f} min" if seconds else "–",
            ]
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def shown_cost(cost):
    """The time of a certificate for the first image, if it is known, and for each further one."""
    further = f"{cost.milliseconds:.3g} ms"
    return further if cost.first_seconds is None else f"{cost.first_seconds:.1f} s, then {further}"


def certified(record):
    """What is certified in the norm that the model is made for."""
    return [entry for entry in record.metrics.certified if entry.norm == record.norm]


def budgets(record):
    """The budgets at which a record has a certified accuracy, from small to large."""
    return sorted({entry.eps for entry in certified(record)}, key=lambda eps: float(Epsilon(eps)))


def accuracy(record, eps):
    """The highest certified accuracy of a record at a budget."""
    return max(entry.accuracy for entry in certified(record) if entry.eps == eps)
