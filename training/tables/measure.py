"""What can be measured of a trained network, by the names that ``training/papers`` uses."""

import functools
import inspect
import time

import numpy as np

import zoo
from zoo.attacks.victim import victim
from zoo.bounds.curvature import SmoothNetwork
from zoo.certificates.curvature import radii
from zoo.losses import JacobianL1
from zoo.models import CertifiedModel
from zoo.utils import checks

#: Function of a :class:`Subject` and the settings of the measurement, by its name.
QUANTITIES = {}


def quantity(function):
    """Register a function ``(subject, **settings)`` that returns what JSON can hold."""
    QUANTITIES[function.__name__] = function
    return function


class Subject:
    """A trained network with what it is measured on.

    Args:
        model: a :class:`zoo.models.CertifiedModel`.
        train, test: :class:`zoo.data.ImageSet`.
        history: records of the epochs, as ``history.json`` of a run has them; empty for a
            checkpoint.
    """

    def __init__(self, model, train, test, history=()):
        self.model, self.train, self.test = model, train, test
        self.history = list(history)
        self._certificate = functools.cache(self._certified)

    def first(self, count=None):
        """``(images in [0, 1], labels)`` of the first test images, by default of all."""
        images = self.test.take(len(self.test) if count is None else min(count, len(self.test)))
        return checks.images(images.images, images.images.shape[1:]), images.labels

    def certificate(self, images=None, norm=None, method="auto", of_network=False):
        """The certificate of the first test images, made once.

        Args:
            images: how many; by default all.
            norm, method: as for ``model.certify``.
            of_network: whether to take the bounds that any Keras network has, with ``norm``, in
                place of the model's own.
        """
        return self._certificate(images, norm, method, of_network)

    def _certified(self, images, norm, method, of_network):
        x, _ = self.first(images)
        if of_network:
            return zoo.certify(self.model.network, x, norm=norm, method=method)
        return self.model.certify(x, norm=norm, method=method)


class Rescaled(CertifiedModel):
    """A model with all logits multiplied by one number: the same classes, other gradients.

    Args:
        model: a :class:`zoo.models.CertifiedModel`.
        factor: positive.
    """

    def __init__(self, model, factor):
        super().__init__(model.image_shape, model.num_classes)
        self.model, self.factor = model, factor

    def call(self, inputs, training=False):
        return self.model(inputs, training=training) * self.factor


def measure(subject, measurements):
    """Measure a network.

    Args:
        subject: :class:`Subject`.
        measurements: dictionary from name to settings: ``quantity`` and its arguments.

    Returns:
        Dictionary from name to value, ready for JSON.
    """
    return {
        name: QUANTITIES[settings["quantity"]](subject, **arguments(settings))
        for name, settings in measurements.items()
    }


def check(settings):
    """Raise unless there is such a quantity, with these settings.

    Raises:
        ValueError: naming what is wrong.
    """
    if settings["quantity"] not in QUANTITIES:
        known = ", ".join(sorted(QUANTITIES))
        raise ValueError(f"there is no quantity {settings['quantity']!r}; there are: {known}")
    try:
        inspect.signature(QUANTITIES[settings["quantity"]]).bind(None, **arguments(settings))
    except TypeError as error:
        raise ValueError(f"{settings['quantity']}: {error}") from error


def arguments(settings):
    """The settings of a measurement without the name of its quantity."""
    return {key: value for key, value in settings.items() if key != "quantity"}


@quantity
def accuracy(subject, *, part="test"):
    """Fraction of all images of a part, ``"train"`` or ``"test"``, that are classified right."""
    if part not in ("train", "test"):
        raise ValueError(f'part must be "train" or "test", got {part!r}')
    images = subject.train if part == "train" else subject.test
    predicted = np.argmax(subject.model.logits(images.images), axis=1)
    return float((predicted == images.labels).mean())


@quantity
def attacked_accuracy(subject, *, attack, eps, norm="linf", images=None, rescaled=False, **params):
    """Fraction of the first images that an attack leaves right.

    Args:
        attack, eps, norm, params: as for ``model.attack``.
        images: how many are attacked; by default all.
        rescaled: whether to attack the same network with its logits rescaled to a mean gap of 1.
    """
    x, y = subject.first(images)
    model = subject.model
    if rescaled:
        gap = mean_gap(subject)
        model = Rescaled(model, 1.0 / gap if gap > 0 else 1.0)
    x_adv = model.attack(x, y, attack, eps=eps, norm=norm, **params)
    return float((np.argmax(model.logits(x_adv), axis=1) == y).mean())


