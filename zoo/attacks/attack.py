"""One call for every attack."""

import numbers

import numpy as np

from zoo.attacks.gradient import skip_pgd
from zoo.attacks.settings import ATTACKS, check_settings, require_model
from zoo.attacks.spsa import skip_spsa
from zoo.attacks.victim import victim
from zoo.epsilon import Epsilon
from zoo.ops.precision import require_float32
from zoo.utils import checks
from zoo.utils.progress import track

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
        seed: integer, not negative, of whatever is random in the attack. The same seed gives the
            same images. The program's own random state is left as it is.
        first: place of ``x[0]`` in the set that ``x`` is a part of, a multiple of ``batch_size``:
            the part is attacked exactly as it is within the set, whatever becomes of the rest.
        verbose: 1 shows a progress bar.
        params: of the attack: see ``help(zoo.attacks.ATTACKS[attack])``.

    Returns:
        float32 array of the shape of ``x``: in the ball and in [0, 1], exactly.

    Raises:
        TypeError: if ``model`` is not a model of the zoo, the attack has no such parameter, or
            ``x`` or ``y`` is no array of numbers.
        ValueError: naming the argument that is wrong, and for a model that computes in another
            type than float32.
        NotImplementedError: where the backend has no such attack.

    Example:

    >>> import numpy as np, zoo
    >>> model = zoo.models.LinfDistNet((8, 8, 1), 10, width=16, depth=2)
    >>> x = np.full((1, 8, 8, 1), 0.5, "float32")
    >>> x_adv = zoo.attacks.attack(model, x, None, "fgsm", eps="8/255")
    >>> bool(np.abs(x_adv - x).max() <= 8 / 255)
    True
    """
    require_model(model)
    if norm is None and not model.certificates:
        raise ValueError(f"norm must be given, as a {type(model).__name__} certifies none")
    norm = model.certificates[0][0] if norm is None else norm
    check_settings(attack, norm, params, model=model)
    batch_size = checks.positive_integer(batch_size, "batch_size")
    seed, first = _not_negative(seed, "seed"), _not_negative(first, "first")
    if first % batch_size:
        raise ValueError(f"first must be a multiple of batch_size, {batch_size}, got {first!r}")
    if not isinstance(verbose, numbers.Integral):
        raise ValueError(f"verbose must be 0 or 1, got {verbose!r}")
    eps = Epsilon(eps)
    require_float32(model)
    x = checks.images(x, model.image_shape)
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


def _not_negative(value, name):
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 0:
        raise ValueError(f"{name} must be an integer that is not negative, got {value!r}")
    return int(value)
