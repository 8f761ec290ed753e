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
    """Directions as long as each image's own radius, less by what float32 may round a pixel."""
    lengths = sizes(direction, norm).clip(1e-12)
    factors = (radius.astype("float64") * (1 - 1e-6) - 1e-7).clip(0) / lengths
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


def assert_attacks_do_not_break(model, x, norm=None):
    """FGSM and PGD with three budgets among the radii; returns the certificate."""
    certificate = model.certify(x, norm=norm)
    tested = 0
    for eps in np.quantile(certificate.radius, [0.25, 0.5, 0.75]):
        for attack, params in (("fgsm", {}), ("pgd", {"steps": 10, "loss": "margin"})):
            x_adv = model.attack(
                x, certificate.prediction, attack, eps=float(eps), norm=certificate.norm, **params
            )
            tested += assert_unbroken(model, certificate, x, x_adv)
    assert tested > 2 * len(x)
    return certificate


def assert_radii_are_tested(models, norm):
    """That some radii are positive, and that the perturbations within them change no class.

    Args:
        models: iterable of models, each of which is used before the next one is made.
        norm: ``"linf"`` or ``"l2"``.
    """
    tested, radii, random = 0, [], np.random.default_rng(0)
    for model in models:
        x = random.uniform(size=(20, *model.image_shape)).astype("float32")
        certificate = model.certify(x)
        radii.append(certificate.radius)
        for x_adv in perturbations(x, certificate.radius, norm, random):
            tested += assert_unbroken(model, certificate, x, x_adv)
    assert np.mean(np.concatenate(radii) > 1e-6) > 0.2
    assert tested > 100
