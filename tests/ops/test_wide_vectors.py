"""The CPU kernels use the widest vector registers, and only they do."""

import numba
import numpy as np
import pytest

from zoo.ops import lp_distance_numba as kernels

ATTRIBUTE = '"prefer-vector-width"="512"'
MATRIX = numba.types.Array(numba.float32, 2, "C", readonly=True)


def compiled(function):
    """The LLVM code of a function of two matrices, compiled in the way of the kernels."""
    kernel = numba.njit(fastmath=True, parallel=True, error_model="numpy")(function)
    kernel.compile((MATRIX, MATRIX))
    return "".join(kernel.inspect_llvm().values())


@pytest.mark.integration
def test_the_loops_of_a_kernel_prefer_the_widest_registers():
    """Without the attribute LLVM uses half of each register on many processors with AVX-512."""
    assert ATTRIBUTE in compiled(kernels._forward_max.__wrapped__)


@pytest.mark.integration
def test_other_functions_of_the_process_are_compiled_as_before():
    def other(x, w):
        out = np.empty(len(x), np.float32)
        for b in numba.prange(len(x)):
            out[b] = np.max(np.abs(x[b] - w[b]))
        return out

    assert ATTRIBUTE not in compiled(other)
