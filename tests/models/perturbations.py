"""Images just inside their radius, and whether one of them is flipped."""

import numpy as np


def sizes(change, norm):
    """The norm of each change, in float64."""
    change = np.asarray(change, "float64").reshape(len(change), -1)
    return np.abs(change).max(axis=1) if norm == "linf" else np.linalg.norm(change, axis=1)


def assert_unbroken(model, certificate, x, x_adv):
    """Returns how many images were tested, so that a test can tell that it tested something."""
    change = np.asarray(x_adv, "float64") - x
    covered = sizes(change, certificate.norm) < certificate.radius.astype("float64")
    flipped = np.argmax(model.logits(x_adv), axis=1) != certificate.prediction
    broken = np.flatnonzero(covered & flipped)
    assert not len(broken), (
        f"images {broken} are flipped inside radius {certificate.radius[broken]}"
    )
    return int(covered.sum())


def scaled(direction, radius, norm):
    """Directions as long as each image's own radius, a little less."""
    lengths = sizes(direction, norm).clip(1e-12)
    factors = radius.astype("float64") * (1 - 1e-6) / lengths
    return direction * factors.reshape(-1, *[1] * (direction.ndim - 1))


def perturbations(x, radius, norm, random):
    """Corners and faces of each image's ball, single pixels, and towards another image."""
    signs = random.choice([-1.0, 1.0], size=x.shape)
    directions = [
        signs,
        np.sign(0.5 - x),  # away from the nearest end of [0, 1]: nothing is clipped
        random.uniform(-1, 1, size=x.shape),
        signs * (random.uniform(size=x.shape) < 0.05),
        random.choice([-1.0, 1.0], size=(len(x), 1, 1, 1)) * np.ones_like(x),
        x[::-1].astype("float64") - x,
    ]
    for direction in directions:
        yield np.clip(x + scaled(direction, radius, norm), 0, 1).astype("float32")
