"""The nearest known flip of each image, beside the radius that bounds it from below."""

import dataclasses

import keras
import numpy as np
import pytest

import zoo
from zoo.attacks.ball import size
from zoo.errors import SoundnessError


@pytest.mark.integration
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_linear_network_has_known_distances(norm):
    keras.utils.set_random_seed(0)
    layers = [keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(3)]
    network = keras.Sequential(layers)
    x = np.random.default_rng(0).uniform(0.4, 0.6, size=(8, 4, 4, 1)).astype("float32")
    kernel, _ = network.get_weights()
    logits = np.asarray(network(x))
    y = np.argmax(logits, axis=1)
    expected = np.full(8, np.inf)
    for other in range(3):
        slope = kernel[:, y] - kernel[:, [other]]
        dual = np.abs(slope).sum(axis=0) if norm == "linf" else np.linalg.norm(slope, axis=0)
        lead = logits[np.arange(8), y] - logits[:, other]
        expected = np.where(y == other, expected, np.minimum(expected, lead / (dual + 1e-30)))
    inside = expected < (0.4 if norm == "linf" else 0.8)  # the box is in nobody's way
    assert inside.any()
    found = zoo.attacks.nearest(network, x, norm=norm)
    np.testing.assert_allclose(found[inside], expected[inside], rtol=0.01)
    assert (found >= expected * (1 - 1e-5)).all()
    certificate = zoo.certify(network, x, norm=norm, nearest=True)
    assert (certificate.nearest >= certificate.radius).all()


@pytest.mark.integration
@pytest.mark.parametrize("name", ["linf-dist-digits", "lc-lmt-digits", "crt-digits"])
def test_every_approach_has_an_interval(name, digits):
    model, x = zoo.load(name), digits.images[:12]
    certificate = model.certify(x, nearest=True)
    assert (certificate.nearest >= certificate.radius).all()
    assert np.isfinite(certificate.nearest).all()
    proved = certificate.radius > 0
    assert np.median(certificate.nearest[proved] / certificate.radius[proved]) < 1.5
    plain = model.certify(x)
    np.testing.assert_array_equal(plain.radius, certificate.radius)
    assert name == "crt-digits" or plain.nearest is None


@pytest.mark.integration
def test_the_attack_returns_what_it_found(digits_model, digits):
    x = digits.images[:12]
    y = np.argmax(digits_model.logits(x), axis=1)
    distances = zoo.attacks.nearest(digits_model, x, y, norm="linf")
    x_adv = digits_model.attack(x, y, "fmn", eps=1, norm="linf")
    flipped = np.argmax(digits_model.logits(x_adv), axis=1) != y
    assert flipped.all()
    found = size(x_adv.astype("float64") - x, "linf")
    assert (distances <= found).all()
    assert np.median(found / distances) < 1.01


def test_wrong_images_and_no_images(digits_model, digits):
    x, y = digits.images[:3], np.argmax(digits_model.logits(digits.images[:3]), axis=1)
    np.testing.assert_array_equal(
        zoo.attacks.nearest(digits_model, x, (y + 1) % 10, steps=1), np.zeros(3)
    )
    assert zoo.attacks.nearest(digits_model, x[:0]).shape == (0,)
    assert digits_model.certify(x[:0], nearest=True).nearest.shape == (0,)


def test_none_is_known_of_a_constant_model():
    layers = [keras.Input((3, 3, 1)), keras.layers.Flatten()]
    head = keras.layers.Dense(2, kernel_initializer="zeros")
    network = keras.Sequential([*layers, head])
    head.bias.assign([1.0, 0.0])
    x = np.full((2, 3, 3, 1), 0.5, "float32")
    for norm in ("linf", "l2"):
        assert (zoo.attacks.nearest(network, x, norm=norm, steps=5) == np.inf).all()
    report = zoo.evaluate(network, x, [0, 0], eps=0.1, attacks="fgsm", nearest=True)
    assert report.nearest_over_radius == np.inf
    assert report.to_dict()["nearest_over_radius"] is None
    report.to_json()


@pytest.mark.integration
def test_a_report_has_the_median(digits_model, digits):
    x, y = digits.images[:5], digits.labels[:5]
    options = {"eps": 0.2, "norm": "linf", "attacks": "pgd", "params": {"pgd": {"steps": 3}}}
    report = digits_model.evaluate_robustness(x, y, nearest=True, batch_size=2, **options)
    ratio = report.certificate.nearest / report.certificate.radius
    assert 1 <= report.nearest_over_radius < 1.2
    assert report.nearest_over_radius == pytest.approx(np.median(ratio), rel=0.01)
    assert "nearest known flip / radius, median: 1" in str(report)
    assert report.to_dict()["nearest_over_radius"] == report.nearest_over_radius
    plain = digits_model.evaluate_robustness(x, y, **options)
    assert plain.nearest_over_radius is None
    assert "nearest" not in str(plain)
    assert plain.rows == report.rows


def test_a_flip_within_a_radius_is_an_error(digits_model, digits):
    certificate = digits_model.certify(digits.images[:3])
    wrong = dataclasses.replace(certificate, radius=certificate.radius + np.float32([0, 0.1, 0]))
    distances = certificate.radius.astype("float64") + 0.05
    assert (certificate.with_nearest(distances).nearest >= distances).all()
    with pytest.raises(SoundnessError, match=r"distance .* from image 1 .*\(1 images in all\)"):
        wrong.with_nearest(distances)


def test_bad_arguments(digits_model):
    x = np.full((1, 8, 8, 1), 0.5)
    with pytest.raises(ValueError, match="nearest must be True or False, got 'yes'"):
        digits_model.certify(x, nearest="yes")
    with pytest.raises(ValueError, match="norm must be 'linf' or 'l2', got 'l1'"):
        zoo.attacks.nearest(digits_model, x, norm="l1")
    layers = [keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(3)]
    network = keras.Sequential(layers)
    with pytest.raises(ValueError, match=r"for inputs in \[0, 1\], that is valid_range="):
        zoo.certify(network, x[:, :4, :4], norm="linf", valid_range=None, nearest=True)
