"""The class of loaded image sets."""

import base64
import dataclasses
import html
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

# A contact sheet shows this many images, enlarged to at least this many pixels.
_SHOWN = 40
_SIDE = 64


@dataclasses.dataclass(frozen=True, eq=False)
class ImageSet:
    """Images and, where they are known, their labels.

    Functions that take images take a set too, and its labels with it. In a notebook, a set shows
    itself as a contact sheet of its first images.

    Attributes:
        name: name of the set and split, for example ``"mnist/test"``.
        images: float32 or uint8 array ``(n, height, width, channels)``; floats lie in [0, 1].
        labels: int64 array ``(n,)``, or None for files without labels.
        num_classes: number of classes; 0 if there are no labels.
        files: names of the files of the images; None if the set does not come from image files.
        class_names: names of the classes, in their order; None if they have only numbers.

    Examples:
        >>> import zoo
        >>> zoo.data.load("digits", "test").take(3)
        ImageSet('digits/test', 3 images 8 × 8 × 1 float32, 10 classes)
    """

    name: str
    images: np.ndarray
    labels: np.ndarray | None
    num_classes: int
    files: tuple[str, ...] | None = None
    class_names: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[Any]:
        """Pairs of an image and its label; the images alone if there are no labels."""
        if self.labels is None:
            return iter(self.images)
        return zip(self.images, self.labels, strict=True)

    def __getitem__(self, chosen: Any) -> Any:
        """A part of the set, as in ``test[:100]`` or ``test[test.labels == 3]``.

        Args:
            chosen: what NumPy takes as an index of an array ``(n,)``: a slice, an array of indices
                or of booleans; or one number.

        Returns:
            :class:`ImageSet`; for one number what iteration gives, a pair of an image and its
            label, or the image alone if there are no labels.

        Raises:
            IndexError: if there is no such image, or the index is of another kind.
        """
        if isinstance(chosen, (int, np.integer)):
            image = self.images[chosen]
            return image if self.labels is None else (image, self.labels[chosen])
        if not isinstance(chosen, slice):
            chosen = np.arange(len(self))[chosen]
            if chosen.ndim != 1:
                raise IndexError("an image set has one axis: the number of the image")
        return dataclasses.replace(
            self,
            images=self.images[chosen],
            labels=None if self.labels is None else self.labels[chosen],
            files=None if self.files is None else tuple(np.array(self.files, object)[chosen]),
        )

    def __repr__(self) -> str:
        shape = " × ".join(map(str, self.images.shape[1:]))
        plural = "class" if self.num_classes == 1 else "classes"
        classes = "no labels" if self.labels is None else f"{self.num_classes} {plural}"
        return f"ImageSet({self.name!r}, {len(self)} images {shape} {self.images.dtype}, {classes})"

    def required_labels(self) -> np.ndarray:
        """The labels.

        Raises:
            ValueError: naming the set, if it has none.
        """
        if self.labels is None:
            raise ValueError(
                f"{self.name} has no labels; they come from folders named after the classes, or "
                "from an array of an .npz file, such as y_test"
            )
        return self.labels

    def to_tf_data(
        self, batch_size: int, *, shuffle: bool = False, seed: int = 0
    ) -> "tf.data.Dataset":
        """The set as a batched ``tf.data.Dataset`` of (float images in [0, 1], labels).

        Args:
            batch_size: images in each batch.
            shuffle: whether each pass has a new order.
            seed: seed of the orders.

        Raises:
            ValueError: if the set has no labels.
        """
        import tensorflow as tf

        from zoo.utils import checks

        images = checks.images(self.images, self.images.shape[1:])
        dataset = tf.data.Dataset.from_tensor_slices((images, self.required_labels()))
        if shuffle:
            dataset = dataset.shuffle(len(self), seed=seed)
        return dataset.batch(batch_size).prefetch(tf.data.AUTOTUNE)

    def shuffled(self, seed: int = 0) -> "ImageSet":
        """The set in a random order, which the seed determines.

        The first images of a set that is sorted by class are all of one class. Shuffle such a set
        before you :meth:`take` a part of it.

        Args:
            seed: seed of the order.

        Returns:
            :class:`ImageSet`.
        """
        return self[np.random.default_rng(seed).permutation(len(self))]

    def take(self, first: int, last: int | None = None) -> "ImageSet":
        """The first ``first`` images; with ``last``, the images ``first`` to ``last − 1``.

        Args:
            first, last: numbers of images, not negative. A set that has fewer gives what it has.

        Returns:
            :class:`ImageSet`.

        Raises:
            TypeError, ValueError: if it is no whole number, or a negative one.
        """
        for number in (first, *([] if last is None else [last])):
            if not isinstance(number, (int, np.integer)):
                raise TypeError(f"take() needs whole numbers, got {number!r}")
            if number < 0:
                raise ValueError(f"take() needs numbers of at least 0, got {number}")
        return self[:first] if last is None else self[first:last]

    def caption(self, index: int) -> str:
        """The label of an image as text: the name of its class if there is one."""
        if self.labels is None:
            return "" if self.files is None else self.files[index]
        label = int(self.labels[index])
        return str(label) if self.class_names is None else self.class_names[label]

    def _repr_html_(self) -> str:
        """What a notebook shows: the first images with their labels."""
        sheet = "".join(
            '<figure style="display:inline-block;margin:2px;text-align:center">'
            f'<img src="data:image/png;base64,{_png(self.images[i])}" '
            f'style="image-rendering:pixelated;min-width:{_SIDE}px;min-height:{_SIDE}px">'
            f"<figcaption>{html.escape(self.caption(i))}</figcaption></figure>"
            for i in range(min(len(self), _SHOWN))
        )
        more = len(self) - _SHOWN
        rest = f"<p>… and {more} more images</p>" if more > 0 else ""
        return f"<p>{html.escape(repr(self))}</p><div>{sheet}</div>{rest}"


def _png(image: np.ndarray) -> str:
    """An image as a PNG file in base64; a channel that PNG does not know is not shown."""
    from PIL import Image

    pixels = image if image.dtype == np.uint8 else np.rint(255 * np.clip(image, 0, 1))
    pixels = pixels.astype(np.uint8)
    pixels = pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., 0]
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode("ascii")
