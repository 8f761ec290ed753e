"""Layers with a factor and an offset for each entry: normalisations and rescaling."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from zoo.bounds import batch_normalization
from zoo.bounds.rules.affine import AffineRule
from zoo.bounds.rules.constants import require_in_range
from zoo.bounds.rules.lipschitz_bound import UNKNOWN, LipschitzBound, with_flushing
from zoo.bounds.rules.rows import sizes
from zoo.bounds.rules.rule import Rule, refuse, register_rule
from zoo.bounds.window_rows import WindowRows
from zoo.ops.float32 import LARGEST, SMALLEST_NORMAL, sum_rounding
from zoo.ops.precision import float64
from zoo.typing import Array, Box, Shape, Tensor


class ScalingRule(AffineRule):
    def linear(self, tensor: Tensor) -> Tensor:
        return tensor * self.factor

    def absolute(self, tensor: Tensor) -> Tensor:
        return tensor * ops.abs(self.factor)

    def transposed(self, rows: Tensor) -> Tensor:
        return rows * self.factor

    def transposed_windows(self, rows: WindowRows) -> WindowRows:
        return dataclasses.replace(rows, values=rows.values * self.factor)

    def norms(self) -> tuple[float, float]:
        return self.largest, self.largest

    def _set(self, factor: Array, offset: Array, roundings: int) -> None:
        self.factor = ops.convert_to_tensor(factor, "float64")
        self.offset = ops.convert_to_tensor(offset, "float64")
        self.roundings = roundings
        # One factor for all pixels, or one for each channel.
        self.takes_windows = factor.size == 1 or factor.size == factor.shape[-1]
        self.largest = float(np.abs(factor).max())


@register_rule(keras.layers.BatchNormalization)
class BatchNormalizationRule(ScalingRule):
    limits = "over one axis"

    # Float32 may flush the factors to zero. Curvature bounds do not count that, so there are none.
    second_order = Rule.second_order

    def check(self) -> None:
        if self.layer.axis == 0:
            refuse(self.layer, "normalises over the batch")

    @property
    def over_channels(self) -> bool:
        """Whether the normalised axis is the last one."""
        return self.layer.axis in (-1, len(self.input_shape))

    def _along_axis(self, values: Array) -> Array:
        """An array with one entry for each place along the normalised axis."""
        shape = [1] * len(self.input_shape)
        shape[self.layer.axis - (1 if self.layer.axis > 0 else 0)] = -1
        return np.reshape(values, shape)

    def constant_factors(self) -> Array:
        # These are weights, but compilers multiply them with constants before and behind them. The
        # bounds count that float32 flushes a factor below its range, so that it may as well be 0.
        factors = batch_normalization.factors_of(self.layer)
        return factors[np.abs(factors) >= SMALLEST_NORMAL]

    def require_constants_in_range(self) -> None:
        # What the layer computes of factors that are out of range by themselves is counted.
        require_in_range(self, self.constant_factors(), alone=False)

    def prepare(self) -> None:
        self.require_constants_in_range()
        constants = batch_normalization.normalization_of(self.layer)
        size, flushed, mean = map(
            self._along_axis, (constants.size, constants.flushed, constants.mean)
        )
        self.size, self.flushed, self.mean = size, flushed, mean
        factor, shift = self._along_axis(constants.factor), self._along_axis(constants.shift)
        self._set(factor, shift, batch_normalization.ROUNDINGS)

    def rounding(self, boxes: Sequence[Box]) -> Tensor:
        # The terms of the shift may cancel, but their errors do not: `size` adds absolute values.
        size = sizes(boxes[0])
        error = self.error(boxes, self.absolute(size) + self.size) + self.offset_error(self.size)
        return error + self.flushed * (size + self.mean)

    def scale_and_errors(self, shape: Shape) -> tuple[Array, float, float]:
        """``(scale, flushed, offset)``: factors of the normalisation, and bounds of its errors.

        ``scale`` is an array with the factor of each channel. ``flushed`` bounds the error from
        factors that are flushed to zero, relative to the inputs. ``offset`` bounds the L2 norm of
        the error in what is added, for outputs of this shape. All three are infinite if an
        intermediate result may exceed float32's range.
        """
        self.require_constants_in_range()
        constants = batch_normalization.normalization_of(self.layer)
        if not np.isfinite(constants.size).all():
            return np.full_like(constants.factor, np.inf), math.inf, math.inf
        roundings = batch_normalization.ROUNDINGS + self.merged_roundings
        error = sum_rounding(roundings + self.offset_roundings) * constants.size
        error = error + constants.flushed * constants.mean
        repeats = math.prod(shape) / len(constants.factor)
        offset = float(np.linalg.norm(error)) * math.sqrt(repeats)
        return constants.factor, float(constants.flushed.max()), offset

    def lipschitz(self) -> LipschitzBound:
        scale, flushed, offset = self.scale_and_errors(self.input_shape)
        largest = float(np.abs(scale).max())
        roundings = batch_normalization.ROUNDINGS + self.merged_roundings
        if not np.isfinite(largest):
            return UNKNOWN
        per_size, entries = sum_rounding(roundings) * largest + flushed, math.prod(self.input_shape)
        terms = roundings + self.offset_roundings
        return with_flushing(
            largest, per_size, offset, terms=terms, entries=entries, weight=largest
        )

    def trained_scale(self) -> Tensor:
        """The factor of each channel, as a tensor that is differentiable in ``gamma``."""
        variance = ops.convert_to_tensor(self.layer.moving_variance)
        scale = ops.rsqrt(variance + self.layer.epsilon)
        return scale * self.layer.gamma if self.layer.scale else scale

    def estimate(self) -> Tensor:
        return ops.max(ops.abs(self.trained_scale()))


class _ConstantScalingRule(ScalingRule):
    """A layer whose factor and offset are settings, not trained weights."""

    limits = "constants and their products in a row within [1e-30, 1e30]"

    def settings(self) -> tuple[Array, Array, int]:
        """``(factor, offset, roundings)``: arrays that broadcast to the input, and an integer."""
        raise NotImplementedError

    def check(self) -> None:
        factor, offset, _ = self.settings()
        held = (np.abs(factor) < LARGEST).all() and (np.abs(offset) < LARGEST).all()
        if not (held and (np.abs(self.subtracted()) < LARGEST).all()):
            refuse(self.layer, "has a scale or an offset that float32 cannot hold")
        for name, part in (("a scale", factor), ("an offset", offset)):
            batch = np.shape(part)[: -len(self.input_shape)]
            if any(side != 1 for side in batch) or (batch and part is factor):
                refuse(self.layer, f"has {name} of shape {np.shape(part)} for {self.input_shape}")

    def subtracted(self) -> Any:
        """What is subtracted before the scaling: it may overflow there."""
        return 0.0

    def trained(self, tensor: Tensor) -> Tensor:
        return tensor * ops.convert_to_tensor(self.settings()[0], tensor.dtype)

    def estimate(self) -> Tensor:
        # A normalization may be adapted, or read from a file, after the network was wrapped.
        return ops.convert_to_tensor(np.abs(self.settings()[0]).max(), "float32")

    def constant_factors(self) -> Array | None:
        return self.settings()[0]

    def prepare(self) -> None:
        self.require_constants_in_range()
        factor, offset, roundings = self.settings()
        if factor.size == 1:
            self.isometry = abs(float(factor.reshape(-1)[0]))
        self._set(factor, offset, roundings)


@register_rule(keras.layers.Rescaling)
class RescalingRule(_ConstantScalingRule):
    def settings(self) -> tuple[Array, Array, int]:
        scale, offset = (
            np.asarray(part, np.float64) for part in (self.layer.scale, self.layer.offset)
        )
        # If channels come first, Keras reshapes the scale, but not the offset.
        if scale.ndim and keras.config.image_data_format() == "channels_first":
            scale = scale.reshape(scale.shape + (1,) * (3 - scale.ndim))
        # Four roundings: of scale and offset to float32, of the product and of the sum.
        return scale, offset, 4


@register_rule(keras.layers.Normalization)
class NormalizationRule(_ConstantScalingRule):
    """The layer computes ``(x - mean) / max(√variance, epsilon)``, or the inverse of that."""

    def check(self) -> None:
        if self.layer.mean.shape[0] != 1:
            refuse(self.layer, "has statistics of its own for each image of a batch")
        super().check()

    def subtracted(self) -> Any:
        return float64(self.layer.mean)

    def settings(self) -> tuple[Array, Array, int]:
        mean, variance = float64(self.layer.mean), float64(self.layer.variance)
        # The layer takes the larger of epsilon and the root, which is then about 1e-19.
        flushed = (variance > 0) & (variance < SMALLEST_NORMAL)
        if flushed.any() and keras.config.epsilon() ** 2 < SMALLEST_NORMAL:
            refuse(self.layer, "has a variance that float32 may flush to zero")
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            deviation = np.maximum(np.sqrt(variance), keras.config.epsilon())
            if self.layer.invert:
                # Nothing is divided here, so it does not matter if a tiny deviation is flushed.
                factor, offset = deviation, mean
            else:
                if (deviation < SMALLEST_NORMAL).any():
                    refuse(self.layer, "has a deviation that float32 may flush to zero")
                factor, offset = 1.0 / deviation, -mean / deviation
        # 12 bounds the roundings of the root, the quotient and the sums. The layer subtracts the
        # mean from the input before it divides.
        return factor[0], offset[0], 12
