"""The ℓp distance between every patch of an image and every filter."""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, TypeAlias

from keras import ops

from zoo.ops.gradients import traced_once
from zoo.ops.host_call import host_call
from zoo.ops.linf_interval import linf_interval
from zoo.ops.lp_distance import (
    _portable_backward,
    _portable_forward,
    _unrolled_forward,
    has_loops,
    numba_available,
    on_host,
    with_exponent,
)
from zoo.ops.windows import Windows
from zoo.typing import BatchShape, Padding, Tensor
from zoo.utils import checks

#: The name of an implementation of these functions, as in :func:`zoo.ops.lp_distance`.
ConvImplementation: TypeAlias = Literal["auto", "numba", "portable"]
# The functions of an implementation: forward, backward and interval.
_Form: TypeAlias = tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]
#: The patches that exist at a time take at most this many bytes, or as many as those of one output
#: row if that is more.
TILE_BYTES = 1 << 24

# The numba kernels pad shorter patches to this length.
_SHORTEST_ROW = 64
# Largest number of images in a tile of the portable implementation, if the batch size is not known
# when the graph is built. A batch is then padded to whole tiles.
_IMAGES_OF_UNKNOWN_BATCH = 16


def lp_distance_conv(
    x: Tensor,
    w: Tensor,
    p: Tensor,
    *,
    strides: Sequence[int] = (1, 1),
    padding: Padding = "valid",
    groups: int = 1,
    implementation: ConvImplementation = "auto",
) -> Tensor:
    """Distance ``u[b, y, x, f] = ‖patch(b, y, x) − w[…, f]‖_p``, a convolution of distances.

    Patches are gathered for a limited number of output positions at a time, and gathered again in
    the backward pass, so the patches of a whole batch never exist at once. Padded pixels are
    constants (zeros), so at ``p = inf`` every output, even at the border, is 1-Lipschitz in the ℓ∞
    norm of the image.

    Args:
        x: tensor of shape ``(batch, height, width, channels)``, float32. All but the batch must be
            known.
        w: tensor of shape ``(kernel height, kernel width, channels / groups, filters)``, float32.
        p: at least 2; a number or a scalar tensor. The distance for ``inf`` is exact in float32.
        strides: pair of integers, in pixels.
        padding: ``"valid"`` or ``"same"``. With the latter the output has ``ceil(size / stride)``
            pixels, and zeros are padded as in ``keras.layers.Conv2D``.
        groups: number of groups that channels and filters are divided into, both in order. The
            filters of a group see the channels of that group.
        implementation: as in :func:`zoo.ops.lp_distance`.

    Returns:
        Tensor of shape ``(batch, output height, output width, filters)``, float32. Its gradient is
        that of :func:`zoo.ops.lp_distance`.

    Raises:
        ValueError: if the shapes do not fit, the kernel is larger than an unpadded image, ``p`` is
            a number below 2, or the padding or the implementation is unknown.

    Examples:
        >>> import numpy as np
        >>> from zoo.ops import lp_distance_conv
        >>> x = np.array([0.0, 1.0, 5.0], "float32").reshape(1, 1, 3, 1)
        >>> w = np.zeros((1, 2, 1, 1), "float32")
        >>> np.asarray(lp_distance_conv(x, w, p=float("inf"))).ravel().tolist()
        [1.0, 5.0]

    Reference:
        Zhang, Cai, Lu, He, Wang: Towards Certifying ℓ∞ Robustness using Neural Networks with
        ℓ∞-dist Neurons, ICML 2021, section 3 (the neuron) and 4 (its gradient).
    """
    x, w = ops.convert_to_tensor(x, "float32"), ops.convert_to_tensor(w, "float32")
    geometry = Geometry.of(x.shape, w.shape, strides, padding, groups)
    form = _form(implementation)
    # Reshaping makes a tensor of a variable. A custom gradient must not see TensorFlow variables.
    x, w = ops.reshape(x, (-1, *x.shape[1:])), ops.reshape(w, w.shape)
    return with_exponent(functools.partial(_distance, form, geometry), x, w, p)


