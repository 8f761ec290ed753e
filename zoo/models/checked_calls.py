"""Checks of the images and labels that are passed to ``fit``, ``evaluate``, ``predict``, …"""

import contextlib
import contextvars
import functools
import types
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from zoo.bounds.model_state import drop_outdated_program
from zoo.data.image_set import ImageSet
from zoo.metrics.certified_accuracy import (
    is_training_step,
    training_step,
)
from zoo.models.weights import are_finite
from zoo.typing import ImageShape
from zoo.utils import checks, inputs

# Models inherit from this mixin and from keras.Model, whose methods the mixin calls. Type checkers
# see a subclass of keras.Model.
_Model: Any = keras.Model if TYPE_CHECKING else object

# Whether the program is within `evaluate`.
_EVALUATING: contextvars.ContextVar[bool] = contextvars.ContextVar("evaluating", default=False)


class CheckedCalls(_Model):
    """Mixin of :class:`zoo.models.CertifiedModel`: methods of Keras that check their inputs first.

    Images must be floats in [0, 1] or uint8. Arrays are checked at once; a ``tf.data.Dataset``, a
    ``PyDataset`` and a generator batch by batch while they are read; other data sets by their first
    batch. For a direct call ``model(x)``, only dtype and shape are checked. Labels for a loss of
    the zoo may be integers or one-hot rows, and reach the loss as integers.
    """

    def fit(self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Check the images and labels, then call :meth:`keras.Model.fit`."""
        failures: list[ValueError] = []
        x, y = self._checked(x, y, failures, labelled=True)
        if inputs.is_array(x) and not len(x):
            raise ValueError("x has no images to train on")
        validation = kwargs.get("validation_data")
        if isinstance(validation, ImageSet):
            validation = validation.images, validation.required_labels()
        if isinstance(validation, (tuple, list)):
            checked = self._checked(*validation[:2], failures=failures, labelled=True)
            kwargs["validation_data"] = (*checked[: len(validation)], *validation[2:])
        elif validation is not None:
            kwargs["validation_data"], _ = self._checked(
                validation, failures=failures, labelled=True
            )
        with _value_errors(self, failures):
            return super().fit(x, y, *args, **kwargs)

    def evaluate(self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Check the images and labels, then call :meth:`keras.Model.evaluate`."""
        failures: list[ValueError] = []
        x, y = self._checked(x, y, failures, labelled=True)
        if inputs.is_array(x) and not len(x):
            raise ValueError("x has no images to evaluate")
        self.sync_jax_state()
        with _value_errors(self, failures), _evaluation():
            return super().evaluate(x, y, *args, **kwargs)

    def reset_metrics(self) -> None:
        """As Keras's; in an evaluation, metrics of certified accuracy get their certificate."""
        super().reset_metrics()
        # Keras resets the metrics after the callbacks began the evaluation. A callback such as
        # SwapEMAWeights exchanges the weights then, and the certificate must be of the new ones.
        if _EVALUATING.get():
            self._update_certificates()

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Check the images, then call :meth:`keras.Model.predict`."""
        failures: list[ValueError] = []
        x, _ = self._checked(x, failures=failures)
        if inputs.is_array(x) and not len(x):
            raise ValueError("x has no images to predict")
        with _value_errors(self, failures):
            return super().predict(x, *args, **kwargs)

    def train_on_batch(self, x: Any, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Check the images and labels, then call :meth:`keras.Model.train_on_batch`."""
        return super().train_on_batch(*self._checked(x, y, labelled=True), *args, **kwargs)

    def test_on_batch(self, x: Any, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Check the images and labels, then call :meth:`keras.Model.test_on_batch`."""
        x, y = self._checked(x, y, labelled=True)
        self.sync_jax_state()
        self._update_certificates()
        return super().test_on_batch(x, y, *args, **kwargs)

    def predict_on_batch(self, x: Any) -> Any:
        """Check the images, then call :meth:`keras.Model.predict_on_batch`."""
        return super().predict_on_batch(self._checked(x)[0])

    def train_step(self, *args: Any, **kwargs: Any) -> Any:
        with training_step():
            return super().train_step(*args, **kwargs)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Make a ``train_step`` that a subclass defines run within :func:`training_step` too."""
        super().__init_subclass__(**kwargs)
        own: Any = cls.train_step
        if own is CheckedCalls.train_step or hasattr(own, "runs_as_training_step"):
            return

        @functools.wraps(own)
        def train_step(self: Any, *args: Any, **kwargs: Any) -> Any:
            with training_step():
                return own(self, *args, **kwargs)

        vars(train_step)["runs_as_training_step"] = True
        cls.train_step = train_step

    def get_metrics_result(self) -> Any:
        """As Keras's; a training step has no certified accuracy."""
        results = super().get_metrics_result()
        if is_training_step():
            for metric in self.__dict__.get("_certified_metrics", ()):
                results.pop(metric.name, None)
        return results

    def _update_certificates(self) -> None:
        """Give metrics of certified accuracy the certificate of the weights as they are."""
        metrics = self.__dict__.get("_certified_metrics", ())
        finite = bool(metrics) and are_finite(self)
        for metric in metrics:
            metric.use(self.logit_certificate() if finite else None)

    def renew_training_step(self) -> None:
        """Compile the training step anew, if there is one, in the middle of ``fit`` too."""
        if self.train_function is not None:
            self.make_train_function(force=True)

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

    def _checked(
        self,
        x: Any,
        y: Any = None,
        failures: list[ValueError] | None = None,
        *,
        labelled: bool = False,
    ) -> tuple[Any, Any]:
        """``x`` and ``y`` after their check, or with a check that runs while they are read.

        Args:
            x, y: what a method of Keras was given.
            failures: list that takes up the errors of batches which are checked while Keras reads
                them.
            labelled: whether the method reads labels, which are then checked.
        """
        self.require_float32_policy()
        # Labels are checked for the zoo's losses only: another loss may take other labels.
        labelled = labelled and getattr(self, "_takes_class_numbers", False)
        classes = self.num_classes if labelled else None
        check = BatchCheck(
            self.image_shape, classes, [] if failures is None else failures, labelled
        )
        if isinstance(x, ImageSet):
            if y is None:
                y = x.required_labels() if labelled else x.labels
            elif x.labels is not None:
                raise ValueError("y must be left out, because x is an ImageSet, which has labels")
            x = x.images
        if hasattr(x, "element_spec") and hasattr(x, "map"):
            return self._checked_data_set(x, labelled), y
        if isinstance(x, keras.utils.PyDataset):
            return CheckedPyDataset(x, check), y
        if isinstance(x, types.GeneratorType):
            return (check(batch) for batch in x), y
        if inputs.is_data_set(x):
            # Keras knows this class, such as a DataLoader of torch, which we cannot wrap.
            check(next(iter(x), ()))
            return x, y
        if inputs.is_array(x):
            x = inputs.array(x, "x")
            checks.require_images(x, self.image_shape)
            if labelled and y is None:
                raise ValueError(_NO_LABELS)
        if classes is not None and inputs.is_array(y):
            y = inputs.array(y, "y")
            y = checks.labels(y, len(y), classes)
        return x, y

    def _checked_data_set(self, data: Any, labelled: bool) -> Any:
        """The data set with a check that runs for each batch when it is read."""
        import tensorflow as tf

        classes = self.num_classes
        if isinstance(data.element_spec, tuple):
            x, *y = data.element_spec[:2]
        else:
            x, y = data.element_spec, []
        if not all(isinstance(part, tf.TensorSpec) for part in (x, *(y if labelled else ()))):
            return data  # Keras reports what is wrong with it.
        _require_batches(x.shape, self.image_shape)
        if labelled and not y:
            raise ValueError(_NO_LABELS)
        if labelled and not (y[0].dtype.is_integer or y[0].dtype.is_floating or y[0].dtype.is_bool):
            raise ValueError(f"y must be integer labels, got dtype {y[0].dtype.name}")
        if labelled and y[0].shape.rank == 2 and y[0].shape[1] not in (1, None, classes):
            checks.labels(np.zeros((0, y[0].shape[1]), int), 0, classes)

        def checked(x: Any, *rest: Any) -> Any:
            tests = []
            if x.dtype.is_floating:
                within = tf.reduce_all((x >= 0) & (x <= 1))
                tests.append(tf.debugging.Assert(within, [_IMAGES]))
            if labelled:
                labels, valid = _class_numbers(rest[0], tf.shape(x)[0], classes)
                tests.append(tf.debugging.Assert(valid, [_LABELS]))
                labels.set_shape(x.shape[:1])
                rest = (labels, *rest[1:])
            with tf.control_dependencies([test for test in tests if test is not None]):
                x = tf.identity(x)
            return (x, *rest) if rest else x

        return data.map(checked, num_parallel_calls=tf.data.AUTOTUNE)


def _class_numbers(given: Any, count: Any, classes: int) -> Any:
    """The class numbers of a batch of labels, and whether the labels are classes.

    Args:
        given: tensor of class numbers or of one-hot rows. Its rank may be unknown while the data
            set is read, as after ``tf.numpy_function``.
        count: scalar tensor, the number of images.
        classes: number of classes.

    Returns:
        ``(labels, valid)``: an int64 tensor ``(count,)`` and a bool scalar.
    """
    import tensorflow as tf

    size = tf.shape(given)
    columns = tf.reduce_prod(size[1:])
    rows = tf.reshape(tf.cast(given, tf.float64), (size[0], columns))

    def of_rows() -> Any:
        labels = tf.argmax(rows, axis=1)
        return labels, tf.reduce_all(tf.one_hot(labels, classes, dtype=tf.float64) == rows)

    def of_numbers() -> Any:
        numbers = tf.reshape(rows, (-1,))
        labels = tf.cast(numbers, tf.int64)
        same = tf.reduce_all(tf.cast(labels, tf.float64) == numbers)
        return labels, same & tf.reduce_all((labels >= 0) & (labels < classes))

    # Nothing may be lost in the conversion: labels that are smoothed are no classes.
    labels, valid = tf.cond(columns == classes, of_rows, of_numbers)
    return labels, valid & (tf.size(labels) == count)


class BatchCheck:
    """The check of a batch that Python code gives, while Keras reads it.

    Args:
        image_shape: ``(height, width, channels)``.
        num_classes: number of classes; None leaves the labels as they are.
        failures: list that takes up the errors. A backend may hide an error behind one of its own.
        labelled: whether a batch without labels is an error.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        num_classes: int | None,
        failures: list[ValueError],
        labelled: bool = False,
    ) -> None:
        self.image_shape, self.num_classes, self.failures = image_shape, num_classes, failures
        self.labelled = labelled

    def __call__(self, batch: Any) -> Any:
        if isinstance(batch, dict):
            return batch  # Keras reports what is wrong with it.
        try:
            x, *rest = inputs.parts_of(batch)
            x = inputs.array(x, "x")
            checks.require_images(x, self.image_shape)
            if self.labelled and not rest:
                raise ValueError(_NO_LABELS)
            if rest and self.num_classes is not None:
                rest[0] = checks.labels(rest[0], len(x), self.num_classes)
        except ValueError as error:
            self.failures.append(error)
            raise
        return (x, *rest)


class CheckedPyDataset(keras.utils.PyDataset):
    """A ``PyDataset`` whose batches are checked when they are read.

    Args:
        data: the data set itself.
        check: the check of a batch.
    """

    def __init__(self, data: Any, check: BatchCheck) -> None:
        super().__init__(data.workers, data.use_multiprocessing, data.max_queue_size)
        self.data, self.check = data, check

    @property
    def num_batches(self) -> int | None:
        return self.data.num_batches

    def __getitem__(self, index: int) -> Any:
        return self.check(self.data[index])

    def on_epoch_begin(self) -> None:
        self.data.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self.data.on_epoch_end()


_IMAGES = (
    "x must lie in [0, 1], but a batch of the data set does not; divide pixels in 0..255 by 255, "
    "as data.map(lambda x, y: (x / 255, y)) does, or let the data set give uint8"
)
_NO_LABELS = "the loss needs labels: give y, or a data set of pairs (images, labels)"
_LABELS = (
    "y must lie in the range of the classes, as integers or one-hot rows, but a batch of the data "
    "set does not"
)


def _require_batches(shape: Any, image_shape: ImageShape) -> None:
    """Raise unless batches of a ``tf.TensorShape`` can be those of images of a shape."""
    if shape.rank is None or (shape.rank == 4 and shape[1:].is_compatible_with(image_shape)):
        return
    hint = ""
    if shape.rank == 3 and shape.is_compatible_with(image_shape):
        hint = "; it gives single images, and data.batch(32) makes batches of them"
    raise ValueError(
        f"x must have shape (n, {', '.join(map(str, image_shape))}), but the data set gives "
        f"{tuple(shape)}{hint}"
    )


@contextlib.contextmanager
def _evaluation() -> Iterator[None]:
    token = _EVALUATING.set(True)
    try:
        yield
    finally:
        _EVALUATING.reset(token)


@contextlib.contextmanager
def _value_errors(model: Any, failures: list[ValueError]) -> Iterator[None]:
    """Turn the backend's error for a batch that failed the checks into a ValueError.

    Args:
        model: the model that reads the batches.
        failures: errors that a :class:`BatchCheck` noted.
    """
    # On JAX, Keras takes all values out of the variables while `fit` runs, and puts them back only
    # after the first batch. After an error or an interruption before that, we put them back.
    optimizer: Any = getattr(model, "optimizer", None)
    if keras.backend.backend() == "jax" and optimizer is not None and not optimizer.built:
        optimizer.build(model.trainable_variables)  # `fit` would do it, after this look at them
    variables = [*model.variables, *getattr(optimizer, "variables", ())]
    for metric in model.__dict__.get("_certified_metrics", ()):
        variables += metric.variables
    values = [(variable, getattr(variable, "_value", None)) for variable in variables]
    try:
        yield
    except BaseException as error:
        model.sync_jax_state()
        model._jax_state = None
        for variable, value in values:
            if getattr(variable, "_value", value) is None:
                variable._value = value
        # The error of TensorFlow, or of JAX, contains the message.
        message = next((m for m in (_IMAGES, _LABELS) if m in str(error)), None)
        if not isinstance(error, Exception) or (message is None and not failures):
            raise
        raise (failures[0] if failures else ValueError(message)) from None
