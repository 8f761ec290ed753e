"""The function that runs any attack on images."""

import warnings
from typing import Any

import numpy as np

from zoo.attacks.ball import project
from zoo.attacks.base import Attack
from zoo.attacks.registry import checked_attack, norm_for, require_budget, require_targeted
from zoo.epsilon import Epsilon
from zoo.typing import Array, ArrayLike, Budget, NormLike
from zoo.utils import checks, inputs


def attack(
    model: Any,
    x: ArrayLike,
    y: ArrayLike | None = None,
    attack: "str | Attack" = "pgd",
    *,
    eps: Budget,
    norm: NormLike | None = None,
    target: ArrayLike | None = None,
    where: ArrayLike | None = None,
    batch_size: int = 256,
    seed: int = 0,
    first: int = 0,
    verbose: int = 0,
    **params: Any,
) -> Array:
    """Search near ``x`` for images that the model misclassifies.

    Args:
        model: a :class:`zoo.models.CertifiedModel`; or another Keras model that takes images in
            [0, 1] to logits or probabilities: a ``keras.Sequential``, a functional model, or one of
            your own class that can be called with images. A last softmax or sigmoid is left out.
            If a model returns probabilities in another way, their logarithms are used as logits.
        x: images as :meth:`zoo.models.CertifiedModel.certify` takes them: an array, or a data set,
            which may give the labels too. Models of the zoo take uint8 as well; for another Keras
            model, images must be floats in [0, 1].
        y: labels ``(n,)`` or ``(n, 1)``, or one-hot rows ``(n, classes)``. None takes those that
            ``x`` gives, and if it gives none, attacks the model's own predictions.
        attack: name of the attack, a key of ``zoo.attacks.ATTACKS``; or a
            :class:`zoo.attacks.Attack`, such as ``zoo.attacks.PGD(steps=50)``.
        eps: budget in units of the [0, 1] image: a number, or a string such as ``"8/255"``. At most
            1 for ``"linf"``, and ``√(height · width · channels)`` for ``"l2"``.
        norm: ``"linf"`` or ``"l2"`` (``np.inf``, ``2`` and any case too); by default the
            first that the model certifies.
        target: the class that the model should take the images for: an integer, or one per image,
            ``(n,)``. An image whose label is the target is returned unchanged. None: any class but
            the label.
        where: bool array ``(n,)``: the images to attack. The others are returned unchanged. None
            attacks all. The random numbers of an image depend on which other images of its batch
            are attacked.
        batch_size: images at a time.
        seed: integer, not negative, which determines all random numbers of the attack. The same
            seed gives the same images. The random numbers of a batch depend on the seed and on the
            batch's place in the set alone. The program's own random state is not changed.
        first: index of ``x[0]`` in the whole set, if ``x`` is a part of one; a multiple of
            ``batch_size``. The part then gets the same random numbers as when the whole set is
            attacked.
        verbose: 1 shows a progress bar.
        params: parameters of the attack that is named: see ``help(zoo.attacks.ATTACKS[attack])``.
            Those of cleverhans' attacks may have the names that they have there, such as
            ``nb_iter`` for ``steps``.

    Returns:
        float32 array ``(n, height, width, channels)``, which lies exactly in the ball and in
        [0, 1].

    Raises:
        TypeError: if ``model`` is no Keras model, the attack has no such parameter, or
            ``x`` or ``y`` is no array of numbers.
        ValueError: naming the argument that is wrong, and for a model that computes in another
            type than float32.
        NotImplementedError: where the backend has no such attack.

    Examples:
        >>> import numpy as np, zoo
        >>> model = zoo.models.LinfDistNet((8, 8, 1), 10, width=16, depth=2)
        >>> x = np.full((1, 8, 8, 1), 0.5, "float32")
        >>> x_adv = zoo.attacks.attack(model, x, None, "fgsm", eps="8/255")
        >>> bool(np.abs(x_adv - x).max() <= 8 / 255)
        True
    """
    # These modules import Keras, which must not be imported with zoo.attacks.
    from zoo.attacks.victim import victim
    from zoo.models.any_classifier import as_classifier
    from zoo.ops.precision import require_float32
    from zoo.utils.progress import track

    x, y = inputs.read(x, y)
    model = as_classifier(model, x)
    norm = norm_for(model, norm)
    chosen = checked_attack(attack, norm, params, model)
    batch_size = checks.positive_integer(batch_size, "batch_size")
    seed = checks.not_negative_integer(seed, "seed")
    first = checks.not_negative_integer(first, "first")
    if first % batch_size:
        raise ValueError(f"first must be a multiple of batch_size, {batch_size}, got {first!r}")
    eps = Epsilon(eps)
    require_budget(eps, norm, model.image_shape)
    require_float32(model)
    x = checks.images(x, model.image_shape)
    if target is not None:
        require_targeted(chosen)
        target = np.full(len(x), target) if np.ndim(target) == 0 else target
        target = checks.labels(target, len(x), model.num_classes, "target")
    for note in chosen.notes(model):
        warnings.warn(note, UserWarning, stacklevel=2)
    if y is None:
        y = np.argmax(model.logits(x, batch_size=batch_size), axis=1)
    y = checks.labels(y, len(x), model.num_classes)
    where = np.ones(len(x), bool) if where is None else checks.mask(where, len(x), "where")
    found = x.copy()
    for start in track(range(0, len(x), batch_size), chosen.name, show=verbose):
        rows = start + np.flatnonzero(where[start : start + batch_size])
        if not len(rows):
            continue
        images, labels = x[rows], y[rows]
        random = np.random.default_rng([seed, (first + start) // batch_size])
        # A copy, because the attack may work in place, and the ball is around the image itself.
        run: Any = chosen.run  # which takes a target if the attack says so
        given = (victim(model), images.copy(), labels, eps, norm, random)
        x_adv = run(*given) if target is None else run(*given, target[rows])
        x_adv = _in_the_ball(chosen, x_adv, images, eps, norm)
        if target is not None:
            x_adv[target[rows] == labels] = images[target[rows] == labels]
        found[rows] = x_adv
    return found


def _in_the_ball(attack, x_adv, x, eps, norm):
    x_adv = np.asarray(x_adv)
    if x_adv.shape != x.shape:
        raise ValueError(
            f"the {attack.name} attack must return images of shape {x.shape}, got {x_adv.shape}"
        )
    return project(x_adv, x, eps, norm)
