"""The function that runs any attack on images."""

import numbers

import numpy as np

from zoo.attacks.ball import project
from zoo.attacks.base import Attack
from zoo.attacks.registry import checked_attack, require_model
from zoo.epsilon import Epsilon
from zoo.utils import checks


def attack(
    model,
    x,
    y,
    attack: "str | Attack" = "pgd",
    *,
    eps,
    norm=None,
    batch_size=256,
    seed=0,
    first=0,
    verbose=0,
    **params,
):
    """Search near ``x`` for images that the model misclassifies.

    Args:
        model: a :class:`zoo.models.CertifiedModel`.
        x: images ``(n, height, width, channels)``, floats in [0, 1] or uint8.
        y: integer labels ``(n,)``; None attacks the model's own predictions.
        attack: name of the attack, a key of ``zoo.attacks.ATTACKS``; or a
            :class:`zoo.attacks.Attack`, such as ``zoo.attacks.PGD(steps=50)``.
        eps: budget in units of the [0, 1] image: a number, or a string such as ``"8/255"``.
        norm: ``"linf"`` or ``"l2"``; by default the first norm that the model certifies.
        batch_size: number of images that are attacked together.
        seed: non-negative integer, the seed of the attack's random numbers. The same seed gives the
            same images. The random numbers of a batch depend only on the seed and on the position
            of the batch in the set. The program's own random state does not change.
        first: index of ``x[0]`` in the set that ``x`` is a part of, a multiple of ``batch_size``.
            The part is then attacked exactly as it would be in an attack on the whole set.
        verbose: 1 shows a progress bar.
        params: parameters of the attack if it is given by name: see
            ``help(zoo.attacks.ATTACKS[attack])``.

    Returns:
        float32 array of the shape of ``x``, which lies exactly in the ball and in [0, 1].

    Raises:
        TypeError: if ``model`` is not a model of the zoo, the attack has no such parameter, or
            ``x`` or ``y`` is not an array of numbers.
        ValueError: naming the argument that is wrong; also if the model does not compute in
            float32.
        NotImplementedError: if the attack does not run on the backend.

    Example:

    >>> import numpy as np, zoo
    >>> model = zoo.models.LinfDistNet((8, 8, 1), 10, width=16, depth=2)
    >>> x = np.full((1, 8, 8, 1), 0.5, "float32")
    >>> x_adv = zoo.attacks.attack(model, x, None, "fgsm", eps="8/255")
    >>> bool(np.abs(x_adv - x).max() <= 8 / 255)
    True
    """
    # These modules import Keras, which must not be imported with zoo.attacks.
    from zoo.attacks.victim import victim
    from zoo.ops.precision import require_float32
    from zoo.utils.progress import track

    require_model(model)
    if norm is None and not model.certificates:
        raise ValueError(f"norm must be given, as a {type(model).__name__} certifies none")
    norm = model.certificates[0][0] if norm is None else norm
    chosen = checked_attack(attack, norm, params, model)
    batch_size = checks.positive_integer(batch_size, "batch_size")
    seed = checks.not_negative_integer(seed, "seed")
    first = checks.not_negative_integer(first, "first")
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
    found = []
    for start in track(range(0, len(x), batch_size), chosen.name, show=verbose):
        batch = slice(start, start + batch_size)
        random = np.random.default_rng([seed, (first + start) // batch_size])
        # The attack gets a copy, because it may work in place and we still need the original.
        x_adv = chosen.run(victim(model), x[batch].copy(), y[batch], eps, norm, random)
        found.append(_in_the_ball(chosen, x_adv, x[batch], eps, norm))
    return np.concatenate(found) if found else x


def _in_the_ball(attack, x_adv, x, eps, norm):
    x_adv = np.asarray(x_adv)
    if x_adv.shape != x.shape:
        raise ValueError(
            f"the {attack.name} attack must return images of shape {x.shape}, got {x_adv.shape}"
        )
    return project(x_adv, x, eps, norm)
