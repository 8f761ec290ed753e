"""Measuring a model: clean, attacked and certified accuracy in one report."""

import dataclasses
import json

import numpy as np

from zoo import checks
from zoo.epsilon import Epsilon
from zoo.errors import SoundnessError


@dataclasses.dataclass(frozen=True, eq=False)
class RobustnessReport:
    """What was measured; prints as a table.

    Attributes:
        n: number of images.
        norm, method: of the certificate.
        clean: accuracy on the images themselves; NaN for no images.
        rows: per budget a dictionary ``{eps, attacked, certified}``, where ``attacked`` has the
            accuracy under each attack, and under ``"all"`` the images that withstood every one.
        certificate: the :class:`zoo.certificates.Certificate`.
        labels: int64 array ``(n,)``.
    """

    n: int
    norm: str
    method: str
    clean: float
    rows: list
    certificate: object
    labels: np.ndarray

    def to_dict(self):
        """The numbers in JSON's types."""
        return {
            "n": self.n,
            "norm": self.norm,
            "method": self.method,
            "clean": self.clean,
            "rows": self.rows,
        }

    def to_json(self):
        """The numbers as JSON."""
        return json.dumps(self.to_dict(), indent=1)

    def plot(self, path):
        """Draw the certified-accuracy curve, with the attacks as points, into an image file."""
        from zoo.report.plots import certified_accuracy

        certified_accuracy(self, path)

    def __str__(self):
        attacks = list(self.rows[0]["attacked"]) if self.rows else []
        header = ["eps", "clean", *attacks, "certified"]
        lines = [
            [row["eps"], self.clean, *row["attacked"].values(), row["certified"]]
            for row in self.rows
        ]
        cells = [[v if isinstance(v, str) else f"{100 * v:.2f}%" for v in row] for row in lines]
        widths = [max(len(row[i]) for row in [header, *cells]) for i in range(len(header))]
        table = [
            "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
            for row in [header, *cells]
        ]
        return "\n".join([f"n = {self.n}, {self.norm}, certificate: {self.method}", *table])


def evaluate(
    model,
    x,
    y,
    *,
    eps,
    norm=None,
    attacks=("fgsm", "pgd"),
    method="auto",
    params=None,
    batch_size=256,
    seed=0,
    verbose=0,
):
    """Clean ≥ attacked ≥ certified accuracy of a model.

    Args:
        model: a :class:`zoo.models.CertifiedModel`.
        x, y: images and labels, as for ``certify`` and ``attack``.
        eps: budget or list of budgets: numbers, or strings such as ``"8/255"``.
        norm: of the perturbation; by default the first that the model certifies.
        attacks: names, see ``zoo.attacks.ATTACKS``.
        method: of the certificate.
        params: ``{attack: {parameter: value}}``.
        batch_size, seed, verbose: as for ``certify`` and ``attack``.

    Returns:
        :class:`RobustnessReport`.

    Raises:
        zoo.SoundnessError: if an attack changed a prediction within its certified radius, naming
            the image's index.
    """
    from zoo.attacks import attack

    x = checks.images(x, model.image_shape)
    y = checks.labels(y, len(x), model.num_classes)
    budgets = [Epsilon(e) for e in (eps if isinstance(eps, (list, tuple, np.ndarray)) else [eps])]
    attacks = (attacks,) if isinstance(attacks, str) else tuple(attacks)
    unknown = set(params or {}) - set(attacks)
    if unknown:
        raise ValueError(f"params for {sorted(unknown)}, which are not among the attacks {attacks}")
    certificate = model.certify(x, norm=norm, method=method, batch_size=batch_size, verbose=verbose)
    right = certificate.prediction == y
    rows = []
    for budget in budgets:
        withstood, attacked = right.copy(), {}
        for name in attacks:
            x_adv = attack(
                model,
                x,
                y,
                name,
                eps=budget,
                norm=certificate.norm,
                batch_size=batch_size,
                seed=seed,
                verbose=verbose,
                **(params or {}).get(name, {}),
            )
            fooled = np.argmax(model.logits(x_adv, batch_size=batch_size), axis=1) != y
            _require_sound(certificate, right & fooled, budget, name)
            attacked[name] = _mean(right & ~fooled)
            withstood &= ~fooled
        if len(attacks) > 1:
            attacked["all"] = _mean(withstood)
        certified = certificate.accuracy(y, budget)
        rows.append({"eps": str(budget), "attacked": attacked, "certified": certified})
    return RobustnessReport(
        n=len(x),
        norm=certificate.norm,
        method=certificate.method,
        clean=_mean(right),
        rows=rows,
        certificate=certificate,
        labels=y,
    )


def _require_sound(certificate, fooled, budget, attack):
    broken = np.flatnonzero(fooled & certificate.certified(budget))
    if len(broken):
        index = int(broken[0])
        raise SoundnessError(
            f"the certificate is wrong: {attack} at {certificate.norm} eps {budget} fools image "
            f"{index}, whose certified radius is {certificate.radius[index]:.6g}"
            f" ({len(broken)} images in all). This is a bug in zoo; please report it"
        )


def _mean(mask):
    return float(np.mean(mask)) if len(mask) else float("nan")
