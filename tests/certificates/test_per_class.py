"""Radii against each class: sound, exact where that is known, and the radius is their least."""

import dataclasses
import json

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from keras import ops

import zoo
from zoo.certificates import Certificate, lipschitz_radii, lipschitz_radius
from zoo.certificates.bisection import largest_per_class
from zoo.certificates.certificate import groups_of
from zoo.ops.gradients import input_gradient

SHAPE, CLASSES = (3, 3, 1), 4
SIZE = {"image_shape": SHAPE, "num_classes": CLASSES}


def network(activation):
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Flatten(),
            keras.layers.Dense(8, activation=activation),
            keras.layers.Dense(CLASSES),
        ]
    )


def linear():
    return keras.Sequential(
        [keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(CLASSES)]
    )


MODELS = {
    "lmt": lambda: zoo.models.LipschitzMarginNet(network("relu")),
    "l2nnn": lambda: zoo.models.L2NonexpansiveNet(SHAPE, CLASSES, network="dense", width=0.01),
    "linf-dist": lambda: zoo.models.LinfDistNet(SHAPE, CLASSES, width=12, depth=3, std=0.3),
    "linf-dist-mlp": lambda: zoo.models.LinfDistMLP(
        SHAPE, CLASSES, width=12, depth=2, hidden_units=8, std=0.05, gain=5.0
    ),
    "crt": lambda: zoo.models.CurvatureNet(network("softplus")),
    "generic": lambda: zoo.models.DoubleBackpropNet(network("relu")),
}
PAIRS = [
    *[("lmt", *pair) for pair in zoo.models.LipschitzMarginNet.certificates],
    *[("l2nnn", *pair) for pair in zoo.models.L2NonexpansiveNet.certificates],
    *[("linf-dist", *pair) for pair in zoo.models.LinfDistNet.certificates],
    *[("linf-dist-mlp", *pair) for pair in zoo.models.LinfDistMLP.certificates],
    *[("crt", *pair) for pair in zoo.models.CurvatureNet.certificates],
    *[("generic", n, m) for n, m in [("linf", "crown"), ("l2", "crown"), ("linf", "interval")]],
]


def images(count=6):
    return np.random.default_rng(0).uniform(size=(count, *SHAPE)).astype(np.float32)


def most_adverse(model, x, classes, targets, radii, norm, steps=12):
    """Images within the radii at which a target's logit comes closest to the class's own."""
    heads = ops.one_hot(targets, CLASSES) - ops.one_hot(classes, CLASSES)
    points, reach = x.copy(), radii[:, None, None, None]
    for _ in range(steps):
        slope = input_gradient(
            lambda images: heads * model(images, training=False), ops.convert_to_tensor(points)
        )
        slope = ops.convert_to_numpy(slope)
        if norm == "linf":
            change = points - x + reach / 4 * np.sign(slope)
            change = np.clip(change, -reach, reach)
        else:
            length = np.linalg.norm(slope.reshape(len(x), -1), axis=1)[:, None, None, None]
            change = points - x + reach / 2 * slope / np.maximum(length, 1e-12)
            length = np.linalg.norm(change.reshape(len(x), -1), axis=1)[:, None, None, None]
            change = change * np.minimum(1.0, reach / np.maximum(length, 1e-12))
        points = np.clip(x + change, 0, 1).astype(np.float32)
    return points


@pytest.mark.integration
@pytest.mark.parametrize(("name", "norm", "method"), PAIRS)
def test_no_attack_on_one_class_gets_within_its_radius(name, norm, method):
    model, x = MODELS[name](), images()
    certificate = model.certify(x, norm=norm, method=method, per_class=True)
    radii = certificate.per_class
    assert radii.dtype == np.float32
    np.testing.assert_array_equal(radii.min(axis=1), certificate.radius)
    np.testing.assert_array_equal(
        model.certify(x, norm=norm, method=method).radius, certificate.radius
    )
    own = certificate.prediction
    assert np.isposinf(radii[np.arange(len(x)), own]).all()
    others = np.isfinite(radii)
    assert others.sum() == len(x) * (CLASSES - 1)
    assert radii[others].mean() > 1.05 * certificate.radius.mean()
    rows, targets = np.nonzero(others)
    within = 0.9999 * radii[rows, targets].astype(np.float64)
    attacked = most_adverse(model, x[rows], own[rows], targets, within, norm)
    logits = model.logits(attacked)
    assert (logits[np.arange(len(rows)), targets] < logits.max(axis=1)).all()


@pytest.mark.integration
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_radii_of_a_linear_network_are_exact(norm):
    model = linear()
    x = np.full((3, *SHAPE), 0.5, np.float32)
    x += np.random.default_rng(1).uniform(-0.02, 0.02, x.shape).astype(np.float32)
    kernel = ops.convert_to_numpy(model.layers[-1].kernel).astype(np.float64)
    logits = x.reshape(3, -1) @ kernel
    own = logits.argmax(axis=1)
    differences = kernel[:, own].T[:, :, None] - kernel[None]
    order = 1 if norm == "linf" else 2
    expected = np.take_along_axis(logits, own[:, None], 1) - logits
    with np.errstate(invalid="ignore"):
        expected = expected / np.linalg.norm(differences, order, axis=1)
    found = [zoo.certify(model, x, norm=norm, per_class=True, valid_range=None)]
    if norm == "l2":
        found.append(zoo.models.LipschitzMarginNet(model).certify(x))
    for certificate in found:
        others = np.isfinite(certificate.per_class)
        ratio = certificate.per_class[others] / expected[others]
        assert (ratio <= 1).all()
        assert (ratio > 0.97).all()


