"""Checks of images and labels at the doors of Keras: ``fit``, ``evaluate``, ``predict``, …"""

import keras
import numpy as np

from zoo import checks
from zoo.bounds.model_state import drop_outdated_program


class CheckedCalls:
    """What :class:`zoo.models.CertifiedModel` does before Keras does its part.

    Images are floats in [0, 1] or uint8 wherever they come in. Arrays are checked as a whole, and
    data sets by their first batch. Where the model itself is called, ``model(x)``, their dtype and
    shape are checked.
    """

    def fit(self, x=None, y=None, *args, **kwargs):
        """As :meth:`keras.Model.fit`, after a check of the images and labels."""
        self._check_data(x, y)
        validation = kwargs.get("validation_data")
        if isinstance(validation, (tuple, list)):
            self._check_data(*validation[:2])
        elif validation is not None:
            self._check_data(validation)
        return super().fit(x, y, *args, **kwargs)

    def evaluate(self, x=None, y=None, *args, **kwargs):
        """As :meth:`keras.Model.evaluate`, after a check of the images and labels."""
        self._check_data(x, y)
        return super().evaluate(x, y, *args, **kwargs)

    def predict(self, x, *args, **kwargs):
        """As :meth:`keras.Model.predict`, after a check of the images."""
        self._check_data(x)
        return super().predict(x, *args, **kwargs)

    def train_on_batch(self, x, y=None, *args, **kwargs):
        """As :meth:`keras.Model.train_on_batch`, after a check of the images and labels."""
        self._check_data(x, y)
        return super().train_on_batch(x, y, *args, **kwargs)

    def test_on_batch(self, x, y=None, *args, **kwargs):
        """As :meth:`keras.Model.test_on_batch`, after a check of the images and labels."""
        self._check_data(x, y)
        return super().test_on_batch(x, y, *args, **kwargs)

    def predict_on_batch(self, x):
        """As :meth:`keras.Model.predict_on_batch`, after a check of the images."""
        self._check_data(x)
        return super().predict_on_batch(x)

    def make_train_function(self, force=False):
        drop_outdated_program(self, "train_function")
        return super().make_train_function(force)

    def make_test_function(self, force=False):
        drop_outdated_program(self, "test_function")
        return super().make_test_function(force)

    def make_predict_function(self, force=False):
        drop_outdated_program(self, "predict_function")
        return super().make_predict_function(force)

    def require_float32_policy(self):
        """Raise unless the model was made to compute in float32.

        Raises:
            ValueError: naming the dtype, and what to do.
        """
        if self.compute_dtype != "float32":
            raise ValueError(
                f"{type(self).__name__} needs float32, but was made to compute in "
                f"{self.compute_dtype}; make it under keras.config.set_dtype_policy('float32') and "
                "keras.config.set_floatx('float32')"
            )

    def _check_data(self, x, y=None):
        self.require_float32_policy()
        if not _is_array(x):
            x, y = _first_batch(x)
        if _is_array(x):
            checks.require_images(np.asarray(x), self.image_shape)
        # A loss of the user's own may take labels of another kind.
        if _is_array(y) and getattr(self, "_has_default_loss", False):
            y = np.asarray(y)
            checks.labels(y[:, 0] if y.shape[1:] == (1,) else y, len(y), self.num_classes)


def _is_array(value):
    return isinstance(value, (np.ndarray, list)) or keras.ops.is_tensor(value)


def _first_batch(data):
    """``(x, y)`` of a data set that can be read again from the start; otherwise None twice."""
    if isinstance(data, keras.utils.PyDataset) and len(data):
        batch = data[0]
    elif hasattr(data, "element_spec") and hasattr(data, "take"):  # a tf.data.Dataset
        batch = next(iter(data.take(1)), None)
    else:
        batch = None
    batch = batch if isinstance(batch, (tuple, list)) else (batch,)
    return (*batch, None)[:2]
