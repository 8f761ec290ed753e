"""Images and labels in every form in which users have them."""

import itertools

import keras
import numpy as np
import pytest
from PIL import Image

import zoo
from tests.backend import BACKEND
from tests.models.test_checked_calls import Batches

LABELS = np.arange(20) % 3


class TorchTensor:
    """What a tensor of torch offers that has gradients, or is on a GPU."""

    def __init__(self, values, ready=False):
        self.values, self.ready = values, ready

    def detach(self):
        return self

    def cpu(self):
        return TorchTensor(self.values, ready=True)

    def __array__(self, dtype=None, copy=None):
        if not self.ready:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad.")
        return np.asarray(self.values, dtype)


def forms(images):
    """The same images as arrays of several libraries, and as lists."""
    yield keras.ops.convert_to_tensor(images)
    yield TorchTensor(images)
    yield [TorchTensor(image) for image in images]
    yield images.tolist()
    yield list(images)
    if BACKEND == "tensorflow":
        import jax.numpy

        yield jax.numpy.asarray(images)


def data_sets(images, labels):
    """The same images and labels as data sets, in batches and one by one."""

    class Loader:
        """An iterable that gives lists, as a DataLoader of torch does."""

        def __iter__(self):
            for first in range(0, len(images), 6):
                chosen = slice(first, first + 6)
                yield [TorchTensor(images[chosen]), TorchTensor(labels[chosen])]

    yield lambda: Loader()
    yield lambda: zip(np.split(images, 4), np.split(labels, 4), strict=True)
    yield lambda: ((image, label) for image, label in zip(images, labels, strict=True))
    import tensorflow as tf

    one_by_one = tf.data.Dataset.from_tensor_slices((images, labels))
    yield lambda: one_by_one
    yield lambda: one_by_one.batch(7)


@pytest.mark.integration
def test_arrays_of_every_library_are_images(small_model, small_images):
    expected = small_model.certify(small_images)
    for x in forms(small_images):
        np.testing.assert_array_equal(small_model.certify(x).radius, expected.radius)
        assert small_model.attack(x, LABELS, "fgsm", eps=0.1).shape == small_images.shape
        report = small_model.evaluate_robustness(x, LABELS, eps=0.01, attacks=())
        assert report.clean == np.mean(expected.prediction == LABELS)
        predicted = small_model.predict(x, verbose=0)
        np.testing.assert_array_equal(predicted.argmax(axis=1), expected.prediction)


@pytest.mark.integration
@pytest.mark.parametrize("one_hot", [False, True])
def test_data_sets_are_images_with_labels(small_model, small_images, one_hot):
    labels = np.eye(3, dtype="float32")[LABELS] if one_hot else LABELS
    expected = small_model.certify(small_images)
    attacked = small_model.attack(small_images, LABELS, "fgsm", eps=0.1)
    clean = np.mean(expected.prediction == LABELS)
    for data in data_sets(small_images, labels):
        certificate = small_model.certify(data())
        np.testing.assert_array_equal(certificate.radius, expected.radius)
        assert certificate.accuracy(eps=0.01) == expected.accuracy(LABELS, 0.01)
        assert certificate.curve()[1][0] <= clean
        np.testing.assert_array_equal(small_model.attack(data(), eps=0.1, attack="fgsm"), attacked)
        report = small_model.evaluate_robustness(data(), eps=0.01, attacks="fgsm")
        assert (report.n, report.clean) == (20, clean)


def test_a_data_set_that_shuffles_is_read_once(small_model, small_images):
    """Images and labels of one pass belong together; those of two passes do not."""
    import tensorflow as tf

    own = small_model.certify(small_images).prediction
    data = tf.data.Dataset.from_tensor_slices((small_images, own)).shuffle(20).batch(3)
    assert small_model.evaluate_robustness(data, eps=0, attacks="fgsm").clean == 1
    certificate = small_model.certify(data)
    np.testing.assert_array_equal(certificate.labels, certificate.prediction)


@pytest.mark.integration
def test_images_without_labels(small_model, small_images):
    data = small_images[:8], small_images[8:]
    certificate = small_model.certify(iter(data))
    assert len(certificate) == 20
    with pytest.raises(ValueError, match="y must be given, because the certified images had no"):
        certificate.accuracy(eps=0.1)
    with pytest.raises(ValueError, match="eps must be given"):
        certificate.accuracy(LABELS)
    with pytest.raises(TypeError, match="y must be given: an evaluation needs labels"):
        small_model.evaluate_robustness(iter(data), eps=0.1)
    assert small_model.attack(iter(data), eps=0.1, attack="fgsm").shape == (20, 4, 4, 1)
    # Their labels may be given beside them.
    expected = small_model.evaluate_robustness(small_images, LABELS, eps=0.1, attacks="fgsm")
    unlabelled = zoo.data.ImageSet("mine/test", small_images, None, 0)
    for images in (iter(data), unlabelled):
        report = small_model.evaluate_robustness(images, LABELS, eps=0.1, attacks="fgsm")
        assert report.rows == expected.rows
    small_model.compile()
    loss = small_model.evaluate(small_images, LABELS, verbose=0)
    assert small_model.evaluate(unlabelled, LABELS, verbose=0) == loss
    # Images that are yielded one by one, without labels.
    assert len(small_model.certify(image for image in small_images)) == 20


