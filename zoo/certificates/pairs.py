"""Which norms and methods the models of each class certify.

The command line reads this table to check ``--norm`` and ``--method`` at once: nothing here imports
Keras, which takes seconds. The classes take their ``certificates`` from it.
"""

from collections.abc import Sequence

from zoo.typing import Norm

#: Methods for ordinary Keras models. ``"crown"``: linear relaxation, both of the logits and for the
#: bounds of the hidden layers; the tightest. ``"crown-interval"``: linear relaxation of the logits,
#: with interval bounds of the hidden layers. ``"interval"``: interval bounds alone; the cheapest.
METHODS = ("crown", "crown-interval", "interval")
#: The method for small networks of ReLUs, in ℓ∞: a mixed-integer program, which finds the largest
#: radius that there is, within one per cent. It may take seconds or hours for an image.
EXACT = "exact"

#: The (norm, method) pairs by name of the class, the default first. Of a class whose pairs depend
#: on the network, such as ``DoubleBackpropNet``, these are all that there can be.
PAIRS: dict[str, tuple[tuple[Norm, str], ...]] = {
    # curvature: the smallest, over all other classes, of the dual lower bound of the distance to
    # the decision boundary. curvature-local: the same with curvature bounds that hold in balls
    # around the image; its radii are never smaller, and it is far slower.
    "CurvatureNet": (("l2", "curvature"), ("l2", "curvature-local")),
    "DoubleBackpropNet": (
        *(("linf", method) for method in METHODS),
        ("linf", EXACT),
        *(("l2", method) for method in METHODS),
    ),
    "L2NonexpansiveNet": (("l2", "pairwise"),),
    "LinfDistMLP": (("linf", "interval"), ("linf", "lipschitz")),
    "LinfDistNet": (("linf", "interval"), ("linf", "lipschitz")),
    "LipschitzMarginNet": (("l2", "pairwise"),),
}


def choose(
    pairs: Sequence[tuple[Norm, str]], norm: str | None, method: str, name: str
) -> tuple[Norm, str]:
    """The first pair that fits a norm and a method.

    Args:
        pairs: (norm, method) pairs, the default first.
        norm: ``"linf"`` or ``"l2"``; None fits every pair.
        method: name of a method; ``"auto"`` fits every pair.
        name: name of the model's class, for the message.

    Raises:
        ValueError: if no pair fits, naming those that there are.

    Examples:
        >>> from zoo.certificates.pairs import PAIRS, choose
        >>> choose(PAIRS["LinfDistNet"], "linf", "auto", "LinfDistNet")
        ('linf', 'interval')
    """
    for pair in pairs:
        if norm in (pair[0], None) and method in (pair[1], "auto"):
            return pair
    known = ", ".join(map(str, pairs)) or "none"
    asked = [] if norm is None else [f"norm={norm!r}"]
    asked += [] if method == "auto" else [f"method={method!r}"]
    raise ValueError(
        f"{name} has no certificate{' for ' if asked else ''}{', '.join(asked)}; "
        f"it has (norm, method): {known}"
    )
