"""A table of models to choose from."""

from zoo.epsilon import Epsilon
from zoo.hub import catalog
from zoo.utils.norms import SYMBOLS


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
        found = list(accuracies(record).values())
        middle = found[(len(found) - 1) // 2]
        key = (record.dataset, record.norm, record.approach)
        best[key] = max(best.get(key, (-1.0, None)), (middle, record.name))
    for _, name in best.values():
        record = catalog.info(name)
        found = accuracies(record)
        shown = "<br>".join(f"{accuracy:.1%} at {eps}" for eps, accuracy in found.items())
        cost, seconds = record.metrics.cost, record.training.seconds
        rows.append(
            [
                record.dataset,
                SYMBOLS[record.norm],
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


def accuracies(record):
    """The certified accuracy at each budget, from the smallest, in the norm of the model."""
    results = [result for result in record.metrics.best_certified() if result.norm == record.norm]
    return {
        result.eps: result.accuracy
        for result in sorted(results, key=lambda result: float(Epsilon(result.eps)))
    }
