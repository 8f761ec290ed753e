"""The quantities that can be measured of a trained network; ``training/papers`` names them."""

import functools
import inspect
import time

import numpy as np

import zoo
from training.tables import manifest
from zoo.attacks.victim import victim
from zoo.bounds.smooth_network import SmoothNetwork
from zoo.certificates.curvature import radii
from zoo.losses import JacobianL1
from zoo.models import CertifiedModel
from zoo.utils import checks

#: The quantities by name: functions of a :class:`Subject` and the settings of the measurement.
QUANTITIES = {}


def quantity(function):
    """Register a function ``(subject, **settings)`` that returns a value of JSON's types."""
    QUANTITIES[function.__name__] = function
    return function


class Subject:
    """A trained network with the images on which it is measured.

    Args:
        model: a :class:`zoo.models.CertifiedModel`.
        train, test: training and test images, each a :class:`zoo.data.ImageSet`.
        history: records of the epochs from the ``history.json`` of the run; empty for a checkpoint.
    """

    def __init__(self, model, train, test, history=()):
        self.model, self.train, self.test = model, train, test
        self.history = list(history)
        self._certificate = functools.cache(self._certified)

    def first(self, count=None):
        """The first ``count`` test images in [0, 1] and their labels; by default, all of them."""
        images = self.test.take(len(self.test) if count is None else min(count, len(self.test)))
        return checks.images(images.images, images.images.shape[1:]), images.labels

    def certificate(self, images=None, norm=None, method="auto", of_network=False):
        """The certificate of the first test images, which is computed once and cached.

        Args:
            images: number of test images; by default all.
            norm, method: as for ``model.certify``.
            of_network: whether to use the bounds of :func:`zoo.certify`, which apply to any Keras
                network, instead of the model's own; they need a ``norm``.
        """
        return self._certificate(images, norm, method, of_network)

    def _certified(self, images, norm, method, of_network):
        x, _ = self.first(images)
        if of_network:
            return zoo.certify(self.model.network, x, norm=norm, method=method)
        return self.model.certify(x, norm=norm, method=method)


class Rescaled(CertifiedModel):
    """A model whose logits are multiplied by a number: equal predictions, other gradients.

    Args:
        model: a :class:`zoo.models.CertifiedModel`.
        factor: positive number by which the logits are multiplied.
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
        measurements: dictionary from the name of each measurement to its settings: ``quantity``,
            a key of :data:`QUANTITIES`, and the arguments of that function.

    Returns:
        Dictionary from the name of each measurement to its value, ready for JSON.
    """
    return {
        name: QUANTITIES[settings["quantity"]](subject, **arguments(settings))
        for name, settings in measurements.items()
    }


