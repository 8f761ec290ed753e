"""Images and labels as users have them, as NumPy arrays.

Every function that takes images or labels converts them here.
"""

import sys
from collections.abc import Iterable
from typing import Any

import numpy as np

from zoo.typing import Array

# Modes of PIL whose pixels are those of images in 0 to 255, and what others are converted to
# without a loss.
_PIL_MODES = {"L": "L", "RGB": "RGB", "1": "L", "P": "RGB"}


def read(x: Any, y: Any = None, rank: int = 3) -> tuple[Array, Any]:
    """Images as an array, and their labels.

    Args:
        x: images as an array of NumPy, TensorFlow, JAX or torch, a nested list, a PIL image or a
            list of them; or a data set: a :class:`zoo.data.ImageSet`, a ``tf.data.Dataset``, a
            ``PyDataset``, a generator or another iterable. A data set gives images or pairs
            ``(images, labels)``, in batches or one by one. It is read once and completely, so it
            must have an end.
        y: labels of all images; None if there are none, or if the data set gives them.
        rank: number of axes of one image.

    Returns:
        ``(x, y)``: the images as an array with an axis more than ``rank``, not checked further,
        and the labels as they were given, or as an array if the data set gave them, or None.

    Raises:
        TypeError: if something is no numeric array.
        ValueError: for a data set that is empty or endless or gives labels beside ``y``; for images
            of several sizes, or for some that are uint8 beside others that are not.

    Examples:
        >>> import numpy as np
        >>> from zoo.utils.inputs import read
        >>> batches = ((np.zeros((2, 4, 4, 1)), [n, n + 1]) for n in range(3))
        >>> x, y = read(batches)
        >>> x.shape, y
        ((6, 4, 4, 1), array([0, 1, 1, 2, 2, 3]))
    """
    if not is_data_set(x):
        return array(x, "x"), y
    from zoo.data.image_set import ImageSet  # zoo.ops imports this module, through the checks

    if isinstance(x, ImageSet):
        _require_one_source(x, x.labels is not None, y)
        return x.images, y if x.labels is None else x.labels
    _require_end(x)
    images, labels = [], []
    for batch in x:
        parts = parts_of(batch)
        part = array(parts[0], "x")
        single = part.ndim == rank
        images.append(part[None] if single else part)
        _require_one_source(x, len(parts) > 1, y)
        if len(parts) > 1:
            label = array(parts[1], "y")
            labels.append(label[None] if single else label)
    if not images:
        raise ValueError(
            f"x is a {type(x).__name__} that gives nothing; a generator can be read only once"
        )
    if labels and len(labels) != len(images):
        raise ValueError("x gives labels with some of its batches only")
    return _joined(images), np.concatenate(labels) if labels else y


def _require_one_source(x: Any, gives_labels: bool, y: Any) -> None:
    if gives_labels and y is not None:
        raise ValueError(
            f"y must be left out, because x is a {type(x).__name__}, which gives the labels itself"
        )


def is_data_set(x: Any) -> bool:
    """Whether ``x`` gives its images in parts: a ``tf.data.Dataset``, a generator and so on."""
    one = isinstance(x, (list, tuple, dict, str, bytes)) or hasattr(x, "__array__") or _is_pil(x)
    return isinstance(x, Iterable) and not one


def is_array(x: Any) -> bool:
    """Whether ``x`` is something that :func:`array` is meant for."""
    return isinstance(x, (list, tuple)) or hasattr(x, "__array__") or _is_pil(x)


def parts_of(batch: Any) -> tuple[Any, ...]:
    """``(images,)``, ``(images, labels)`` or ``(images, labels, weights)`` of a batch.

    Raises:
        TypeError: for a batch of another form.
    """
    if isinstance(batch, (tuple, list)) and 1 <= len(batch) <= 3:
        return tuple(batch)
    if isinstance(batch, (dict, tuple, list)):
        raise TypeError(
            f"a data set must give images or pairs (images, labels), got a {type(batch).__name__}"
            + (f" with {', '.join(map(str, batch))}" if isinstance(batch, dict) else "")
        )
    return (batch,)


def array(value: Any, name: str) -> Array:
    """A NumPy array of numbers; a PIL image is a batch of one image, uint8.

    Args:
        value: array of NumPy, TensorFlow, JAX or torch, nested list, PIL image, or a list of these.
        name: of the argument, for errors.

    Raises:
        TypeError: if it is no numeric array.
        ValueError: for images of several sizes, for some that are uint8 beside others that are not,
            or for a PIL image whose conversion loses something.
    """
    if _is_pil(value):
        value = [value]
    if isinstance(value, (list, tuple)) and any(map(_has_axes, value)):
        value = _stacked([_plain(one, name) for one in value], name)
    try:
        found = np.asarray(_plain(value, name))
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be an array, got {type(value).__name__}") from None
    if found.dtype.kind not in "fiub":
        raise TypeError(
            f"{name} must be a numeric array, got {type(value).__name__} of dtype {found.dtype}"
        )
    return found


