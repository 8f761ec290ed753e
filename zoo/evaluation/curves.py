"""Lower bounds of the certified accuracy at every budget, for the leaderboard's chart."""

from collections.abc import Iterable
from typing import Any

from zoo.epsilon import Epsilon
from zoo.hub.records import CertifiedResult, Record


def curves(records: Iterable[Record]) -> list[dict[str, Any]]:
    """Step functions that are lower bounds of the certified accuracy of each checkpoint.

    An image that is certified at one budget is certified at every smaller one, so between two
    measured budgets the accuracy at the larger one is a lower bound. A point has the best accuracy
    that any of the checkpoint's certificates proves at the point's budget or at a larger one.
    Nothing is claimed beyond the last point.

    Args:
        records: iterable of :class:`zoo.hub.records.Record`, as :func:`zoo.list_models` returns.

    Returns:
        List of dictionaries, one for each checkpoint, norm and number of images. ``clean`` is the
        accuracy at budget 0, or None if that was measured on other images. ``points`` is a list of
        ``{eps, budget, accuracy, method}`` by ascending budget, with accuracies that never rise.
        ``budgets`` and ``certified`` are the stored :class:`zoo.hub.curve.Curve` of the images, as
        budgets and numbers of images; both are None if no curve is stored.

    Examples:
        >>> import zoo
        >>> from zoo.evaluation.curves import curves
        >>> (curve,) = curves(zoo.list_models("linf-dist-digits"))
        >>> [point["eps"] for point in curve["points"]]
        ['0.02', '0.05', '0.1', '0.15', '0.2']
    """
    found = []
    for record in records:
        stored = record.curve
        for norm, n in dict.fromkeys((r.norm, r.n) for r in record.metrics.certified):
            own = stored if stored is not None and (stored.norm, stored.n) == (norm, n) else None
            found.append(
                {
                    "model": record.name,
                    "dataset": record.dataset,
                    "norm": norm,
                    "n": n,
                    "clean": record.metrics.clean if n == record.metrics.n else None,
                    "points": _points(
                        [r for r in record.metrics.certified if (r.norm, r.n) == (norm, n)]
                    ),
                    "budgets": None
                    if own is None
                    else [float(Epsilon(eps)) for eps in own.budgets],
                    "certified": None if own is None else own.certified,
                }
            )
    return found


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
