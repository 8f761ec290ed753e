"""The registry of attacks, and checks of the settings of an attack."""

import dataclasses
import inspect
import math
from collections.abc import Callable
from typing import Any, TypeVar

from zoo.attacks.base import Attack
from zoo.typing import NormLike
from zoo.utils.backend import backend_name
from zoo.utils.norms import NORMS, norm_of

_Class = TypeVar("_Class", bound=type[Attack])

#: The registered attacks by name: subclasses of :class:`zoo.attacks.Attack`.
ATTACKS: dict[str, type[Attack]] = {}
#: What :func:`zoo.attacks.attack` takes besides an attack's parameters, which have other names.
ARGUMENTS = (
    "model",
    "x",
    "y",
    "attack",
    "eps",
    "norm",
    "target",
    "where",
    "batch_size",
    "seed",
    "first",
    "verbose",
)


def register_attack(name: str) -> Callable[[_Class], _Class]:
    """Class decorator: register an attack under a name, which all functions then accept.

    The attack's parameters become arguments of :func:`zoo.attacks.attack` and flags of
    ``zoo attack``, and are appended to the docstring of the class. Running the definition of a
    class again, as in a notebook, replaces the class.

    Args:
        name: a Python identifier, which may have hyphens too. ``"all"`` is not allowed, because
            reports use it for all attacks together.

    Returns:
        A decorator for a frozen dataclass that is a subclass of :class:`zoo.attacks.Attack`.

    Raises:
        TypeError: if the decorated class is not such a dataclass, or has no ``run()``.
        ValueError: if the name is not an identifier or is that of another attack, if the class
            names an unknown norm, or if a parameter has no default or has the name of an argument
            of :func:`zoo.attacks.attack`.

    Examples:
        >>> import dataclasses, numpy as np, zoo
        >>> from zoo.utils import checks
        >>> @zoo.attacks.register_attack("noise")
        ... @dataclasses.dataclass(frozen=True)
        ... class Noise(zoo.attacks.Attack):
        ...     \"\"\"The most harmful of some random images.\"\"\"
        ...
        ...     tries: int = zoo.attacks.parameter(10, "random images", checks.positive_integer)
        ...
        ...     def run(self, victim, x, y, eps, norm, random):
        ...         best, best_gap = x.copy(), victim.gap(x, y)
        ...         for _ in range(self.tries):
        ...             step = random.uniform(-eps.below, eps.below, x.shape)
        ...             x_adv = zoo.attacks.project(x + step, x, eps, norm)
        ...             gap = victim.gap(x_adv, y)
        ...             better = gap < best_gap
        ...             best[better], best_gap[better] = x_adv[better], gap[better]
        ...         return best
        >>> model = zoo.models.LinfDistNet((8, 8, 1), 10, width=16, depth=2)
        >>> model.attack(np.full((2, 8, 8, 1), 0.5), None, "noise", eps="8/255", tries=3).shape
        (2, 8, 8, 1)
    """
    if not _is_name(name):
        raise ValueError(
            "an attack's name may have hyphens, and apart from them must be an identifier other "
            f"than 'all', got {name!r}"
        )

    def register(kind: _Class) -> _Class:
        _require_described(kind)
        known = ATTACKS.get(name)
        if known is not None and _place(known) != _place(kind):
            raise ValueError(f"there is an attack {name!r} already, the class {_place(known)}")
        kind.name = name
        kind.__doc__ = _with_parameters(kind)
        ATTACKS[name] = kind
        return kind

    return register


def _is_name(name):
    if not isinstance(name, str) or name.startswith("-") or name == "all":
        return False
    return name.replace("-", "_").isidentifier()


def check_settings(
    attack: str | Attack,
    norm: NormLike | None = None,
    params: dict[str, Any] | None = None,
    *,
    model: Any = None,
) -> None:
    """Raise unless an attack can be run with these settings; nothing is computed.

    :func:`zoo.attacks.attack` makes the same checks. Call this function to find a mistake before a
    long computation.

    Args:
        attack: name of the attack, a key of ``zoo.attacks.ATTACKS``; or a
            :class:`zoo.attacks.Attack`.
        norm: ``"linf"`` or ``"l2"``; None skips the check of the norm.
        params: dictionary of the attack's own parameters; None stands for no parameters.
        model: the model to be attacked, as for :func:`zoo.attacks.attack`: a
            :class:`zoo.models.CertifiedModel` or another Keras model; None skips the checks that
            depend on the model.

    Raises:
        TypeError: if ``model`` is no Keras model, the attack has no such parameter, or
            ``params`` is given together with an :class:`zoo.attacks.Attack`, which has its own.
        ValueError: naming the argument that is wrong, and the values that are allowed.
        NotImplementedError: if the attack does not run on the backend.

    Examples:
        >>> import zoo
        >>> zoo.attacks.check_settings("pgd", "linf", {"steps": 3})
        >>> zoo.attacks.check_settings("pgd", "linf", {"steps": "3"})
        Traceback (most recent call last):
        ...
        ValueError: steps must be a positive integer, got '3'
    """
    checked_attack(attack, norm, params, model)


def checked_attack(
    attack: str | Attack,
    norm: NormLike | None = None,
    params: dict[str, Any] | None = None,
    model: Any = None,
) -> Attack:
    """Like :func:`check_settings`, but return the :class:`zoo.attacks.Attack`."""
    if model is not None:
        from zoo.models.any_classifier import as_classifier

        model = as_classifier(model)
    found = attack_of(attack, params)
    if norm is not None:
        _check_norm(found, norm)
    if model is not None:
        found.check_model(model)
    _require_backend(found)
    return found


