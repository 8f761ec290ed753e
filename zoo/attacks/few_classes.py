"""What takes the place of the difference of logits ratio where there are too few classes."""

# The ratio's denominator has the third and the fourth largest logit.
_FEWEST = 4


def has_dlr(model):
    """Whether a model has enough classes for the difference of logits ratio."""
    return model.num_classes >= _FEWEST


def notes_on_dlr(attack, model):
    """Sentences for readers of the attack's results, if the model has too few classes."""
    if has_dlr(model):
        return []
    return [
        f"{attack.name}: the difference of logits ratio needs at least {_FEWEST} classes, the "
        f"model has {model.num_classes}; the difference of logits took its place"
    ]
