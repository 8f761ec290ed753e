"""Measuring a model on images."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zoo.evaluation.outcome import Outcome, joined, outcome_of
from zoo.evaluation.report import RobustnessReport, report_of
from zoo.typing import Array, ArrayLike, Budget
from zoo.utils import checks

if TYPE_CHECKING:
    from zoo.models import CertifiedModel

__all__ = ["Outcome", "RobustnessReport", "check", "evaluate", "joined", "outcome_of", "report_of"]


def evaluate(
    model: "CertifiedModel",
    x: ArrayLike,
    y: ArrayLike,
    *,
    eps: Budget | Sequence[Budget] | Array,
    norm: str | None = None,
    attacks: str | Iterable[str] = ("fgsm", "pgd"),
    method: str = "auto",
    params: Mapping[str, Mapping[str, Any]] | None = None,
    batch_size: int = 256,
    seed: int = 0,
    verbose: int = 0,
    nearest: bool = False,
) -> RobustnessReport:
    """Clean ≥ attacked ≥ certified accuracy of a model.

    Args:
        model: a :class:`zoo.models.CertifiedModel`; or another Keras classifier that
            :func:`zoo.certify` takes, of images in [0, 1], which may end in a softmax.
        x: images ``(n, height, width, channels)``, floats in [0, 1] or uint8.
        y: integer labels ``(n,)``.
        eps: budget or list of budgets: numbers, or strings such as ``"8/255"``.
        norm: of the perturbation; by default the first that the model certifies.
        attacks: name or list of names, see ``zoo.attacks.ATTACKS``; an empty list for none. A
            :class:`zoo.attacks.Attack` may take the place of a name.
        method: of the certificate.
        params: ``{attack: {parameter: value}}`` of attacks that are named.
        batch_size, seed, verbose: as for ``certify`` and ``attack``.
        nearest: True looks for the nearest flip of each image too, see
            :func:`zoo.attacks.nearest`: the certificate's ``nearest`` has the distances of the
            nearest ones that any attack found, and the report their median over the radius.

    Returns:
        :class:`RobustnessReport`.

    Raises:
        TypeError, ValueError: naming the argument that is wrong, before anything is measured.
        zoo.SoundnessError: if an attack changed a prediction within its certified radius, naming
            the image's index.
    """
    return report_of(
        outcome_of(
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
            nearest=nearest,
        )
    )


def check(model: "CertifiedModel", x: ArrayLike, y: ArrayLike, **settings: Any) -> None:
    """Raise what :func:`evaluate` would raise for its arguments, but measure nothing.

    A program that measures several models calls this for each of them first. Otherwise it would
    find out about the last model's arguments when all others are done.

    Args:
        model, x, y, settings: as for :func:`evaluate`.

    Raises:
        TypeError, ValueError: naming the argument that is wrong.
    """
    from zoo.models.any_classifier import as_classifier

    model = as_classifier(model, x)
    x = checks.images(x, model.image_shape)
    y = checks.labels(y, len(x), model.num_classes)
    # Without images, there is nothing left to do but to look at the other arguments.
    outcome_of(model, x[:0], y[:0], **settings)
