"""Checks of the images and labels that are passed to ``fit``, ``evaluate``, ``predict``, …"""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from zoo.bounds.model_state import drop_outdated_program
from zoo.typing import Array
from zoo.utils import checks

# Models inherit from this mixin and from keras.Model, whose methods the mixin calls. Type checkers
# see a subclass of keras.Model.
_Model: Any = keras.Model if TYPE_CHECKING else object


class CheckedCalls(_Model):
    """Mixin of :class:`zoo.models.CertifiedModel`: methods of Keras that check their inputs first.

    Images must be floats in [0, 1] or uint8. Arrays are checked completely, a ``tf.data.Dataset``
    batch by batch while it is read, and a ``PyDataset`` by its first batch. For a Python generator,
    and for a direct call ``model(x)``, only dtype and shape are checked.
    """

    def fit(self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Check the images and labels, then call :meth:`keras.Model.fit`."""
        x = self._checked(x, y)
        validation = kwargs.get("validation_data")
        if isinstance(validation, (tuple, list)):
            self._checked(*validation[:2])
        elif validation is not None:
            kwargs["validation_data"] = self._checked(validation)
        with _value_errors(self):
            return super().fit(x, y, *args, **kwargs)

    def evaluate(self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Check the images and labels, then call :meth:`keras.Model.evaluate`."""
        x = self._checked(x, y)
        with _value_errors(self):
            return super().evaluate(x, y, *args, **kwargs)

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Check the images, then call :meth:`keras.Model.predict`."""
        x = self._checked(x)
        with _value_errors(self):
            return super().predict(x, *args, **kwargs)

    def train_on_batch(self, x: Any, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Check the images and labels, then call :meth:`keras.Model.train_on_batch`."""
        return super().train_on_batch(self._checked(x, y), y, *args, **kwargs)

    def test_on_batch(self, x: Any, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Check the images and labels, then call :meth:`keras.Model.test_on_batch`."""
        return super().test_on_batch(self._checked(x, y), y, *args, **kwargs)

    def predict_on_batch(self, x: Any) -> Any:
        """Check the images, then call :meth:`keras.Model.predict_on_batch`."""
        return super().predict_on_batch(self._checked(x))

    def make_train_function(self, force: bool = False) -> Any:
        drop_outdated_program(self, "train_function")
        return super().make_train_function(force)

    def make_test_function(self, force: bool = False) -> Any:
        drop_outdated_program(self, "test_function")
        return super().make_test_function(force)

    def make_predict_function(self, force: bool = False) -> Any:
        drop_outdated_program(self, "predict_function")
        return super().make_predict_function(force)

    def require_float32_policy(self) -> None:
        """Raise unless the model was made to compute in float32.

        Raises:
            ValueError: naming the dtype, and what to do.
        """
        if not self.compute_dtype == keras.config.floatx() == "float32":
            raise ValueError(
                f"{type(self).__name__} needs float32, but was made to compute in "
                f"{self.compute_dtype} and keras.config.floatx() is {keras.config.floatx()}; make "
                "it under keras.config.set_dtype_policy('float32') and "
                "keras.config.set_floatx('float32')"
            )

    def _checked(self, x: Any, y: Any = None) -> Any:
        """Check images and labels and return ``x``; a ``tf.data.Dataset`` is checked when read."""
        self.require_float32_policy()
        if hasattr(x, "element_spec") and hasattr(x, "map"):
            return self._checked_data_set(x)
        data = x
        if isinstance(x, keras.utils.PyDataset) and len(x):
            batch = x[0]
            x, y = (*batch, None)[:2] if isinstance(batch, (tuple, list)) else (batch, None)
        if _is_array(x):
            checks.require_images(np.asarray(x), self.image_shape)
        # Labels are checked for the default loss only: another loss may take other labels.
        if _is_array(y) and getattr(self, "_has_default_loss", False):
            checks.labels(_class_numbers(np.asarray(y)), len(y), self.num_classes)
        return data

    def _checked_data_set(self, data: Any) -> Any:
        """The data set with a check that runs for each batch when it is read."""
        import tensorflow as tf

        with_labels = getattr(self, "_has_default_loss", False)
        if isinstance(data.element_spec, tuple):
            x, *y = data.element_spec[:2]
        else:
            x, y = data.element_spec, []
        if not isinstance(x, tf.TensorSpec):
            return data  # Keras reports what is wrong with it.
        if with_labels and y and y[0].shape.rank == 2 and y[0].shape[1] not in (1, None):
            checks.labels(np.zeros((0, y[0].shape[1]), int), 0, self.num_classes)

        def checked(x: Any, *rest: Any) -> Any:
            tests = []
            if x.dtype.is_floating:
                within = tf.reduce_all((x >= 0) & (x <= 1))
                tests.append(tf.debugging.Assert(within, [_IMAGES]))
            if with_labels and rest:
                labels = tf.cast(rest[0], tf.int64)
                within = tf.reduce_all((labels >= 0) & (labels < self.num_classes))
                tests.append(tf.debugging.Assert(within, [_LABELS]))
            with tf.control_dependencies([test for test in tests if test is not None]):
                x = tf.identity(x)
            return (x, *rest) if rest else x

        return data.map(checked, num_parallel_calls=tf.data.AUTOTUNE)


_IMAGES = (
    "x must lie in [0, 1], but a batch of the data set does not; divide pixels in 0..255 by 255, "
    "or let the data set give uint8"
)
_LABELS = "y must lie in the range of the classes, but a batch of the data set does not"


@contextlib.contextmanager
def _value_errors(model: Any) -> Iterator[None]:
    """Turn the backend's error for a batch that failed the checks into a ValueError."""
    variables = [*model.variables, *getattr(getattr(model, "optimizer", None), "variables", ())]
    values = [(variable, getattr(variable, "_value", None)) for variable in variables]
    try:
        yield
    except Exception as error:  # TensorFlow's error, or JAX's error that contains it
        message = next((m for m in (_IMAGES, _LABELS) if m in str(error)), None)
        if message is None:
            raise
        # On JAX, Keras takes the weights out of the model while `fit` runs, and puts them back only
        # after the first batch. After an error before that, we have to put them back.
        model.sync_jax_state()
        for variable, value in values:
            if getattr(variable, "_value", value) is None:
                variable._value = value
        raise ValueError(message) from None


def _class_numbers(y: Array) -> Array:
    """Labels as a vector of integers, if they are class indices in another dtype or a column."""
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.dtype.kind == "b" or (y.dtype.kind == "f" and (y == np.round(y)).all()):
        y = y.astype(np.int64)
    return y


def _is_array(value: object) -> bool:
    return isinstance(value, list) or hasattr(value, "__array__")
