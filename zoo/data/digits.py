"""The digits that ship with scikit-learn."""

import numpy as np

from zoo.data.registry import Dataset, register

# The last 500 images, in the order of scikit-learn's file, are the test set.
_TEST = 500


def load(split: str) -> tuple[np.ndarray, np.ndarray]:
    """The images ``(n, 8, 8, 1)``, floats in [0, 1], and the labels of a split."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images = (images / 16.0).astype(np.float32).reshape(-1, 8, 8, 1)
    chosen = slice(-_TEST, None) if split == "test" else slice(-_TEST)
    return images[chosen], np.asarray(labels)[chosen]


register(Dataset(name="digits", image_shape=(8, 8, 1), num_classes=10, load=load))