@pytest.mark.integration
def test_a_softmax_is_left_off():
    model = linear()
    with_softmax = keras.Sequential([keras.Input(SHAPE), *model.layers, keras.layers.Softmax()])
    x = images(3)
    with pytest.warns(UserWarning, match="ends in a softmax"):
        certificate = zoo.certify(with_softmax, x, norm="l2", per_class=True)
    plain = zoo.certify(model, x, norm="l2", per_class=True)
    np.testing.assert_allclose(certificate.per_class, plain.per_class, rtol=0.02)
    assert plain.radius.max() > 0


def test_the_logits_alone_give_the_radii_too():
    model, x = MODELS["lmt"](), images()
    certificate = model.logit_certificate()
    radii = certificate.per_class(model.logits(x))
    exact = model.certify(x).per_class
    np.testing.assert_array_equal(radii.min(axis=1), certificate.radius(model.logits(x)))
    assert (radii <= exact).all()
    np.testing.assert_allclose(radii, exact, rtol=1e-3)


@given(
    logits=arrays("float64", (4, 5), elements=st.floats(-10, 10)),
    error=st.floats(0, 0.1),
)
def test_the_least_of_the_lipschitz_radii_is_the_radius(logits, error):
    radii = lipschitz_radii(logits, 1.7, error)
    np.testing.assert_array_equal(radii.min(axis=1), lipschitz_radius(logits, 1.7, error))


@given(
    zeros=arrays("float64", (3, 4), elements=st.floats(0.05, 0.9)),
    power=st.floats(0.5, 2),
)
def test_the_search_returns_what_it_proved(zeros, power):
    """Of margins that fall with the budget, not linearly, the zeros are found from below."""
    zeros[:, 0] = np.inf
    start = 0.9 * zeros.min(axis=1)

    def margins(eps):
        with np.errstate(invalid="ignore"):
            found = zeros**power - eps[:, None] ** power
        found[:, 0] = np.inf
        return found

    own = np.zeros(3, int)
    found = largest_per_class(margins, own, margins(np.zeros(3)), start, upper=1.0)
    np.testing.assert_array_equal(found.min(axis=1), start)
    nearest = found == start[:, None]
    assert (found[~nearest] <= zeros[~nearest]).all()
    others = ~nearest & np.isfinite(zeros)
    assert (found[others] > 0.8 * zeros[others]).all()


def test_nothing_is_said_where_nothing_is_certified():
    at_zero = np.array([[np.inf, 0.1, 0.0]])
    found = largest_per_class(
        lambda eps: np.full((1, 3), 1.0), np.zeros(1, int), at_zero, np.zeros(1), upper=1.0
    )
    assert found.tolist() == [[np.inf, 0, 0]]


@pytest.mark.parametrize("method", ["interval", "crown"])
def test_logits_that_overflow_prove_nothing_of_any_class(method):
    """Logits of (inf, -inf, 1) for the grey image, and (0, 0, 1) for the black one."""
    layers = [keras.layers.Flatten(), keras.layers.Dense(1), keras.layers.Dense(3)]
    model = keras.Sequential([keras.Input((1, 2, 1)), *layers])
    first, last = np.array([[1e30], [0.0]]), np.array([[1e30, -1e30, 0.0]])
    model.set_weights([first, np.zeros(1), last, np.array([0.0, 0.0, 1.0])])
    grey = np.full((1, 1, 2, 1), 0.5, "float32")
    certificate = zoo.certify(model, grey, norm="linf", method=method, per_class=True)
    assert certificate.prediction.tolist() == [0]
    assert certificate.per_class.tolist() == [[np.inf, 0.0, 0.0]]
    assert not certificate.never([1, 2], 0.6).any()


def test_a_certificate_without_a_search_says_so():
    class Own(zoo.models.CertifiedModel):
        certificates = (("l2", "own"),)

        def call(self, inputs, training=False):
            return ops.reshape(self._pixels(inputs), (-1, 9))[:, :CLASSES]

        def certified_radius(self, x, norm, method):
            logits = ops.convert_to_numpy(self(x))
            return zoo.certificates.CertifiedBatch(logits, np.zeros(len(x), np.float32))

    model, x = Own(SHAPE, CLASSES), images(2)
    with pytest.raises(ValueError, match="'l2', 'own' of a Own has no radius for each class"):
        model.certify(x, per_class=True)
    certificate = model.certify(x)
    for ask in (certificate.possible, lambda eps: certificate.never(1, eps)):
        with pytest.raises(ValueError, match=r"\(l2, own\) has no radius for each class"):
            ask(0.1)
    with pytest.raises(ValueError, match="has no radius for each class"):
        certificate.accuracy([0, 1], 0.1, groups=[[0, 1]])
    with pytest.raises(ValueError, match="per_class must be True or False"):
        model.certify(x, per_class="yes")