# The cache has room for more layers than a network has.
@functools.lru_cache(maxsize=256)
def _distance(form: _Form, geometry: "Geometry", exact: bool) -> Callable[..., Any]:
    forward, backward, _ = form

    # `forward` and `backward` are given p = inf as a number, and any other exponent as a tensor.
    @ops.custom_gradient
    def distance(x: Tensor, w: Tensor, *exponent: Tensor) -> Any:
        p = math.inf if exact else exponent[0]
        u, residual = forward(geometry, x, w, p)

        def gradient(upstream: Tensor) -> Any:
            gradients = backward(geometry, x, w, p, u, residual, upstream)
            return (*gradients, *map(ops.zeros_like, exponent))

        return u, gradient

    # Only the portable implementation contains loops.
    return traced_once(distance, on_jax=forward is _portable_conv_forward)


def linf_interval_conv(
    lower: Tensor,
    upper: Tensor,
    w: Tensor,
    *,
    strides: Sequence[int] = (1, 1),
    padding: Padding = "valid",
    groups: int = 1,
    implementation: ConvImplementation = "auto",
) -> tuple[Tensor, Tensor]:
    """Smallest and largest ``‖patch − w[…, f]‖_∞`` over the images ``lower ≤ z ≤ upper``.

    Each output attains both, though not all outputs in the same image. Padded pixels are zeros in
    every image.

    Args:
        lower, upper: tensors of shape ``(batch, height, width, channels)``, float32,
            ``lower ≤ upper``.
        w: tensor of shape ``(kernel height, kernel width, channels / groups, filters)``, float32.
        strides, padding, groups, implementation: as in :func:`zoo.ops.lp_distance_conv`.

    Returns:
        ``(low, high)``, tensors of shape ``(batch, output height, output width, filters)``. Only
        the portable implementation has a gradient.

    Raises:
        ValueError: as :func:`zoo.ops.lp_distance_conv`.

    Examples:
        >>> import numpy as np
        >>> from zoo.ops import linf_interval_conv
        >>> lower, w = np.zeros((1, 3, 3, 1), "float32"), np.full((3, 3, 1, 1), 4.0, "float32")
        >>> [float(end[0, 0, 0, 0]) for end in linf_interval_conv(lower, lower + 1, w)]
        [3.0, 4.0]

    Reference:
        Interval bounds of the ℓ∞-distance neuron; Zhang et al., ICML 2021.
    """
    lower, upper, w = (ops.convert_to_tensor(a, "float32") for a in (lower, upper, w))
    if tuple(lower.shape) != tuple(upper.shape):
        raise ValueError(
            "lower and upper must have the same shape, "
            f"got {tuple(lower.shape)} and {tuple(upper.shape)}"
        )
    geometry = Geometry.of(lower.shape, w.shape, strides, padding, groups)
    interval = _interval(_form(implementation), geometry)
    return tuple(interval(lower, upper, ops.reshape(w, w.shape)))


@functools.lru_cache(maxsize=256)
def _interval(form: _Form, geometry: "Geometry") -> Callable[..., Any]:
    *_, interval = form
    portable = interval is _portable_interval
    return traced_once(functools.partial(interval, geometry), on_jax=portable)