def class_numbers(y: Array, num_classes: int, name: str = "y") -> Array:
    """Labels as integers, if they are whole floats, a column ``(n, 1)`` or one-hot rows.

    Labels of another form are returned as they are.

    Args:
        y: numeric array.
        num_classes: number of classes.
        name: of the argument, for errors.

    Raises:
        ValueError: for rows ``(n, num_classes)`` that are not one-hot.

    Examples:
        >>> import numpy as np
        >>> from zoo.utils.inputs import class_numbers
        >>> class_numbers(np.eye(3)[[2, 0]], 3)
        array([2, 0])
    """
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    elif y.ndim == 2 and y.shape[1] == num_classes:
        if not (((y == 0) | (y == 1)).all() and (y.sum(axis=1) == 1).all()):
            raise ValueError(
                f"{name} has rows that are not one-hot; labels must be integers, or rows with a "
                "single 1, without smoothing or mixing"
            )
        y = y.argmax(axis=1)
    if y.dtype.kind == "b" or (y.dtype.kind == "f" and (y == np.round(y)).all()):
        y = y.astype(np.int64)
    return y


def _plain(value: Any, name: str) -> Any:
    """``value``, or its array if it is an image of PIL or a tensor of torch."""
    if _is_pil(value):
        return _pixels(value, name)
    # NumPy does not take a tensor of torch that is on a GPU or that has gradients.
    return value.detach().cpu() if _is_torch(value) else value


def _pixels(image: Any, name: str) -> Array:
    """The pixels of an image of PIL: uint8 ``(height, width, channels)``."""
    if image.mode[0] in "IF":  # convert() would cut off the values above 255
        raise ValueError(
            f"{name} has an image of mode {image.mode}, whose pixels have more than 8 bits; "
            "for an image of 16 bits, pass np.asarray(image, 'float32')[None, ..., None] / 65535"
        )
    if image.mode not in _PIL_MODES or "transparency" in image.info:
        raise ValueError(
            f"{name} has an image of mode {image.mode}"
            + (" with transparency" if "transparency" in image.info else "")
            + '; image.convert("RGB") makes it one in colour, image.convert("L") one in grey'
        )
    pixels = np.asarray(image.convert(_PIL_MODES[image.mode]))
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def _stacked(arrays: list[Any], name: str) -> Array:
    arrays = [np.asarray(one) for one in arrays]
    for index, one in enumerate(arrays):
        if one.shape != arrays[0].shape:
            raise ValueError(
                f"{name} has images of several shapes: {arrays[0].shape} at 0, {one.shape} at "
                f"{index}; an image of PIL has resize((width, height))"
            )
    if name == "x":
        _require_one_scale(arrays)
    return np.stack(arrays)


def _joined(batches: list[Array]) -> Array:
    for batch in batches:
        if batch.shape[1:] != batches[0].shape[1:]:
            raise ValueError(
                f"x gives images of several shapes: {batches[0].shape[1:]} and {batch.shape[1:]}"
            )
    # A batch without images says nothing about the dtype.
    batches = [batch for batch in batches if batch.size] or batches
    _require_one_scale(batches)
    return np.concatenate(batches)


def _require_one_scale(arrays: list[Array]) -> None:
    """Raise if some images are uint8: joined with others, their pixels would not be divided."""
    other = [one.dtype for one in arrays if one.dtype != np.uint8]
    if other and len(other) < len(arrays):
        raise ValueError(
            f"x has arrays of dtype uint8 and of dtype {other[0]}; convert all to one dtype, "
            "because uint8 pixels lie in 0 to 255 and others need not"
        )


def _require_end(x: Any) -> None:
    """Raise for a data set that says of itself that it repeats without end."""
    # A tf.data.Dataset says -1 if it repeats for ever.
    endless = hasattr(x, "cardinality") and int(x.cardinality()) == -1
    if endless or getattr(x, "num_batches", 1) is None:
        raise ValueError(
            f"x is a {type(x).__name__} without end; let it end, as by take(n) of a tf.data.Dataset"
        )


def _is_pil(value: Any) -> bool:
    pil = sys.modules.get("PIL.Image")  # there are no images of PIL before it is imported
    return pil is not None and isinstance(value, pil.Image)


def _has_axes(value: Any) -> bool:
    """Whether ``value`` is an image or an array, and not a number or a nested list."""
    return _is_pil(value) or _is_torch(value) or getattr(value, "ndim", 0) > 0


def _is_torch(value: Any) -> bool:
    return hasattr(value, "detach") and hasattr(value, "cpu")