def check(settings):
    """Raise unless there is such a quantity, and it accepts these settings.

    Args:
        settings: settings of one measurement, as for :func:`measure`.

    Raises:
        ValueError: naming the quantity or the argument that is wrong.
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
    """Fraction of correctly classified images of a part, which is ``"train"`` or ``"test"``."""
    if part not in ("train", "test"):
        raise ValueError(f'part must be "train" or "test", got {part!r}')
    images = subject.train if part == "train" else subject.test
    predicted = np.argmax(subject.model.logits(images.images), axis=1)
    return float((predicted == images.labels).mean())


@quantity
def attacked_accuracy(
    subject,
    *,
    attack,
    eps,
    norm="linf",
    images=None,
    rescaled=False,
    spare_certified=False,
    **params,
):
    """Fraction of the first test images that are classified correctly under an attack.

    Args:
        attack, norm, params: as for ``model.attack``.
        eps: budget, or a list of budgets, which gives a dictionary of accuracies by budget.
        images: number of test images to attack; by default all.
        rescaled: whether to attack the network with its logits rescaled to a mean gap of 1.
        spare_certified: whether to leave out images that are certified, which no attack can change.
    """
    if isinstance(eps, list):
        options = {"norm": norm, "images": images, "rescaled": rescaled, **params}
        options["spare_certified"] = spare_certified
        return {
            str(budget): attacked_accuracy(subject, attack=attack, eps=budget, **options)
            for budget in eps
        }
    x, y = subject.first(images)
    spared = 0.0
    if spare_certified:
        certificate = subject.certificate(images, norm)
        robust = certificate.certified(eps) & (certificate.prediction == y)
        spared = float(robust.mean())
        x, y = x[~robust], y[~robust]
        if not len(x):
            return spared
    model = subject.model
    if rescaled:
        gap = mean_gap(subject)
        model = Rescaled(model, 1.0 / gap if gap > 0 else 1.0)
    x_adv = model.attack(x, y, attack, eps=eps, norm=norm, **params)
    withstood = float((np.argmax(model.logits(x_adv), axis=1) == y).mean())
    return spared + (1.0 - spared) * withstood


@quantity
def certified_accuracy(subject, *, eps, images=None, norm=None, method="auto", of_network=False):
    """Dictionary from each budget in the list ``eps`` to the certified accuracy."""
    certificate = subject.certificate(images, norm, method, of_network)
    _, y = subject.first(images)
    return {str(budget): certificate.accuracy(y, budget) for budget in eps}


@quantity
def mean_radius(subject, *, images=None, norm=None, method="auto", of_network=False):
    """Mean certified radius of the first test images, including misclassified ones."""
    radius = subject.certificate(images, norm, method, of_network).radius
    return float(np.mean(radius, dtype=np.float64))


@quantity
def median_radius(subject, *, images=None, norm=None, method="auto", of_network=False):
    """Median certified radius of the first test images, including misclassified ones."""
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
def multiply_adds(subject):
    """Millions of multiply-adds per image of an ℓ∞-distance network."""
    model = subject.model
    return manifest.multiply_adds({"class": type(model).__name__, **model.get_config()})


@quantity
def setting(subject, *, name):
    """A setting of the model, such as ``penalty_weight``."""
    config = subject.model.get_config()
    if name not in config:
        raise ValueError(f"a {type(subject.model).__name__} has no setting {name!r}")
    return config[name]


@quantity
def history(subject, *, key):
    """The values that the history records under a key, one for each epoch."""
    if not all(key in epoch for epoch in subject.history):
        raise ValueError(f"the history has no {key!r}; does the recipe record it?")
    return [epoch[key] for epoch in subject.history]


@quantity
def input_gradients(subject, *, images=None):
    """Mean L1 norm of the logits' input gradients, for both forms of the penalty.

    The norm is the sum over the entries of the gradients, not their mean.
    """
    x, _ = subject.first(images)
    return {
        form: float(np.mean(JacobianL1(form)(subject.model.network, x)))
        for form in ("full", "summed")
    }


@quantity
def perturbation_norms(subject, *, attack, images=None, **params):
    """L2 norms of the smallest perturbations that the attack finds.

    Returns:
        List with a number for each image: 0 if the image itself is misclassified, None if the
        attack found no perturbation.
    """
    x, y = subject.first(images)
    model = subject.model
    x_adv = model.attack(x, y, attack, eps=float(np.sqrt(x[0].size)), norm="l2", **params)
    change = (x_adv.astype(np.float64) - x).reshape(len(x), -1)
    fooled, wrong = (victim(model).gap(inputs, y) <= 0 for inputs in (x_adv, x))
    norms = np.where(wrong, 0.0, np.linalg.norm(change, axis=1))
    return [float(norm) if hit else None for norm, hit in zip(norms, fooled | wrong, strict=True)]


@quantity
def curvature(subject, *, images, rho):
    """Curvature certificates against all classes, and against the runner-up only.

    The paper certifies against the runner-up only, which proves nothing about the other classes.

    Args:
        images: number of test images.
        rho: L2 budget of the certified accuracies and of the attack problem.

    Returns:
        Dictionary. ``tight`` is the fraction of images for which the upper bound of the distance to
        the decision boundary is at most 1% above the lower one.
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

    # The columns of found.radius are the classes in order, without the predicted class.
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
