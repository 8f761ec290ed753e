"""Measure the clean, attacked and certified accuracy of a model on images."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zoo.evaluation.by_class import ClassReport
from zoo.evaluation.comparison import Comparison
from zoo.evaluation.outcome import Outcome, joined, outcome_of, required_labels
from zoo.evaluation.report import RobustnessReport, report_of
from zoo.typing import Array, ArrayLike, Budget, NormLike
from zoo.utils import checks, inputs

if TYPE_CHECKING:
    from zoo.attacks import Attack
    from zoo.models import CertifiedModel

__all__ = [
    "ClassReport",
    "Comparison",
    "Outcome",
    "RobustnessReport",
    "check",
    "evaluate",
    "joined",
    "outcome_of",
    "report_of",
]


def evaluate(
    model: "CertifiedModel",
    x: ArrayLike,
    y: ArrayLike | None = None,
    *,
    eps: Budget | Sequence[Budget] | Array,
    norm: NormLike | None = None,
    attacks: "str | Attack | Iterable[str | Attack]" = ("fgsm", "pgd"),
    method: str = "auto",
    params: Mapping[str, Mapping[str, Any]] | None = None,
    batch_size: int = 256,
    seed: int = 0,
    verbose: int = 0,
    nearest: bool = False,
    per_class: bool = False,
    spare_certified: Iterable[str] = (),
    radii: bool = True,
) -> RobustnessReport:
    """Measure the clean, attacked and certified accuracy of a model.

    On the same images, clean ≥ attacked ≥ certified accuracy at every budget.

    Args:
        model: a :class:`zoo.models.CertifiedModel`; or another Keras classifier that
            :func:`zoo.certify` takes, of images in [0, 1], which may end in a softmax.
        x: images as :meth:`zoo.models.CertifiedModel.certify` takes them: an array, or a data set,
            which gives the labels too. Models of the zoo take uint8 as well; for another Keras
            model, images must be floats in [0, 1].
        y: labels ``(n,)`` or ``(n, 1)``, or one-hot rows ``(n, classes)``. None if ``x`` gives
            them.
        eps: budget or list of budgets, in units of the [0, 1] image: numbers, or strings such as
            ``"8/255"``.
        norm: norm of the perturbation; by default the first one that the model certifies.
        attacks: name of an attack or list of names, keys of ``zoo.attacks.ATTACKS``; an empty list
            runs none. A :class:`zoo.attacks.Attack` may take the place of a name.
        method: method of the certificate, or ``"auto"``: see ``model.certificates``.
        params: ``{attack: {parameter: value}}``, parameters of the attacks that are given by name.
        batch_size, seed, verbose: as for ``certify`` and ``attack``.
        nearest: True also looks for the nearest image that is classified otherwise, see
            :func:`zoo.attacks.nearest`. The certificate's ``nearest`` is the distance of the
            nearest one that any attack found, and the report's ``nearest_over_radius`` the median
            of this distance divided by the radius.
        per_class: True asks for the certificate's ``per_class``, as for ``certify``, so that
            ``report.by_class().confusion(eps)`` tells which classes can become which.
        spare_certified: names of attacks that leave out the images whose radius is proven to be
            above the budget. No attack can fool those, so the accuracy is the same and slow
            attacks save most of their time; but these attacks then do not test the certificate.
        radii: False decides only whether images are certified at ``eps``, see
            :meth:`zoo.models.CertifiedModel.certify`. That saves time where a radius is searched
            for; but the report then has no radii, and no curve. It does not go together with
            ``nearest=True``, and ``per_class=True`` computes radii in any case.

    Returns:
        :class:`RobustnessReport`.

    Raises:
        TypeError, ValueError: naming the argument that is wrong, before anything is measured.
        zoo.UnsupportedLayerError: naming the first layer without bounds.
        NotImplementedError: if the backend has no such attack, or is neither TensorFlow nor JAX.
        RuntimeError: in a process that was forked after the backend had been used.
        zoo.SoundnessError: if an attack changed a prediction within its certified radius, naming
            the image's index; also for the reasons that :func:`zoo.certify` lists.

    Examples:
        >>> import zoo
        >>> model, test = zoo.load("lc-lmt-digits"), zoo.data.load("digits", "test").take(50)
        >>> report = zoo.evaluate(model, test, eps=0.1, attacks="fgsm")
        >>> report.clean >= report.rows[0]["attacked"]["fgsm"] >= report.rows[0]["certified"] > 0.8
        True
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
            per_class=per_class,
            spare_certified=spare_certified,
            radii=radii,
        )
    )


def check(
    model: "CertifiedModel", x: ArrayLike, y: ArrayLike | None = None, **settings: Any
) -> None:
    """Raise the errors that :func:`evaluate` raises for wrong arguments, but measure nothing.

    A program that measures several models calls this for all of them first. Otherwise a wrong
    argument for the last model would show only after all other models have been measured.

    Args:
        model, x, y, settings: as for :func:`evaluate`. A generator is used up by this.

    Raises:
        TypeError, ValueError: naming the argument that is wrong.
    """
    from zoo.models.any_classifier import as_classifier

    x, y = inputs.read(x, y)
    model = as_classifier(model, x)
    x = checks.images(x, model.image_shape)
    y = checks.labels(required_labels(y), len(x), model.num_classes)
    # With no images, outcome_of() does nothing but check the other arguments.
    outcome_of(model, x[:0], y[:0], **settings)