@pytest.fixture
def certificate():
    per_class = np.array(
        [[np.inf, 0.1, 0.3], [0.2, np.inf, 0.4], [0.5, 0.05, np.inf], [0, 0, np.inf]], "float32"
    )
    return Certificate(
        np.array([0, 1, 2, 2]),
        per_class.min(axis=1),
        per_class.min(axis=1),
        "l2",
        "pairwise",
        3,
        labels=np.array([0, 0, 2, 2]),
        per_class=per_class,
    )


def test_accuracy_within_groups(certificate):
    assert certificate.accuracy(eps=0.15) == 0
    assert certificate.accuracy(eps=0.15, groups=[[0, 1], [2]]) == 0.5
    assert certificate.accuracy(eps=0.15, groups={"low": [0, 1]}) == 0.5
    assert certificate.accuracy(eps=0.15, groups=[[1, 2]]) == 0.25
    assert certificate.accuracy(eps=9, groups=[[0, 1, 2]]) == 1
    # Groups of one class each are the classes themselves.
    for eps in (0, 0.04, 0.07, 0.15):
        assert certificate.accuracy(eps=eps, groups=[]) == certificate.accuracy(eps=eps)


def test_a_radius_equal_to_the_budget_does_not_exclude_a_class(certificate):
    assert certificate.never(2, 0.25).tolist() == [True, True, False, False]
    third = float(np.float32(0.3))
    assert not certificate.never(2, third)[0]
    assert certificate.never([0], 0.5).tolist() == [False, False, False, False]
    assert certificate.possible(0.15).tolist() == [
        [True, True, False],
        [False, True, False],
        [False, True, True],
        [True, True, True],
    ]


def test_wrong_groups_are_named(certificate):
    for groups, error, message in (
        ([[0, 3]], ValueError, "there is no class 3; classes are 0 to 2"),
        ([[0, 1], [1]], ValueError, "class 1 is in two groups"),
        ([0, 1], TypeError, "a group must be a list of the numbers of classes, got 0"),
        ([["stop"]], TypeError, "a group must be a list of the numbers of classes"),
    ):
        with pytest.raises(error, match=message):
            certificate.accuracy(eps=0.1, groups=groups)
    assert groups_of([[0, 0]], 2).tolist() == [0, 1]


def test_radii_stay_with_their_images(certificate, tmp_path):
    joined = Certificate.concatenate([certificate[:1], certificate[1:]])
    joined.save(tmp_path / "certificate.npz")
    again = Certificate.load(tmp_path / "certificate.npz")
    for found in (joined, again):
        np.testing.assert_array_equal(found.per_class, certificate.per_class)
    assert certificate[[2, 0]].per_class.tolist() == certificate.per_class[[2, 0]].tolist()
    as_json = json.loads(json.dumps(certificate.to_dict()))
    assert as_json["per_class"][3] == [0, 0, None]
    without = dataclasses.replace(certificate, per_class=None)
    with pytest.raises(ValueError, match="some of the certificates have per_class"):
        Certificate.concatenate([certificate, without])
    wrong = (certificate.per_class[:, :2], certificate.per_class[:3], certificate.per_class + 1)
    for per_class in wrong:
        dataclasses.replace(certificate, per_class=per_class).save(tmp_path / "wrong.npz")
        with pytest.raises(ValueError, match="holds no certificate"):
            Certificate.load(tmp_path / "wrong.npz")


def test_abstaining(certificate):
    assert certificate.abstain(0.15).tolist() == [True, False, True, True]
    eps, coverage, accuracy = certificate.coverage_curve()
    assert eps.tolist() == [0, *np.sort(certificate.radius)[1:-1].astype(float)]
    assert coverage.tolist() == [0.75, 0.5, 0.25]
    assert accuracy.tolist() == [2 / 3, 0.5, 0]
    for e, share, right in zip(eps, coverage, accuracy, strict=True):
        answered = certificate[~certificate.abstain(float(e))]
        assert len(answered) / len(certificate) == share
        assert answered.accuracy(eps=float(e)) == right
    none = certificate[:0].coverage_curve()
    assert [len(part) for part in none] == [0, 0, 0]


def test_a_certificate_of_some_budgets_has_no_coverage_curve(certificate):
    decided = dataclasses.replace(certificate, decided_at=("0.15",))
    for method in (decided.coverage_curve, decided.plot_coverage):
        with pytest.raises(ValueError, match="certify without eps"):
            method()


def test_the_plot_of_the_coverage(certificate):
    from matplotlib.figure import Figure

    ax = certificate.plot_coverage(ax=Figure().add_subplot())
    assert ax.get_title() == "Coverage (L2, pairwise), n = 4"
    assert list(ax.get_lines()[0].get_xdata()) == [75, 50, 25]
    certificate[:0].plot_coverage(ax=Figure().add_subplot())
