"""Bad input: one clear error that names the argument, what was expected and what came."""

import numpy as np
import pytest

BAD_IMAGES = [
    (np.zeros((3, 4, 4)), ValueError, r"x must have shape \(n, 4, 4, 1\), got \(3, 4, 4\)"),
    (np.zeros((4, 4, 1)), ValueError, r"for a single image pass x\[None\]"),
    (np.zeros((3, 5, 4, 1)), ValueError, r"got \(3, 5, 4, 1\)"),
    (np.full((3, 4, 4, 1), 255.0), ValueError, r"\[0, 1\], but ranges over \[255, 255\]; divide"),
    (np.full((3, 4, 4, 1), -0.1), ValueError, r"must lie in \[0, 1\]"),
    (np.full((3, 4, 4, 1), np.nan), ValueError, "NaN"),
    (np.full((3, 4, 4, 1), np.inf), ValueError, "infinite"),
    (np.zeros((3, 4, 4, 1), int), ValueError, "floats in .* or uint8, got dtype int64"),
    (np.zeros((3, 4, 4, 1), bool), ValueError, "got dtype bool"),
    ("an image", TypeError, "x must be a numeric array, got str"),
    (None, TypeError, "x must be a numeric array, got NoneType"),
    ([[1], [1, 2]], TypeError, "x must be an array, got list"),
]
BAD_LABELS = [
    (np.zeros(2, int), ValueError, r"y must have shape \(3,\).*got \(2,\)"),
    (np.zeros((3, 2), int), ValueError, r"got \(3, 2\)"),
    (np.full((3, 3), 1 / 3), ValueError, "rows that are not one-hot"),
    (np.ones((3, 3)), ValueError, "rows that are not one-hot"),
    (np.array([0, 1, 3]), ValueError, r"y must lie in 0\.\.2, but ranges over \[0, 3\]"),
    (np.array([7, 7, 7]), ValueError, r"y must lie in 0\.\.2, got 7"),
    (np.array([-1, 0, 1]), ValueError, r"ranges over \[-1, 1\]"),
    (np.array([0.0, 1.5, 2.0]), ValueError, "integer labels, got dtype float64"),
    (["a", "b", "c"], TypeError, "y must be a numeric array"),
]
OPTIONS = [
    ({"batch_size": -1}, ValueError, "batch_size must be a positive integer, got -1"),
    ({"batch_size": 0}, ValueError, "batch_size must be a positive integer, got 0"),
    ({"batch_size": 2.5}, ValueError, "batch_size must be a positive integer, got 2.5"),
    ({"norm": "l1"}, ValueError, "norm must be 'linf' or 'l2', got 'l1'"),
    ({"norm": "l2"}, ValueError, "norm='l2'"),
    ({"method": "magic"}, ValueError, "method='magic'"),
]


@pytest.mark.parametrize(("x", "error", "message"), BAD_IMAGES)
def test_images(small_model, x, error, message):
    with pytest.raises(error, match=message):
        small_model.certify(x)
    with pytest.raises(error, match=message):
        small_model.attack(x, np.zeros(3, int), eps=0.1)
    with pytest.raises(error, match=message):
        small_model.evaluate_robustness(x, np.zeros(3, int), eps=0.1)


@pytest.mark.parametrize(("y", "error", "message"), BAD_LABELS)
def test_labels(small_model, y, error, message):
    x = np.zeros((3, 4, 4, 1))
    with pytest.raises(error, match=message):
        small_model.attack(x, y, eps=0.1)
    with pytest.raises(error, match=message):
        small_model.evaluate_robustness(x, y, eps=0.1)
    with pytest.raises(error, match=message):
        small_model.certify(x).accuracy(y, 0.1)
    with pytest.raises(error, match=message):
        small_model.certify(x).curve(y)


@pytest.mark.parametrize(("options", "error", "message"), OPTIONS)
def test_options(small_model, options, error, message):
    with pytest.raises(error, match=message):
        small_model.certify(np.zeros((1, 4, 4, 1)), **options)
    if "batch_size" in options:
        with pytest.raises(error, match=message):
            small_model.logits(np.zeros((1, 4, 4, 1)), **options)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floats_of_any_width_are_images(small_model, small_images, dtype):
    certificate = small_model.certify(small_images.astype(dtype))
    assert len(certificate) == 20


def test_uint8_means_255ths(small_model):
    x = np.random.default_rng(0).integers(0, 256, size=(9, 4, 4, 1), dtype=np.uint8)
    as_integers = small_model.certify(x)
    as_floats = small_model.certify(x.astype("float32") / np.float32(255))
    np.testing.assert_array_equal(as_integers.radius, as_floats.radius)


def test_empty_batches_give_empty_results(small_model):
    x, y = np.zeros((0, 4, 4, 1)), np.zeros(0, int)
    certificate = small_model.certify(x)
    assert certificate.prediction.shape == (0,)
    assert certificate.radius.dtype == np.float32
    assert np.isnan(certificate.accuracy(y, 0.1))
    assert small_model.attack(x, y, eps=0.1).shape == (0, 4, 4, 1)
    report = small_model.evaluate_robustness(x, [], eps=0.1)
    assert report.n == 0
    assert "n = 0" in str(report)
