"""Certified accuracy at every budget, from the few that were measured."""

from collections.abc import Iterable
from typing import Any

from zoo.epsilon import Epsilon
from zoo.hub.records import CertifiedResult, Record


def curves(records: Iterable[Record]) -> list[dict[str, Any]]:
    """Step functions below the certified accuracy of each checkpoint.

    What is certified at a budget is certified at every smaller one, so between two measured budgets
    the accuracy at the larger one is a lower bound. Each point carries the best that is proven at
    its budget or beyond it, by any of the checkpoint's certificates; beyond the last point nothing
    is claimed.

    Args:
        records: of :class:`zoo.hub.records.Record`, as :func:`zoo.list_models` returns them.

    Returns:
        List of dictionaries, one for each checkpoint, norm and number of images: ``clean`` is the
        accuracy at budget 0, or None if that was measured on other images, and ``points`` are
        ``{eps, budget, accuracy, method}`` by ascending budget, with accuracies that never rise.

    Example:

    >>> import zoo
    >>> from zoo.evaluation.curves import curves
    >>> (curve,) = curves(zoo.list_models("linf-dist-digits"))
    >>> [point["eps"] for point in curve["points"]]
    ['0.02', '0.05', '0.1', '0.15', '0.2']
    """
    return [
        {
            "model": record.name,
            "dataset": record.dataset,
            "norm": norm,
            "n": n,
            "clean": record.metrics.clean if n == record.metrics.n else None,
            "points": _points([r for r in record.metrics.certified if (r.norm, r.n) == (norm, n)]),
        }
        for record in records
        for norm, n in dict.fromkeys((r.norm, r.n) for r in record.metrics.certified)
    ]


def _points(results: list[CertifiedResult]) -> list[dict[str, Any]]:
    points = []
    best: CertifiedResult | None = None
    for eps in sorted({Epsilon(result.eps) for result in results}, key=float, reverse=True):
        for result in results:
            if Epsilon(result.eps) == eps and (best is None or result.accuracy > best.accuracy):
                best = result
        if best is not None:
            points.append(
                {
                    "eps": str(eps),
                    "budget": float(eps),
                    "accuracy": best.accuracy,
                    "method": best.method,
                }
            )
    return points[::-1]
