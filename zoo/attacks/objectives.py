"""Objectives that attacks maximise: functions of labels and logits, for both backends."""


def cross_entropy(labels, logits):
    """Cross-entropy of the softmax; its gradient vanishes if the logits are far apart.

    Args:
        labels: integer tensor ``(n,)``.
        logits: tensor ``(n, classes)``.

    Returns:
        Tensor ``(n,)``.
    """
    from keras import ops

    return ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)


def margin(labels, logits):
    """The largest other logit minus the label's logit; positive if the image is misclassified.

    Args:
        labels: integer tensor ``(n,)``.
        logits: tensor ``(n, classes)``.

    Returns:
        Tensor ``(n,)``.
    """
    from keras import ops

    from zoo.ops.float32 import LARGEST

    # Infinite logits of other classes are selected or not, since 0 · ∞ is not a number.
    own = ops.one_hot(labels, logits.shape[-1], dtype="bool")
    others = ops.max(ops.where(own, -LARGEST, logits), axis=-1)
    return others - ops.sum(ops.where(own, logits, 0.0), axis=-1)


def dlr(labels, logits):
    """Difference of logits ratio: the margin over the first logit's lead over the third.

    It does not change when all logits are multiplied by a number, so no gradient vanishes.

    Args:
        labels: integer tensor ``(n,)``.
        logits: tensor ``(n, classes)`` of at least three classes.

    Returns:
        Tensor ``(n,)``, positive where the label is not predicted.

    Reference:
        Croce, Hein: Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse
        Parameter-free Attacks, ICML 2020, equation 6.
    """
    from keras import ops

    first, _, third = (ops.top_k(logits, 3)[0][:, i] for i in range(3))
    return margin(labels, logits) / (first - third + 1e-12)


def difference(labels, targets, logits):
    """The target's logit minus the label's.

    Args:
        labels, targets: integer tensors ``(n,)``.
        logits: tensor ``(n, classes)``.

    Returns:
        Tensor ``(n,)``.
    """
    from keras import ops

    own, other = (ops.one_hot(each, logits.shape[-1], dtype="bool") for each in (labels, targets))
    return ops.sum(ops.where(other, logits, 0.0) - ops.where(own, logits, 0.0), axis=-1)


def targeted_dlr(labels, targets, logits):
    """The target's lead over the label, scaled as :func:`dlr` is.

    Args:
        labels, targets: integer tensors ``(n,)``.
        logits: tensor ``(n, classes)`` of at least four classes.

    Returns:
        Tensor ``(n,)``.

    Reference:
        As for :func:`dlr`, equation 7.
    """
    from keras import ops

    first, _, third, fourth = (ops.top_k(logits, 4)[0][:, i] for i in range(4))
    scale = first - (third + fourth) / 2.0 + 1e-12
    return difference(labels, targets, logits) / scale


def towards_by_cross_entropy(labels, targets, logits):
    """The cross-entropy of the target, negated: largest where the target is predicted."""
    del labels  # for the common signature
    return -cross_entropy(targets, logits)


def towards_by_margin(labels, targets, logits):
    """The target's logit minus the largest other one."""
    del labels  # for the common signature
    return -margin(targets, logits)


#: The objectives by name, as attacks take them for their parameter ``loss``.
OBJECTIVES = {"margin": margin, "cross_entropy": cross_entropy}
