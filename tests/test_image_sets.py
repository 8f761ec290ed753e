"""An image set is taken as it is wherever images are, and mistakes with labels are named."""

import numpy as np
import pytest

import zoo


@pytest.fixture(scope="module")
def images():
    return zoo.data.load("digits").take(24)


@pytest.mark.integration
def test_functions_take_a_set_with_its_labels(images):
    model = zoo.load("lc-lmt-digits", epsilon=0.3)
    certificate = model.certify(images)
    np.testing.assert_array_equal(certificate.radius, model.certify(images.images).radius)
    assert certificate.accuracy(eps=0.3) == certificate.accuracy(images.labels, 0.3)
    report = model.evaluate_robustness(images, eps=0.3, attacks=())
    assert report.rows[0]["certified"] == certificate.accuracy(eps=0.3)
    assert model.attack(images, attack="fgsm", eps=0.3).shape == images.images.shape
    model.compile()
    certified = zoo.callbacks.CertifiedAccuracy(images, 0.3)
    history = model.fit(images, validation_data=images, callbacks=[certified], verbose=0).history
    assert {"loss", "val_loss", "val_certified_0.3"} <= set(history)
    assert model.predict(images, verbose=0).shape == (24, 10)
    with pytest.raises(ValueError, match="y must be left out"):
        model.fit(images, images.labels)


def test_missing_labels_and_images_are_named(images):
    import tensorflow as tf

    model = zoo.load("lc-lmt-digits")
    model.compile()
    x, y = images.images, images.labels
    data = tf.data.Dataset.from_tensor_slices
    for unlabelled in (x, data(x).batch(8), (x[i : i + 8] for i in (0, 8))):
        with pytest.raises(ValueError, match="the loss needs labels"):
            model.fit(unlabelled, verbose=0)
    with pytest.raises(ValueError, match="no images to train on"):
        model.fit(x[:0], y[:0], verbose=0)
    with pytest.raises(ValueError, match=r"the data set gives \(8, 8, 1\); it gives single"):
        model.fit(data((x, y)), verbose=0)
    with pytest.raises(ValueError, match=r"\(n, 8, 8, 1\), but the data set gives \(None, 8, 8, 3"):
        model.fit(data((x.repeat(3, -1), y)).batch(8), verbose=0)


def test_labels_of_a_file_may_be_one_hot(images, tmp_path):
    path = tmp_path / "set.npz"
    for labels in (images.labels, images.labels[:, None], np.eye(10)[images.labels]):
        np.savez(path, x=images.images, y=labels)
        np.testing.assert_array_equal(zoo.data.load(path).labels, images.labels)
    assert zoo.data.load(path).num_classes == 10
    np.savez(path, x=images.images, y=np.full((24, 10), 0.1))
    with pytest.raises(ValueError, match=r"set.npz: labels has rows that are not one-hot"):
        zoo.data.load(path)
    path.write_bytes(b"no archive")
    with pytest.raises(ValueError, match="it is damaged, or another kind of file$"):
        zoo.data.load(path)