def attack_of(attack: str | Attack, params: dict[str, Any] | None = None) -> Attack:
    """The :class:`zoo.attacks.Attack` of this name with these parameters.

    Args:
        attack: name, or an :class:`zoo.attacks.Attack`, which is returned as it is.
        params: dictionary of parameters; None stands for no parameters.

    Raises:
        TypeError, ValueError: as :func:`check_settings`.
    """
    params = {} if params is None else params
    if not isinstance(params, dict):
        raise ValueError(f"params must be a dictionary of parameters, got {params!r}")
    if isinstance(attack, Attack):
        if params:
            raise TypeError(
                f"{attack!r} holds its own parameters, so that {', '.join(params)} cannot be given"
            )
        return attack
    if not isinstance(attack, str) or attack not in ATTACKS:
        advice = "; several attacks are a list of names" if "," in str(attack) else ""
        advice = "; an empty list stands for no attack" if attack == "none" else advice
        raise ValueError(f"attack must be one of {', '.join(ATTACKS)}, got {attack!r}{advice}")
    fields = dataclasses.fields(ATTACKS[attack])
    known = [field.name for field in fields]
    of_cleverhans = {field.metadata.get("cleverhans"): field.name for field in fields}
    given = params
    params = {of_cleverhans.get(name, name): value for name, value in given.items()}
    if len(params) < len(given):
        raise TypeError(
            f"a parameter of the {attack} attack is given twice, by its own name and by that of "
            f"cleverhans: {', '.join(given)}"
        )
    for name in params:
        if name not in known:
            raise TypeError(
                f"the {attack} attack has no parameter {name!r}; "
                f"it has: {', '.join(known) or 'none'}"
            )
    return ATTACKS[attack](**params)


def _check_norm(attack: Attack, norm: object) -> None:
    norm = norm_of(norm)
    if norm not in attack.norms:
        names = " or ".join(map(repr, attack.norms))
        others = [name for name, kind in ATTACKS.items() if norm in kind.norms]
        raise ValueError(
            f"the {attack.name} attack is for norm {names}, got {norm!r}; attacks for {norm!r}: "
            f"{', '.join(others)}"
        )


def norm_for(model, norm):
    """The name of the given norm; for None, the first norm that the model has certificates for.

    Raises:
        TypeError, ValueError: if it is no norm, or is None and the model has no certificates.
    """
    if norm is None and not model.certificates:
        raise ValueError("norm must be given, as the model has no certificate to take it from")
    return model.certificates[0][0] if norm is None else norm_of(norm)


def require_budget(eps, norm, shape):
    """Raise if a budget exceeds the largest distance between two images in [0, 1].

    Args:
        eps: :class:`zoo.epsilon.Epsilon`.
        norm: ``"linf"`` or ``"l2"``.
        shape: of an image.

    Raises:
        ValueError: naming the largest budget of the norm.
    """
    largest = 1.0 if norm == "linf" else math.sqrt(math.prod(shape))
    if float(eps) > largest:
        raise ValueError(
            f"eps must lie in [0, {largest:g}] for norm {norm!r}, because images in [0, 1] are no "
            f"further apart, got {eps}; eight steps of a byte are '8/255'"
        )


def require_targeted(attack):
    """Raise unless an attack can be told which classes the images are to be taken for.

    Raises:
        ValueError: naming the attacks that can.
    """
    if not attack.targeted:
        others = ", ".join(name for name, kind in ATTACKS.items() if kind.targeted)
        raise ValueError(f"the {attack.name} attack takes no target; those that do: {others}")


def _require_backend(attack: Attack) -> None:
    backend = backend_name()
    if backend in attack.backends:
        return
    others = [name for name, kind in ATTACKS.items() if backend in kind.backends]
    instead = f"{', '.join(map(repr, others))}, or " if others else ""
    raise NotImplementedError(
        f"there is no {attack.name!r} attack for the {backend} backend; use {instead}"
        f"the backend {' or '.join(attack.backends)}"
    )


def _require_described(kind: type[Attack]) -> None:
    """Raise unless a class is a frozen dataclass with a run() and with usable parameters."""
    if not (isinstance(kind, type) and issubclass(kind, Attack)):
        raise TypeError(f"an attack must be a subclass of zoo.attacks.Attack, got {kind!r}")
    # A subclass of a dataclass counts as a dataclass, but without the decorator its own fields
    # would not be parameters.
    if "__dataclass_params__" not in vars(kind):
        raise TypeError(
            f"{kind.__name__} must be decorated with @dataclasses.dataclass(frozen=True)"
        )
    if kind.run is Attack.run:
        raise TypeError(f"{kind.__name__} must define run()")
    if not kind.norms or not set(kind.norms) <= set(NORMS):
        raise ValueError(f"norms of {kind.__name__} must be of {NORMS}, got {kind.norms!r}")
    for field in dataclasses.fields(kind):
        if field.default is dataclasses.MISSING:
            raise ValueError(f"parameter {field.name!r} of {kind.__name__} needs a default")
        if field.name in ARGUMENTS:
            raise ValueError(
                f"parameter {field.name!r} of {kind.__name__} has the name of an argument of "
                "zoo.attacks.attack; give it another name"
            )


def _with_parameters(kind: type[Attack]) -> str:
    """The docstring of an attack, followed by its parameters."""
    text = inspect.cleandoc(kind.__doc__ or "")
    described = [
        f"    {field.name}: {field.metadata.get('help', '')} (default: {field.default!r})"
        for field in dataclasses.fields(kind)
    ]
    return "\n".join([text, "", "Args:", *described]) if described else text


def _place(kind: type[Attack]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