@quantity
def certified_accuracy(subject, *, eps, images=None, norm=None, method="auto", of_network=False):
    """Dictionary from each budget in the list ``eps`` to the accuracy certified there."""
    certificate = subject.certificate(images, norm, method, of_network)
    _, y = subject.first(images)
    return {str(budget): certificate.accuracy(y, budget) for budget in eps}


@quantity
def mean_radius(subject, *, images=None, norm=None, method="auto", of_network=False):
    """Mean certified radius, of images that are classified wrong too."""
    radius = subject.certificate(images, norm, method, of_network).radius
    return float(np.mean(radius, dtype=np.float64))


@quantity
def median_radius(subject, *, images=None, norm=None, method="auto", of_network=False):
    """Median certified radius, of images that are classified wrong too."""
    return float(np.median(subject.certificate(images, norm, method, of_network).radius))


@quantity
def mean_gap(subject):
    """Mean gap between the largest two logits."""
    return float(np.mean(subject.certificate().margin, dtype=np.float64))


@quantity
def lipschitz(subject):
    """Product of the Lipschitz constants of all layers."""
    return float(np.prod(list(subject.model.lipschitz().values())))


@quantity
def setting(subject, *, name):
    """A setting of the model, such as ``penalty_weight``."""
    config = subject.model.get_config()
    if name not in config:
        raise ValueError(f"a {type(subject.model).__name__} has no setting {name!r}")
    return config[name]


@quantity
def history(subject, *, key):
    """What the history records under a key, an entry for each epoch."""
    if not all(key in epoch for epoch in subject.history):
        raise ValueError(f"the history has no {key!r}; does the recipe record it?")
    return [epoch[key] for epoch in subject.history]


@quantity
def input_gradients(subject, *, images=None):
    """Mean L1 norm of the logits' input gradients, in both forms of the penalty, as sums."""
    x, _ = subject.first(images)
    return {
        form: float(np.mean(JacobianL1(form)(subject.model.network, x)))
        for form in ("full", "summed")
    }


@quantity
def perturbation_norms(subject, *, attack, images=None, **params):
    """Norm of the smallest perturbation found: 0 where already wrong, None where none was found."""
    x, y = subject.first(images)
    model = subject.model
    x_adv = model.attack(x, y, attack, eps=float(np.sqrt(x[0].size)), norm="l2", **params)
    change = (x_adv.astype(np.float64) - x).reshape(len(x), -1)
    fooled, wrong = (victim(model).gap(inputs, y) <= 0 for inputs in (x_adv, x))
    norms = np.where(wrong, 0.0, np.linalg.norm(change, axis=1))
    return [float(norm) if hit else None for norm, hit in zip(norms, fooled | wrong, strict=True)]


@quantity
def curvature(subject, *, images, rho):
    """Curvature certificates against all classes, and against the runner-up alone.

    The latter proves nothing about the other classes; it is the protocol of the paper.

    Args:
        images: how many of the first test images.
        rho: L2 budget of the certified accuracies and of the attack problem.

    Returns:
        Dictionary. ``tight`` is the share of images where upper and lower bound of the distance
        meet, to a hundredth.
    """
    x, y = subject.first(images)
    model, rows = subject.model, np.arange(len(x))
    logits = model.logits(x)
    predicted = np.argmax(logits, axis=1)
    start = time.perf_counter()
    bounds = model.curvature()
    bounds_seconds = time.perf_counter() - start
    smooth = SmoothNetwork(model.network)
    smooth.prepare()
    start = time.perf_counter()
    found = radii(smooth, bounds, x.reshape(len(x), -1), predicted)
    seconds = time.perf_counter() - start

    # The other classes are in order, without the predicted one.
    rivals = np.argsort(logits, axis=1)[:, -2]
    column = rivals - (rivals > predicted)
    runner_up, every = found.radius[rows, column], found.radius.min(axis=1)
    _, attacked = model.worst_points(x, predicted, rho)

    def tight(radius, nearest):
        return float(((radius > 0) & (nearest <= 1.01 * radius)).mean())

    return {
        "mean": float(every.mean()),
        "mean runner-up": float(runner_up.mean()),
        "certified": float(((predicted == y) & (every > rho)).mean()),
        "certified runner-up": float(((predicted == y) & (runner_up > rho)).mean()),
        "tight": tight(every, found.nearest.min(axis=1)),
        "tight runner-up": tight(runner_up, found.nearest[rows, column]),
        "attack solved": float(attacked.mean()),
        "largest": float(bounds.upper.max()),
        "bounds seconds": round(bounds_seconds, 1),
        "milliseconds per image": round(1000 * seconds / len(x), 1),
    }
