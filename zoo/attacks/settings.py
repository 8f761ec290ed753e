"""Which attacks there are, and what each of them takes."""

import inspect
import math
import numbers

from zoo.attacks.carlini_wagner import carlini_wagner
from zoo.attacks.gradient import LOSSES, fgsm, pgd
from zoo.attacks.momentum import momentum
from zoo.attacks.second_order import second_order
from zoo.attacks.spsa import spsa
from zoo.attacks.victim import require_backend
from zoo.utils import checks

#: The attacks by name.
ATTACKS = {
    "fgsm": fgsm,
    "pgd": pgd,
    "momentum": momentum,
    "cw": carlini_wagner,
    "spsa": spsa,
    "second_order": second_order,
}
NORMS = ("linf", "l2")
# Attacks that are not for every norm.
_NORMS_OF = {"spsa": ("linf",), "second_order": ("l2",)}


def check_settings(attack, norm=None, params=None, *, model=None):
    """Raise unless an attack can be run with these settings; nothing is computed.

    :func:`zoo.attacks.attack` calls this first. Call it yourself to learn of a mistake before a
    long computation.

    Args:
        attack: name of the attack, to be a key of ``zoo.attacks.ATTACKS``.
        norm: ``"linf"`` or ``"l2"``; None leaves the norm unchecked.
        params: dictionary of the attack's own parameters; None stands for no parameters.
        model: the :class:`zoo.models.CertifiedModel` that is to be attacked; None leaves unchecked
            what depends on the model.

    Raises:
        TypeError: if ``model`` is not a model of the zoo, or the attack has no such parameter.
        ValueError: naming the argument that is wrong, and what it may be.
        NotImplementedError: if the backend has no such attack.

    Example:

    >>> import zoo
    >>> zoo.attacks.check_settings("pgd", "linf", {"steps": 3})
    >>> zoo.attacks.check_settings("pgd", "linf", {"steps": "3"})
    Traceback (most recent call last):
    ...
    ValueError: steps must be a positive integer, got '3'
    """
    if model is not None:
        require_model(model)
    if not isinstance(attack, str) or attack not in ATTACKS:
        raise ValueError(f"attack must be one of {', '.join(ATTACKS)}, got {attack!r}")
    if norm is not None:
        _check_norm(attack, norm)
    _check_params(attack, {} if params is None else params)
    if attack == "second_order" and model is not None and not hasattr(model, "worst_points"):
        raise ValueError(
            "the second_order attack needs a model with curvature bounds, a CurvatureNet; "
            f"{type(model).__name__} has none"
        )
    require_backend(attack)


def require_model(model):
    """Raise unless this is a model of the zoo.

    Raises:
        TypeError: saying what was expected and what came.
    """
    from zoo.models.base import CertifiedModel

    if not isinstance(model, CertifiedModel):
        raise TypeError(
            "attacks take a model of the zoo, a zoo.models.CertifiedModel, "
            f"got {type(model).__name__}"
        )


def _check_norm(attack, norm):
    if not isinstance(norm, str) or norm not in NORMS:
        raise ValueError(f"norm must be 'linf' or 'l2', got {norm!r}")
    if norm not in _NORMS_OF.get(attack, NORMS):
        (only,) = _NORMS_OF[attack]
        raise ValueError(f"the {attack} attack is for norm {only!r}, got {norm!r}")


def _check_params(attack, params):
    if not isinstance(params, dict):
        raise ValueError(f"params must be a dictionary of parameters, got {params!r}")
    known = inspect.signature(ATTACKS[attack]).parameters.values()
    defaults = {p.name: p.default for p in known if p.kind is p.KEYWORD_ONLY and p.name != "random"}
    for name, value in params.items():
        if name not in defaults:
            raise TypeError(
                f"the {attack} attack has no parameter {name!r}; it has: {', '.join(defaults)}"
            )
        # None stands for a default that follows from other settings.
        if value is not None or defaults[name] is not None:
            _CHECKS[name](value, name)


def _not_negative(value, name):
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 <= value < math.inf:
        raise ValueError(f"{name} must be a number that is not negative, got {value!r}")


def _even(value, name):
    if checks.positive_integer(value, name) % 2:
        raise ValueError(f"{name} must be a positive even number, got {value!r}")


def _true_or_false(value, name):
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, got {value!r}")


def _loss(value, name):
    if not isinstance(value, str) or value not in LOSSES:
        raise ValueError(f"{name} must be one of {LOSSES}, got {value!r}")


_CHECKS = {
    "steps": checks.positive_integer,
    "restarts": checks.positive_integer,
    "search_steps": checks.positive_integer,
    "samples": _even,
    "step_size": checks.positive_number,
    "learning_rate": checks.positive_number,
    "initial_constant": checks.positive_number,
    "delta": checks.positive_number,
    "confidence": _not_negative,
    "decay": _not_negative,
    "loss": _loss,
    "random_init": _true_or_false,
}
