"""CPU form of :func:`zoo.ops.lp_distance_conv`: the kernels of ``lp_distance`` on tiles of patches.

Gathering an entry of a patch costs one copy, and adding its gradient back costs another. That is
little beside the distance terms of the entry, one for each filter of the group.
"""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.ops import lp_distance_numba as kernels
from zoo.ops.lp_distance_numba import words

if TYPE_CHECKING:
    from zoo.ops.lp_distance_conv import Geometry

__all__ = ["on_host", "words"]


@functools.cache
def on_host(
    geometry: "Geometry",
) -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    """Functions of NumPy arrays for a geometry.

    They are cached, because a graph that calls a new function has to be compiled again.

    Args:
        geometry: a :class:`zoo.ops.lp_distance_conv.Geometry`.

    Returns:
        ``(forward, backward, interval)``:

        * ``forward(x, w, p)`` gives the distances, and for each of them the record of
          ``lp_distance_numba.forward``.
        * ``backward(x, w, p, u, counted, g)`` gives the gradients of ``sum(g * u)`` with respect to
          ``x`` and ``w``.
        * ``interval(lower, upper, w)`` gives the smallest and the largest distance at ``p = inf``.
    """

    def forward(x, w, p):
        images, filters = _padded(geometry, x), _rows(w)
        u = np.empty((len(x), *geometry.output, geometry.filters), np.float32)
        counted = np.empty((*u.shape, words(geometry.inputs)), np.int32)
        for place, channels, own in _tiles(geometry, len(x)):
            patches = _gathered(geometry, images, place, channels)
            found = kernels.forward(patches, filters[own], p)
            _store(u, place, own, found[0])
            _store(counted, place, own, found[1])
        return u, counted

    def backward(x, w, p, u, counted, g):
        images, filters = _padded(geometry, x), _rows(w)
        dx, d_filters = np.zeros_like(images), np.zeros_like(filters)
        for place, channels, own in _tiles(geometry, len(x)):
            patches = _gathered(geometry, images, place, channels)
            of_tile = (_loaded(a, place, own) for a in (u, counted, g))
            d_patches, d_own = kernels.backward(patches, filters[own], p, *of_tile)
            _scatter(geometry, d_patches, dx, place, channels)
            d_filters[own] += d_own
        (top, _), (left, _) = geometry.pads
        height, width = geometry.size
        dx = dx[:, top : top + height, left : left + width]
        return np.ascontiguousarray(dx), np.ascontiguousarray(d_filters.T).reshape(w.shape)

    def interval(lower, upper, w):
        box, filters = [_padded(geometry, end) for end in (lower, upper)], _rows(w)
        ends = [np.empty((len(lower), *geometry.output, geometry.filters), np.float32) for _ in box]
        for place, channels, own in _tiles(geometry, len(lower)):
            low, high = (_gathered(geometry, images, place, channels) for images in box)
            for end, found in zip(ends, kernels.interval(low, high, filters[own]), strict=True):
                _store(end, place, own, found)
        return tuple(ends)

    return forward, backward, interval


def _tiles(geometry, batch):
    """Yields ``(place, channels, filters)`` of each tile and group: slices.

    A place is a pair of slices: of the images and of the output rows.
    """
    images, rows = geometry.tile()
    for b in range(0, batch, images):
        for y in range(0, geometry.output[0], rows):
            place = slice(b, min(batch, b + images)), slice(y, min(geometry.output[0], y + rows))
            for channels, own in geometry.divided():
                yield place, channels, own


def _padded(geometry, images):
    return np.pad(images, ((0, 0), *geometry.pads, (0, 0)))


def _rows(w):
    return np.ascontiguousarray(w.reshape(-1, w.shape[3]).T)


def _gathered(geometry, images, place, channels):
    """The patches of a tile as rows, ``(positions, inputs)``."""
    tile, rows = images[place[0]], place[1]
    shape = (len(tile), rows.stop - rows.start, geometry.output[1], *geometry.kernel_size)
    patches = np.empty((*shape, channels.stop - channels.start), np.float32)
    for i, j, ys, xs in geometry.taps(rows.start, rows.stop):
        patches[:, :, :, i, j] = tile[:, ys, xs, channels]
    return patches.reshape(-1, geometry.inputs)


def _scatter(geometry, patches, images, place, channels):
    """Add each entry of the patches to the pixel it came from."""
    tile, rows = images[place[0]], place[1]
    shape = (len(tile), rows.stop - rows.start, geometry.output[1], *geometry.kernel_size)
    patches = patches.reshape(*shape, -1)
    # One entry of the kernel is added at a time. For a single entry no two patches share a pixel,
    # so each pixel gets at most one term per addition.
    for i, j, ys, xs in geometry.taps(rows.start, rows.stop):
        tile[:, ys, xs, channels] += patches[:, :, :, i, j]


def _store(target, place, own, rows):
    part = target[*place, :, own]
    part[:] = rows.reshape(part.shape)


def _loaded(source, place, own):
    part = source[*place, :, own]
    # The array is made contiguous, because numba compiles separately for each memory layout.
    return np.ascontiguousarray(part).reshape(-1, *part.shape[3:])
