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

    own = ops.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    return ops.max(logits - own * 1e9, axis=-1) - ops.sum(own * logits, axis=-1)


#: The objectives by name: the values of the parameter ``loss`` of attacks.
OBJECTIVES = {"margin": margin, "cross_entropy": cross_entropy}
