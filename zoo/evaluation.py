"""Measuring a model: clean, attacked and certified accuracy in one report."""

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np

from zoo import checks
from zoo.epsilon import Epsilon
from zoo.errors import SoundnessError
from zoo.json_text import json_text, json_value


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
        """The numbers in JSON's types, None in place of NaN."""
        return {
            "n": self.n,
            "norm": self.norm,
            "method": self.method,
            "clean": json_value(self.clean),
            "rows": json_value(self.rows),
        }

    def to_json(self):
        """The numbers as JSON."""
        return json_text(self.to_dict(), indent=1)

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
        x: images ``(n, height, width, channels)``, floats in [0, 1] or uint8.
        y: integer labels ``(n,)``.
        eps: budget or list of budgets: numbers, or strings such as ``"8/255"``.
        norm: of the perturbation; by default the first that the model certifies.
        attacks: name or list of names, see ``zoo.attacks.ATTACKS``; an empty list for none.
        method: of the certificate.
        params: ``{attack: {parameter: value}}``.
        batch_size, seed, verbose: as for ``certify`` and ``attack``.

    Returns:
        :class:`RobustnessReport`.

    Raises:
        TypeError, ValueError: naming the argument that is wrong, before anything is measured.
        zoo.SoundnessError: if an attack changed a prediction within its certified radius, naming
            the image's index.
    """
    return report(
        measure(
            model,
            x,
            y,
            eps=eps,
            norm=norm,
            attacks=attacks,
            method=method,
            params=params,
            batch_size=batch_size,
            seed=seed,
            verbose=verbose,
        )
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Outcome:
    """What became of each image of a set, or of a part of it.

    Attributes:
        certificate: the :class:`zoo.certificates.Certificate`.
        labels: int64 array ``(n,)``.
        fooled: per budget a pair of the :class:`zoo.epsilon.Epsilon` and a dictionary of attack to
            bool array ``(n,)``: where the attacked image is classified other than its label.
    """

    certificate: object
    labels: np.ndarray
    fooled: list


def measure(
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
    first=0,
    verbose=0,
):
    """Certify and attack images; the part of :func:`evaluate` that may be done in parts.

    Args:
        model, x, y, eps, norm, attacks, method, params, batch_size, seed, verbose: as for
            :func:`evaluate`.
        first: place of ``x[0]`` in the whole set, a multiple of ``batch_size``.

    Returns:
        :class:`Outcome`.

    Raises:
        TypeError, ValueError, zoo.SoundnessError: as :func:`evaluate`.
    """
    from zoo.attacks import attack

    _require_model(model)
    x = checks.images(x, model.image_shape)
    y = checks.labels(y, len(x), model.num_classes)
    budgets = _budgets(eps)
    norm_of_attacks = norm or next((pair[0] for pair in model.certificates), None)
    attacks, params = _attacks(attacks, params, norm_of_attacks, model)
    _require_seed(seed)
    certificate = model.certify(x, norm=norm, method=method, batch_size=batch_size, verbose=verbose)
    fooled = []
    for budget in budgets:
        by_attack = {}
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
                first=first,
                verbose=verbose,
                **params.get(name, {}),
            )
            by_attack[name] = np.argmax(model.logits(x_adv, batch_size=batch_size), axis=1) != y
            _require_sound(certificate, y, by_attack[name], budget, name, first)
        fooled.append((budget, by_attack))
    return Outcome(certificate, y, fooled)


def check(
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
    """Raise what :func:`evaluate` would raise for its arguments, but measure nothing.

    For a program that measures several models, and should not find out about the last one's
    arguments when all others are done.

    Args:
        model, x, y, eps, norm, attacks, method, params, batch_size, seed, verbose: as for
            :func:`evaluate`.

    Raises:
        TypeError, ValueError: naming the argument that is wrong.
    """
    _require_model(model)
    x = checks.images(x, model.image_shape)
    y = checks.labels(y, len(x), model.num_classes)
    # Without images, there is nothing left to do but to look at the other arguments.
    measure(
        model,
        x[:0],
        y[:0],
        eps=eps,
        norm=norm,
        attacks=attacks,
        method=method,
        params=params,
        batch_size=batch_size,
        seed=seed,
    )


def joined(outcomes):
    """The outcome of a whole set from those of its parts.

    Args:
        outcomes: list of :class:`Outcome`, in the order of the images, of the same model, budgets
            and attacks; at least one.

    Returns:
        :class:`Outcome`.
    """
    certificates = [outcome.certificate for outcome in outcomes]

    def together(arrays):
        return None if arrays[0] is None else np.concatenate(arrays)

    certificate = dataclasses.replace(
        certificates[0],
        **{
            name: together([getattr(part, name) for part in certificates])
            for name in ("prediction", "radius", "margin", "nearest")
        },
    )
    fooled = [
        (budget, {name: together([o.fooled[i][1][name] for o in outcomes]) for name in by_attack})
        for i, (budget, by_attack) in enumerate(outcomes[0].fooled)
    ]
    return Outcome(certificate, together([o.labels for o in outcomes]), fooled)


def report(outcome):
    """Count what became of the images.

    Args:
        outcome: :class:`Outcome` of the whole set.

    Returns:
        :class:`RobustnessReport`.

    Raises:
        zoo.SoundnessError: if an attack changed a prediction within its certified radius, naming
            the image's index.
    """
    certificate, y = outcome.certificate, outcome.labels
    right = certificate.prediction == y
    rows = []
    for budget, by_attack in outcome.fooled:
        withstood, attacked = right.copy(), {}
        for name, fooled in by_attack.items():
            _require_sound(certificate, y, fooled, budget, name)
            attacked[name] = _mean(right & ~fooled)
            withstood &= ~fooled
        if len(attacked) > 1:
            attacked["all"] = _mean(withstood)
        certified = certificate.accuracy(y, budget)
        rows.append({"eps": str(budget), "attacked": attacked, "certified": certified})
    return RobustnessReport(
        n=len(y),
        norm=certificate.norm,
        method=certificate.method,
        clean=_mean(right),
        rows=rows,
        certificate=certificate,
        labels=y,
    )


def _require_model(model):
    from zoo.models import CertifiedModel

    if not isinstance(model, CertifiedModel):
        raise TypeError(
            "model must be a model of the zoo, which is a zoo.models.CertifiedModel, got "
            f"{type(model).__name__}; zoo.certify certifies other Keras models"
        )


def _budgets(eps):
    several = isinstance(eps, (list, tuple)) or (isinstance(eps, np.ndarray) and eps.ndim > 0)
    return [Epsilon(e) for e in (eps if several else [eps])]


def _attacks(attacks, params, norm, model):
    """Names as a tuple and parameters as a dictionary, checked."""
    from zoo.attacks import check_settings

    names = [attacks] if isinstance(attacks, str) else attacks
    names = list(names) if isinstance(names, Iterable) else [names]
    if not all(isinstance(name, str) for name in names):
        raise TypeError(f"attacks must be a name or a list of names, got {attacks!r}")
    params = {} if params is None else params
    if not isinstance(params, Mapping) or not all(isinstance(params[k], Mapping) for k in params):
        raise TypeError(f"params must be like {{'pgd': {{'steps': 10}}}}, got {params!r}")
    unknown = [name for name in params if name not in names]
    if unknown:
        raise ValueError(f"params for {unknown}, which are not among the attacks {tuple(names)}")
    for name in names:
        check_settings(name, norm, params.get(name), model=model)
    return tuple(names), params


def _require_seed(seed):
    try:
        np.random.default_rng(seed)
    except (TypeError, ValueError) as error:
        raise type(error)(f"seed must be a non-negative integer, got {seed!r}") from error


def _require_sound(certificate, y, fooled, budget, attack, first=0):
    right = certificate.prediction == y
    broken = np.flatnonzero(right & fooled & certificate.certified(budget))
    if len(broken):
        index = int(broken[0])
        raise SoundnessError(
            f"the certificate is wrong: {attack} at {certificate.norm} eps {budget} fools image "
            f"{first + index}, whose certified radius is {certificate.radius[index]:.6g}"
            f" ({len(broken)} images in all). This is a bug in zoo; please report it"
        )


def _mean(mask):
    return float(np.mean(mask)) if len(mask) else float("nan")