@pytest.mark.integration
def test_images_of_pil(digits_model):
    grey = np.random.default_rng(0).integers(0, 256, (3, 8, 8), dtype=np.uint8)
    expected = digits_model.certify(grey[..., None])
    pictures = [Image.fromarray(one) for one in grey]
    np.testing.assert_array_equal(digits_model.certify(pictures).radius, expected.radius)
    np.testing.assert_array_equal(digits_model.certify(pictures[0]).radius, expected.radius[:1])
    assert digits_model.predict(pictures, verbose=0).shape == (3, 10)
    bits = Image.fromarray(grey[0] > 127)  # black and white, as pixels of 0 and 255
    as_bytes = (grey[:1, ..., None] > 127).astype(np.uint8) * 255
    np.testing.assert_array_equal(
        digits_model.certify(bits).radius, digits_model.certify(as_bytes).radius
    )
    network = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)]
    )
    colour = Image.fromarray(np.stack([grey[0]] * 3, axis=-1))
    with pytest.raises(ValueError, match="valid_range=\\(0, 255\\)"):
        zoo.certify(network, colour, norm="l2")
    by_bytes = zoo.certify(network, colour.convert("P"), norm="l2", valid_range=(0, 255))
    assert len(by_bytes) == 1
    for picture, message in [
        (colour.convert("RGBA"), r'mode RGBA; image.convert\("RGB"\)'),
        (
            Image.fromarray(grey[0].astype(np.uint16) * 257),
            r"mode I;16, .* / 65535$",
        ),
        (colour, r"shape \(n, 8, 8, 1\), got \(1, 8, 8, 3\)"),
        ([pictures[0], pictures[0].resize((4, 8))], r"several shapes: \(8, 8, 1\) at 0.*resize"),
    ]:
        with pytest.raises(ValueError, match=message):
            digits_model.certify(picture)


def endless(images):
    import tensorflow as tf

    yield tf.data.Dataset.from_tensors(images).repeat()

    class Endless(keras.utils.PyDataset):
        num_batches = None

        def __getitem__(self, index):
            return images

    yield Endless()


def test_what_is_no_data_set_of_images(small_model, small_images):
    for data in endless(small_images):
        with pytest.raises(ValueError, match=r"without end; let it end, as by take\(n\)"):
            small_model.certify(data)
    for data, error, message in [
        (iter(()), ValueError, "gives nothing; a generator can be read only once"),
        (iter([{"image": small_images}]), TypeError, r"pairs \(images, labels\), got a dict with"),
        (iter([small_images, small_images[:, :2]]), ValueError, "images of several shapes"),
        (iter([small_images, np.uint8(small_images)]), ValueError, "uint8 and of dtype float32"),
        ([np.uint8(small_images[0]), small_images[1]], ValueError, "uint8 and of dtype float32"),
        (iter([(small_images, LABELS), small_images]), ValueError, "labels with some of its"),
        (iter([(small_images, LABELS[:3])]), ValueError, r"y must have shape \(20,\)"),
        (iter([small_images * 255]), ValueError, r"data.map\(lambda x, y: \(x / 255, y\)\)"),
        (iter(["image.png"]), TypeError, "x must be a numeric array, got str"),
        (small_images.transpose(0, 3, 1, 2), ValueError, r"channels come last: x.transpose"),
    ]:
        with pytest.raises(error, match=message):
            small_model.attack(data, eps=0.1)
    batches = Batches(small_images[:8], LABELS[:8])
    with pytest.raises(ValueError, match="y must be left out, because x is a Batches"):
        small_model.evaluate_robustness(batches, LABELS, eps=0.1)
    assert small_model.evaluate_robustness(batches, eps=0.1, attacks=()).n == 8


def test_dtypes_that_may_stand_together(small_model, small_images):
    """An array without images has no pixels, and labels are no pixels."""
    whole = np.uint8(255 * small_images[:2])
    found = small_model.certify(iter([whole, np.zeros((0, *small_images.shape[1:]))]))
    np.testing.assert_array_equal(found.radius, small_model.certify(whole).radius)
    rows = [np.array([0, 1, 0], np.uint8), np.array([1, 0, 0])]
    report = small_model.evaluate_robustness(whole, rows, eps=0.1, attacks=())
    np.testing.assert_array_equal(report.labels, [1, 0])


def test_only_what_is_needed_is_read(small_model, small_images):
    """A generator is not asked for more than the caller cuts off."""
    read = []

    def images():
        for index in itertools.count():
            read.append(index)
            yield small_images

    assert len(small_model.certify(itertools.islice(images(), 2))) == 40
    assert read == [0, 1]