@dataclasses.dataclass(frozen=True)
class Geometry:
    """The geometry of a convolution: which pixels each output position sees.

    Args:
        size: ``(height, width)`` of the images.
        channels, filters: number of channels and of filters in all groups together.
        kernel_size, strides: ``(height, width)``.
        padding: ``"valid"`` or ``"same"``.
        groups: number of groups that channels and filters are divided into.
    """

    size: tuple[int, ...]
    channels: int
    filters: int
    kernel_size: tuple[int, ...]
    strides: tuple[int, ...]
    padding: Padding
    groups: int

    @classmethod
    def of(
        cls, x: BatchShape, w: BatchShape, strides: Sequence[int], padding: Padding, groups: int
    ) -> "Geometry":
        """The geometry of a convolution with the given shapes of images and kernel.

        Raises:
            ValueError: if they do not fit.
        """
        x, w = tuple(x), tuple(w)
        if len(x) != 4 or len(w) != 4:
            raise ValueError(
                "expected images of shape (batch, height, width, channels) and a kernel of shape "
                f"(height, width, channels / groups, filters), got {x} and {w}"
            )
        if None in x[1:]:
            raise ValueError(f"height, width and channels of the images must be known, got {x}")
        checks.one_of(("valid", "same"))(padding, "padding")
        if x[3] % groups or w[3] % groups:
            raise ValueError(
                f"groups = {groups} must divide the {x[3]} channels and the {w[3]} filters"
            )
        if x[3] != w[2] * groups:
            raise ValueError(
                f"a kernel of shape {w} in {groups} group(s) sees {w[2] * groups} channels, "
                f"the images have {x[3]}"
            )
        if padding == "valid" and (w[0] > x[1] or w[1] > x[2]):
            raise ValueError(
                f"a kernel of {w[0]} × {w[1]} pixels does not fit into images of "
                f"{x[1]} × {x[2]} without padding"
            )
        return cls(x[1:3], x[3], w[3], w[:2], tuple(strides), padding, groups)

    @property
    def _windows(self) -> Windows:
        return Windows(self.size, self.kernel_size, self.strides, self.padding)

    @property
    def output(self) -> tuple[int, ...]:
        """``(height, width)`` of the output."""
        return tuple(self._windows.counts)

    @property
    def pads(self) -> tuple[tuple[int, int], ...]:
        """``((top, bottom), (left, right))``, the numbers of zeros around the images."""
        return tuple(self._windows.margins)

    @property
    def inputs(self) -> int:
        """The number of entries in a patch of one group."""
        return self.kernel_size[0] * self.kernel_size[1] * self.channels // self.groups

    def taps(
        self, first: int = 0, last: int | None = None
    ) -> Iterator[tuple[int, int, slice, slice]]:
        """The pixels under each entry of the kernel, for the output rows ``first … last − 1``.

        Yields:
            ``(i, j, rows, columns)``: the place in the kernel, and two slices of the padded images.
        """
        last = self.output[0] if last is None else last
        height, width = self.strides
        for i in range(self.kernel_size[0]):
            rows = slice(i + first * height, i + (last - 1) * height + 1, height)
            for j in range(self.kernel_size[1]):
                yield i, j, rows, slice(j, j + (self.output[1] - 1) * width + 1, width)

    def divided(self) -> Iterator[tuple[slice, slice]]:
        """Yields ``(channels, filters)`` for each group: the slices that belong to it."""
        channels, filters = self.channels // self.groups, self.filters // self.groups
        for k in range(self.groups):
            yield (
                slice(k * channels, (k + 1) * channels),
                slice(k * filters, (k + 1) * filters),
            )

    def tile(self) -> tuple[int, int]:
        """``(images, output rows)`` of a tile, which is several whole images or a part of one."""
        height, width = self.output
        # A position holds a patch and its distances; the larger of the two counts.
        bytes_each = 4 * max(self.inputs, self.filters // self.groups, _SHORTEST_ROW)
        rows = max(1, TILE_BYTES // (bytes_each * width))
        return max(1, rows // height), min(rows, height)


def _numba_forward(geometry: Geometry, x: Tensor, w: Tensor, p: Tensor) -> list[Tensor]:
    from zoo.ops import lp_distance_conv_numba as kernels

    forward, _, _ = kernels.on_host(geometry)
    shape = (x.shape[0], *geometry.output, geometry.filters)
    record = (*shape, kernels.words(geometry.inputs))
    return on_host(forward, [x, w], p, [], [(shape, "float32"), (record, "int32")])


def _numba_backward(
    geometry: Geometry, x: Tensor, w: Tensor, p: Tensor, u: Tensor, counted: Tensor, g: Tensor
) -> list[Tensor]:
    from zoo.ops import lp_distance_conv_numba as kernels

    _, backward, _ = kernels.on_host(geometry)
    shapes = [(x.shape, "float32"), (w.shape, "float32")]
    return on_host(backward, [x, w], p, [u, counted, g], shapes)


def _numba_interval(
    geometry: Geometry, lower: Tensor, upper: Tensor, w: Tensor
) -> tuple[Tensor, ...]:
    from zoo.ops import lp_distance_conv_numba as kernels

    _, _, interval = kernels.on_host(geometry)
    shape = (lower.shape[0], *geometry.output, geometry.filters)
    return tuple(host_call(interval, [lower, upper, w], [(shape, "float32")] * 2))


def _of_patches(
    distance: Callable[..., Any], geometry: Geometry, x: Tensor, w: Tensor, p: Tensor
) -> tuple[Tensor, ...]:
    parts = [
        distance(patches, kernel, p)
        for patches, kernel in zip(_patches(geometry, x), _rows(geometry, w), strict=True)
    ]
    return tuple(_positions(geometry, ops.concatenate(a, -1)) for a in zip(*parts, strict=True))


def _unrolled_conv_forward(
    geometry: Geometry, x: Tensor, w: Tensor, p: Tensor
) -> tuple[Tensor, ...]:
    """As :func:`_portable_conv_forward` without a loop: all images, and few filters at a time."""
    patches = _IMAGES_OF_UNKNOWN_BATCH * math.prod(geometry.output)
    distance = functools.partial(_unrolled_forward, batch=patches)
    return _of_patches(distance, geometry, x, w, p)


def _portable_conv_forward(
    geometry: Geometry, x: Tensor, w: Tensor, p: Tensor
) -> tuple[Tensor, ...]:
    def block(x: Tensor) -> tuple[Tensor, ...]:
        return _of_patches(_portable_forward, geometry, x, w, p)

    size = _images_at_once(geometry, x)
    return tuple(_joined(a, x) for a in ops.map(block, _blocks(x, size)))


def _portable_conv_backward(
    geometry: Geometry, x: Tensor, w: Tensor, p: Tensor, u: Tensor, total: Tensor, g: Tensor
) -> tuple[Tensor, Tensor]:
    def block(arrays: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        x, u, total, g = arrays
        u, total, g = (ops.reshape(a, (-1, geometry.filters)) for a in (u, total, g))
        dx, dw = [], []
        groups = zip(_patches(geometry, x), _rows(geometry, w), geometry.divided(), strict=True)
        for patches, kernel, (_, filters) in groups:
            of_group = (a[:, filters] for a in (u, total, g))
            d_patches, d_kernel = _portable_backward(patches, kernel, p, *of_group)
            dx.append(_scattered(geometry, d_patches))
            dw.append(ops.transpose(d_kernel))
        return ops.concatenate(dx, -1), ops.concatenate(dw, -1)

    size = _images_at_once(geometry, x)
    # The images that pad a block have the upstream gradient g = 0.
    arrays = tuple(_blocks(images, size) for images in (x, u, total, g))
    # This holds one gradient of the kernel per tile, which takes less memory than u unless a patch
    # has thousands of entries.
    dx, dw = ops.map(block, arrays)
    return _joined(dx, x), ops.reshape(ops.sum(dw, axis=0), w.shape)


def _portable_interval(
    geometry: Geometry, lower: Tensor, upper: Tensor, w: Tensor
) -> tuple[Tensor, ...]:
    def block(ends: Sequence[Tensor]) -> tuple[Tensor, ...]:
        lower, upper = (_patches(geometry, end) for end in ends)
        parts = [
            linf_interval(*rows, implementation="portable")
            for rows in zip(lower, upper, _rows(geometry, w), strict=True)
        ]
        return tuple(_positions(geometry, ops.concatenate(a, -1)) for a in zip(*parts, strict=True))

    size = _images_at_once(geometry, lower)
    ends = ops.map(block, (_blocks(lower, size), _blocks(upper, size)))
    return tuple(_joined(end, lower) for end in ends)


def _patches(geometry: Geometry, x: Tensor) -> list[Tensor]:
    """The patches of each group, ``(positions, inputs)``."""
    x = ops.pad(x, ((0, 0), *geometry.pads, (0, 0)))
    return [
        ops.reshape(
            ops.concatenate(
                [x[:, rows, columns, channels] for _, _, rows, columns in geometry.taps()], -1
            ),
            (-1, geometry.inputs),
        )
        for channels, _ in geometry.divided()
    ]


def _scattered(geometry: Geometry, patches: Tensor) -> Tensor:
    """The sum of each pixel's entries in all patches of one group: the adjoint of _patches."""
    (height, width), (down, right) = geometry.output, geometry.strides
    (top, _), (left, _) = geometry.pads
    rows = max(height * down + geometry.kernel_size[0] - 1, geometry.size[0] + top)
    columns = max(width * right + geometry.kernel_size[1] - 1, geometry.size[1] + left)
    channels = geometry.channels // geometry.groups
    patches = ops.reshape(patches, (-1, height, width, geometry.inputs))
    total: Any = 0.0
    for tap, (i, j, _, _) in enumerate(geometry.taps()):
        part = patches[..., tap * channels : (tap + 1) * channels]
        # Zeros are inserted for the pixels that the stride skips.
        part = ops.reshape(part, (-1, height, 1, width, 1, channels))
        part = ops.pad(part, ((0, 0), (0, 0), (0, down - 1), (0, 0), (0, right - 1), (0, 0)))
        part = ops.reshape(part, (-1, height * down, width * right, channels))
        after = (rows - i - height * down, columns - j - width * right)
        total = total + ops.pad(part, ((0, 0), (i, after[0]), (j, after[1]), (0, 0)))
    return total[:, top : top + geometry.size[0], left : left + geometry.size[1]]


def _rows(geometry: Geometry, w: Tensor) -> list[Tensor]:
    """The filters of each group, ``(filters / groups, inputs)``."""
    rows = ops.transpose(ops.reshape(w, (geometry.inputs, geometry.filters)))
    return [rows[filters] for _, filters in geometry.divided()]


def _positions(geometry: Geometry, u: Tensor) -> Tensor:
    return ops.reshape(u, (-1, *geometry.output, geometry.filters))


def _images_at_once(geometry: Geometry, x: Tensor) -> int:
    if x.shape[0] is None:
        batch = _IMAGES_OF_UNKNOWN_BATCH
    else:
        # JAX cannot pad a batch of unknown size to whole tiles, so it takes one image at a time.
        batch = max(1, x.shape[0]) if isinstance(x.shape[0], int) else 1
    return min(batch, geometry.tile()[0])


def _blocks(images: Tensor, size: int) -> Tensor:
    """Reshape images to ``(blocks, size, …)``, padded at the end, with at least one block."""
    count = ops.shape(images)[0]
    # An empty batch is padded to one block, because a map over nothing has no output shape.
    missing = 0 if size == 1 else -count % size
    missing = size if images.shape[0] == 0 else missing
    filled = ops.pad(images, ((0, missing), (0, 0), (0, 0), (0, 0)))
    return ops.reshape(filled, (-1, size, *images.shape[1:]))


def _joined(blocks: Tensor, like: Tensor) -> Tensor:
    return ops.reshape(blocks, (-1, *blocks.shape[2:]))[: ops.shape(like)[0]]


def _form(implementation: ConvImplementation) -> _Form:
    if implementation == "auto":
        implementation = "numba" if numba_available() else "portable"
    if implementation not in _FORMS:
        raise ValueError(
            f"implementation must be 'auto', 'numba' or 'portable', got {implementation!r}"
        )
    if implementation == "portable" and not has_loops():
        return (_unrolled_conv_forward, _portable_conv_backward, _portable_interval)
    return _FORMS[implementation]


_FORMS = {
    "numba": (_numba_forward, _numba_backward, _numba_interval),
    "portable": (_portable_conv_forward, _portable_conv_backward, _portable_interval),
}
