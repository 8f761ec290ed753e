"""What the weight file of a checkpoint holds, found out without reading its arrays."""

import math
import os
import pathlib
from typing import Any, cast

from zoo.typing import Shape

# Arrays that unpack to more bytes than this must fill a fair part of it in the file.
_LARGE = 2**28
# gzip packs zeros a thousandfold, but weights of float32 at most some tens of times.
_LARGEST_RATIO = 100


def shapes_in(path: pathlib.Path) -> list[Shape]:
    """The shapes of all arrays in a weight file.

    Args:
        path: an HDF5 file.

    Raises:
        OSError: if it is no HDF5 file.
        ValueError: if the file refers to other files or to itself, holds anything other than
            arrays of numbers, or declares arrays that are far larger than the file.
    """
    import h5py

    shapes: list[Shape] = []
    declared = 0
    with h5py.File(path, "r") as file:
        rest: list[tuple[str, Any]] = [("", file)]
        seen = set()
        while rest:
            place, group = rest.pop()
            for name in group:
                inner = f"{place}/{name}"
                # A link to another file could read any HDF5 file of the user's.
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise ValueError(f"{inner} is a link, which a checkpoint may not hold")
                node = group[name]
                address = cast(Any, h5py).h5o.get_info(node.id).addr
                if address in seen:
                    raise ValueError(f"{inner} is in the file under another name as well")
                seen.add(address)
                if isinstance(node, h5py.Group):
                    rest.append((inner, node))
                    continue
                declared += _bytes_of(node, inner)
                shapes.append(node.shape)
    size = os.path.getsize(path)
    if declared > max(_LARGE, _LARGEST_RATIO * size):
        raise ValueError(f"it has {size} bytes but its arrays would unpack to {declared}")
    return shapes


def _bytes_of(node: Any, name: str) -> int:
    import h5py

    if not isinstance(node, h5py.Dataset) or node.shape is None or node.dtype.kind not in "fiub":
        raise ValueError(f"{name} is no array of numbers")
    if node.external or node.is_virtual:
        raise ValueError(f"{name} is stored in another file")
    return math.prod(node.shape) * node.dtype.itemsize
