"""The result of an evaluation for each image: its certificate, and the attacks that fooled it."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.certificates.certificate import Certificate
from zoo.certificates.nan_logits import classes_of
from zoo.epsilon import Epsilon, budgets_of
from zoo.errors import SoundnessError
from zoo.typing import Array, ArrayLike, Budget, NormLike
from zoo.utils import checks, inputs
from zoo.utils.norms import norm_of
from zoo.utils.progress import steps

if TYPE_CHECKING:
    from zoo.attacks import Attack
    from zoo.models import CertifiedModel


@dataclasses.dataclass(frozen=True, eq=False)
class Outcome:
    """The result of an evaluation for each image of a set, or of a part of a set.

    Attributes:
        certificate: the :class:`zoo.certificates.Certificate` of the images.
        labels: int64 array ``(n,)``.
        fooled: per budget a pair of the :class:`zoo.epsilon.Epsilon` and a dictionary of attack to
            bool array ``(n,)``: where the attacked image is classified other than its label.
        notes: what a reader of the numbers has to know, such as a loss that was replaced.
        nearest: whether the certificate's ``nearest`` are images that attacks found.
    """

    certificate: Certificate
    labels: Array
    fooled: list[tuple[Epsilon, dict[str, Array]]]
    notes: tuple[str, ...] = ()
    nearest: bool = False


def outcome_of(
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
    first: int = 0,
    verbose: int = 0,
    nearest: bool = False,
    per_class: bool = False,
    spare_certified: Iterable[str] = (),
    radii: bool = True,
) -> Outcome:
    """Certify and attack images.

    :func:`zoo.evaluation.evaluate` calls this for a whole set. It can also be called for parts of a
    set, whose outcomes :func:`joined` puts together.

    Args:
        model, x, y, eps, norm, attacks, method, params, batch_size, seed, verbose, nearest,
        per_class, spare_certified, radii: as for :func:`zoo.evaluation.evaluate`.
        first: index of ``x[0]`` in the whole set, a multiple of ``batch_size``.

    Returns:
        :class:`Outcome`.

    Raises:
        TypeError, ValueError, zoo.SoundnessError: as :func:`zoo.evaluation.evaluate`.
    """
    from zoo.attacks import attack
    from zoo.attacks import nearest as nearest_flips
    from zoo.attacks.ball import size
    from zoo.attacks.registry import checked_attack, require_budget
    from zoo.bounds.model_state import drop_predict_program
    from zoo.models.any_classifier import as_classifier

    x, y = inputs.read(x, y)
    given, model = model, as_classifier(model, x)
    if model is not given:
        drop_predict_program(given)
    x = checks.images(x, model.image_shape)
    y = checks.labels(required_labels(y), len(x), model.num_classes)
    checks.true_or_false(nearest, "nearest")
    if nearest and not checks.true_or_false(radii, "radii"):
        raise ValueError("nearest=True compares distances with radii, so radii must be True")
    budgets = budgets_of(eps)
    norm = None if norm is None else norm_of(norm)
    norm_of_attacks = norm or next((pair[0] for pair in model.certificates), None)
    by_label: dict[str, Attack] = {
        label: checked_attack(chosen, norm_of_attacks, model=model)
        for label, chosen in _labelled(attacks_of(attacks, params)).items()
    }
    seed = checks.not_negative_integer(seed, "seed")
    for budget in budgets if by_label and norm_of_attacks else []:
        require_budget(budget, norm_of_attacks, model.image_shape)
    notes = dict.fromkeys(note for chosen in by_label.values() for note in chosen.notes(model))
    spared = _spared(spare_certified, by_label)
    notes.update(dict.fromkeys(f"{label} left out the certified images" for label in spared))
    decided = None if radii or per_class or not budgets else budgets
    number_of_steps = 1 + nearest + len(budgets) * len(by_label)
    with steps("evaluating", number_of_steps, show=verbose) as advance:
        certificate = model.certify(
            x,
            norm=norm,
            method=method,
            batch_size=batch_size,
            verbose=verbose,
            eps=decided,
            per_class=per_class,
        )
        advance()
        distances = np.full(len(x), np.inf)
        if nearest:
            distances = nearest_flips(
                model,
                x,
                certificate.prediction,
                norm=certificate.norm,
                batch_size=batch_size,
                verbose=verbose,
            )
            advance()
        fooled = []
        for budget in budgets:
            by_attack = {}
            for label, chosen in by_label.items():
                x_adv = attack(
                    model,
                    x,
                    y,
                    chosen,
                    eps=budget,
                    norm=certificate.norm,
                    where=~certificate.certified(budget) if label in spared else None,
                    batch_size=batch_size,
                    seed=seed,
                    first=first,
                    verbose=verbose,
                )
                predicted = classes_of(model.logits(x_adv, batch_size=batch_size))
                by_attack[label] = predicted != y
                far = size(x_adv.astype(np.float64) - x, certificate.norm)
                far = np.where(predicted != certificate.prediction, far, np.inf)
                distances = np.minimum(distances, far)
                require_sound(certificate, y, by_attack[label], budget, label, first)
                require_possible(certificate, predicted, budget, label, first)
                advance()
            fooled.append((budget, by_attack))
    certificate = certificate.with_nearest(distances, first=first) if nearest else certificate
    return Outcome(certificate, y, fooled, tuple(notes), nearest)


def required_labels(y: Any) -> Any:
    """Labels that an evaluation was given; an error if there are none."""
    if y is None:
        raise TypeError("y must be given: an evaluation needs labels, and x gives none")
    return y


def joined(outcomes: Sequence[Outcome]) -> Outcome:
    """Join the outcomes of all parts of a set into the outcome of the whole set.

    Args:
        outcomes: list of at least one :class:`Outcome`, in the order of the images, all for the
            same model, budgets and attacks.

    Returns:
        :class:`Outcome`.
    """
    certificate = Certificate.concatenate([outcome.certificate for outcome in outcomes])
    fooled = [
        (
            budget,
            {name: np.concatenate([o.fooled[i][1][name] for o in outcomes]) for name in by_attack},
        )
        for i, (budget, by_attack) in enumerate(outcomes[0].fooled)
    ]
    labels = np.concatenate([outcome.labels for outcome in outcomes])
    return Outcome(certificate, labels, fooled, outcomes[0].notes, outcomes[0].nearest)


def require_sound(
    certificate: Certificate,
    y: Array,
    fooled: Array,
    budget: Epsilon,
    attack: str,
    first: int = 0,
) -> None:
    """Raise :class:`zoo.SoundnessError` if an attack fooled a certified image.

    Args:
        certificate: the :class:`zoo.certificates.Certificate`.
        y: int64 array ``(n,)`` of labels.
        fooled: bool array ``(n,)``, True where the attacked image is not classified as its label.
        budget: :class:`zoo.epsilon.Epsilon` of the attack.
        attack: name of the attack.
        first: index of the first image in the whole set.
    """
    right = certificate.prediction == y
    broken = np.flatnonzero(right & fooled & certificate.certified(budget))
    if len(broken):
        index = int(broken[0])
        raise SoundnessError(
            f"the certificate is wrong: {attack} at {certificate.norm} eps {budget} fools image "
            f"{first + index}, whose certified radius is {certificate.radius[index]:.6g}"
            f" ({len(broken)} images in all). This is a bug in zoo; please report it"
        )


def require_possible(
    certificate: Certificate, predicted: Array, budget: Epsilon, attack: str, first: int = 0
) -> None:
    """Raise :class:`zoo.SoundnessError` if an attacked image has a class that was excluded.

    Args:
        certificate: the :class:`zoo.certificates.Certificate`.
        predicted: int array ``(n,)``, the classes of the attacked images, or -1 for none.
        budget, attack, first: as for :func:`require_sound`.
    """
    if certificate.per_class is None:
        return
    rows = np.arange(len(predicted))
    broken = np.flatnonzero(~certificate.possible(budget)[rows, predicted] & (predicted >= 0))
    if len(broken):
        index = int(broken[0])
        radius = certificate.per_class[index, predicted[index]]
        raise SoundnessError(
            f"the certificate is wrong: {attack} at {certificate.norm} eps {budget} makes image "
            f"{first + index} one of class {predicted[index]}, against which its certified radius "
            f"is {radius:.6g} ({len(broken)} images in all). This is a bug in zoo; please report it"
        )


def attacks_of(attacks: Any, params: Any = None) -> list[Any]:
    """The attacks that the arguments of an evaluation stand for.

    Args:
        attacks, params: as for :func:`zoo.evaluation.evaluate`.

    Returns:
        List of :class:`zoo.attacks.Attack`.

    Raises:
        TypeError, ValueError: naming the argument that is wrong.
    """
    from zoo.attacks import Attack
    from zoo.attacks.registry import attack_of

    chosen = [attacks] if isinstance(attacks, (str, Attack)) else attacks
    chosen = list(chosen) if isinstance(chosen, Iterable) else [chosen]
    if not all(isinstance(one, (str, Attack)) for one in chosen):
        raise TypeError(
            f"attacks must be a name or a list of names, got {attacks!r}; "
            "a zoo.attacks.Attack may take the place of a name, and () stands for no attack"
        )
    params = {} if params is None else params
    if not isinstance(params, Mapping) or not all(isinstance(params[k], Mapping) for k in params):
        raise TypeError(f"params must be like {{'pgd': {{'steps': 10}}}}, got {params!r}")
    names = tuple(one for one in chosen if isinstance(one, str))
    unknown = [name for name in params if name not in names]
    if unknown:
        raise ValueError(f"params for {unknown}, which are not among the attacks {names}")
    return [
        attack_of(one, dict(params.get(one, {}))) if isinstance(one, str) else one for one in chosen
    ]


def _labelled(attacks):
    """A dictionary from the label of each attack in a report to the attack.

    The label is the attack's name, followed by the parameters if several attacks have that name.
    """
    by_text = {str(attack): attack for attack in attacks}
    names = [attack.name for attack in by_text.values()]
    return {
        attack.name if names.count(attack.name) == 1 else text: attack
        for text, attack in by_text.items()
    }


def _spared(labels: Iterable[str], attacks: Mapping[str, Any]) -> tuple[str, ...]:
    if not isinstance(labels, Iterable):
        raise TypeError(f"spare_certified must be names of attacks, got {labels!r}")
    labels = (labels,) if isinstance(labels, str) else tuple(labels)
    unknown = [label for label in labels if label not in attacks]
    if unknown:
        raise ValueError(f"spare_certified names {unknown}, which are not among {list(attacks)}")
    return labels
