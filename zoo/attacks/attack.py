"""One call for every attack."""

import inspect

import numpy as np

from zoo import checks
from zoo.attacks.carlini_wagner import carlini_wagner
from zoo.attacks.gradient import fgsm, pgd, skip_pgd
from zoo.attacks.momentum import momentum
from zoo.attacks.second_order import second_order
from zoo.attacks.spsa import skip_spsa, spsa
from zoo.attacks.victim import victim
from zoo.epsilon import Epsilon
from zoo.progress import track

#: The attacks by name.
ATTACKS = {
    "fgsm": fgsm,
    "pgd": pgd,
    "momentum": momentum,
    "cw": carlini_wagner,
    "spsa": spsa,
    "second_order": second_order,
}
# Those that draw at random: how to draw what one batch takes.
_SKIPS = {"pgd": skip_pgd, "spsa": skip_spsa}


def attack(
    model,
    x,
    y,
    attack="pgd",
    *,
    eps,
    norm=None,
    batch_size=256,
    seed=0,
    first=0,
    verbose=0,
    **params,
):
    """Images near ``x`` that the model should get wrong.

    Args:
        model: a :class:`zoo.models.CertifiedModel`.
        x: images ``(n, height, width, channels)``, floats in [0, 1] or uint8.
        y: integer labels ``(n,)``; None attacks the model's own predictions.
        attack: a key of ``zoo.attacks.ATTACKS``.
        eps: budget in units of the [0, 1] image: a number, or a string such as ``"8/255"``.
        norm: ``"linf"`` or ``"l2"``; by default the first that the model certifies.
        batch_size: images at a time.
        seed: of whatever is random in the attack.
        first: place of ``x[0]`` in the set that ``x`` is a part of, a multiple of ``batch_size``:
            the part is attacked exactly as it is within the set, whatever becomes of the rest.
        verbose: 1 shows a progress bar.
        params: of the attack: see ``help(zoo.attacks.ATTACKS[attack])``.

    Returns:
        float32 array of the shape of ``x``: in the ball and in [0, 1], exactly.

    Raises:
        TypeError, ValueError: naming the argument that is wrong.
        NotImplementedError: where the backend has no such attack.

    Example:

    >>> import numpy as np, zoo
    >>> model = zoo.models.LinfDistNet((8, 8, 1), 10, width=16, depth=2)
    >>> x = np.full((1, 8, 8, 1), 0.5, "float32")
    >>> x_adv = zoo.attacks.attack(model, x, None, "fgsm", eps="8/255")
    >>> bool(np.abs(x_adv - x).max() <= 8 / 255)
    True
    """
    x = checks.images(x, model.image_shape)
    batch_size = checks.positive_integer(batch_size, "batch_size")
    eps = Epsilon(eps)
    norm = model.certificates[0][0] if norm is None and model.certificates else norm
    if norm not in ("linf", "l2"):
        raise ValueError(f"norm must be 'linf' or 'l2', got {norm!r}")
    if attack not in ATTACKS:
        raise ValueError(f"attack must be one of {', '.join(ATTACKS)}, got {attack!r}")
    _check_params(attack, params)
    if first % batch_size:
        raise ValueError(f"first must be a multiple of batch_size, {batch_size}, got {first!r}")
    if y is None:
        y = np.argmax(model.logits(x, batch_size=batch_size), axis=1)
    y = checks.labels(y, len(x), model.num_classes)
    random = np.random.default_rng(seed)
    if attack in _SKIPS:
        for _ in range(first // batch_size):
            _SKIPS[attack](random, (batch_size, *x.shape[1:]), norm, **params)
    found = []
    for i in track(range(0, len(x), batch_size), attack, show=verbose):
        chosen = slice(i, i + batch_size)
        found.append(
            ATTACKS[attack](victim(model), x[chosen], y[chosen], eps, norm, random=random, **params)
        )
    return np.concatenate(found) if found else x


def _check_params(attack, params):
    known = inspect.signature(ATTACKS[attack]).parameters.values()
    known = [p.name for p in known if p.kind is p.KEYWORD_ONLY and p.name != "random"]
    for name, value in params.items():
        if name not in known:
            raise TypeError(
                f"the {attack} attack has no parameter {name!r}; it has: {', '.join(known)}"
            )
        if name in ("steps", "restarts", "search_steps", "samples"):
            checks.positive_integer(value, name)
        elif name not in ("loss", "random_init", "confidence", "decay") and value is not None:
            checks.positive_number(value, name)
