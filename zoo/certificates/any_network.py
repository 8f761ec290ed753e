"""Certified radii for any Keras classifier whose layers have bounds."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from zoo.bounds import Rule
from zoo.bounds.model_state import drop_outdated_program
from zoo.certificates import Certificate, margin
from zoo.certificates.network_bounds import METHODS, NetworkBounds
from zoo.models.base import CertifiedModel
from zoo.models.wrapped_model import LARGEST_BYTE_SCALE
from zoo.ops.precision import require_float32
from zoo.typing import Array, ArrayLike
from zoo.utils import checks, inputs
from zoo.utils.backend import require_backend
from zoo.utils.process import require_own_process
from zoo.utils.progress import track


def certify(
    model: Any,
    x: ArrayLike,
    *,
    norm: str,
    method: str = "auto",
    clip: bool | tuple[float, float] = True,
    batch_size: int = 256,
    verbose: int = 0,
    nearest: bool = False,
) -> Certificate:
    """Certify your own Keras classifier: for each input, a radius that an attacker cannot break.

    Either interval bounds are propagated through the network layer by layer, or linear functions
    are propagated backwards from the logits to the input (CROWN). The bounds hold for every other
    class, for every input within the radius, and for the network as float32 computes it by sums of
    products in any order. They do not cover convolutions by Winograd's or Fourier's transform,
    which round differently and which a GPU's library may choose.

    Args:
        model: a built ``keras.Sequential`` or functional classifier that ends in logits and whose
            layers have bounds, see :func:`zoo.bounds.supported`. For a model of the zoo, this calls
            the model's own ``certify``.
        x: inputs ``(n, *input_shape)``, as ``model.predict`` takes them: floats within the bounds
            that ``clip`` gives. They are rounded to float32, and so is every perturbed input that
            the radius covers. Integers are accepted if ``clip`` is a pair or False, and are not
            rescaled: Keras does not divide bytes by 255, and neither does this function. Or a data
            set, as for :meth:`zoo.models.CertifiedModel.certify`.
        norm: norm of the perturbation, ``"linf"`` or ``"l2"``.
        method: one of :data:`zoo.certificates.network_bounds.METHODS`, or ``"auto"``, which takes
            ``"crown"``; ``"crown-interval"`` if more than 4,096 hidden activations would make that
            slow; and ``"interval"`` if a layer has interval bounds only.
        clip: the range of valid inputs, perturbed ones included. True means [0, 1], and a pair such
            as ``(0, 255)``, for a model that takes bytes, gives another range. False means that
            all inputs are valid; radii are then at most 1e6.
        batch_size: number of inputs in one call of the model. The memory that the bounds take is
            limited independently of it.
        verbose: 1 shows a progress bar.
        nearest: True looks, by attacks, for the nearest input that is classified otherwise: see
            :func:`zoo.attacks.nearest`, which takes images in [0, 1].

    Returns:
        :class:`zoo.certificates.Certificate` with ``n`` entries; radii are in units of the input.

    Raises:
        TypeError, ValueError: for a model or inputs that are not accepted, an unknown norm or
            method, and a model that computes in fewer bits than float32.
        zoo.UnsupportedLayerError: naming the first layer without bounds, and the layers that have
            them.
        NotImplementedError: if Keras runs on a backend other than TensorFlow and JAX.
        RuntimeError: in a process that was forked after the backend had been used.

    Example:

    >>> import keras, numpy as np, zoo
    >>> model = keras.Sequential([
    ...     keras.Input((4, 4, 1)), keras.layers.Conv2D(4, 3, activation="relu"),
    ...     keras.layers.Flatten(), keras.layers.Dense(3)])
    >>> certificate = zoo.certify(model, np.full((2, 4, 4, 1), 0.5), norm="linf")
    >>> len(certificate), certificate.method
    (2, 'crown')

    Reference:
        Gowal et al., 2018 (interval bounds); Zhang et al., NeurIPS 2018 (CROWN); Zhang et al.,
        ICLR 2020 (interval bounds within CROWN).
    """
    if isinstance(model, CertifiedModel):
        if clip is not True:
            raise ValueError("models of the zoo take images in [0, 1], so clip must stay True")
        return model.certify(
            x, norm=norm, method=method, batch_size=batch_size, verbose=verbose, nearest=nearest
        )
    require_backend()
    require_own_process()
    if checks.true_or_false(nearest, "nearest") and clip is not True:
        raise ValueError(f"nearest=True is for inputs in [0, 1], that is clip=True, got {clip!r}")
    bounds = NetworkBounds(model)
    if norm not in ("linf", "l2"):
        raise ValueError(f"norm must be 'linf' or 'l2', got {norm!r}")
    if method not in (*METHODS, "auto"):
        raise ValueError(f"method must be 'auto' or one of {METHODS}, got {method!r}")
    method = bounds.methods[0] if method == "auto" else method
    bounds.require(method)
    limits = _bounds_of(clip)
    x, y = inputs.read(x, rank=len(model.input_shape) - 1)
    if clip is True:
        _refuse_bytes(bounds.rules, x)
    x = checks.images(x, model.input_shape[1:], limits, integers="numbers")
    batch_size = checks.positive_integer(batch_size, "batch_size")
    require_float32(model)
    for program in ("test_function", "predict_function"):
        # Afterwards model.predict computes what is certified, even if a setting was changed.
        drop_outdated_program(model, program)
    batches = [x[i : i + batch_size] for i in range(0, len(x), batch_size)]
    found = [
        bounds.certified_radius(batch, norm, method, limits)
        for batch in track(batches, "certifying", show=verbose)
    ]
    classes = model.output_shape[-1]
    logits = np.concatenate([np.zeros((0, classes)), *(part for part, _ in found)])
    radii = np.concatenate([np.zeros(0), *(part for _, part in found)])
    certificate = Certificate(
        prediction=np.argmax(logits, axis=1).astype(np.int64),
        radius=radii.astype(np.float32),
        margin=margin(logits).astype(np.float32),
        norm=norm,
        method=method,
        num_classes=classes,
        labels=y,
    )
    if not nearest:
        return certificate
    from zoo import attacks

    distances = attacks.nearest(
        model, x, certificate.prediction, norm=norm, batch_size=batch_size, verbose=verbose
    )
    return certificate.with_nearest(distances)


def _bounds_of(clip: Any) -> tuple[float, float] | None:
    """The range ``(low, high)`` of valid inputs, or None if all inputs are valid."""
    if clip is True or clip is False:
        return (0.0, 1.0) if clip else None
    try:
        low, high = (float(end) for end in clip)
    except (TypeError, ValueError):
        low = high = math.nan
    if not -math.inf < low < high < math.inf:
        raise ValueError(f"clip must be True, False or a pair (low, high), got {clip!r}")
    return low, high


def _refuse_bytes(rules: Sequence[Rule], x: Array) -> None:
    """Raise if ``x`` or the model's first layer suggests pixels of 0 to 255, not of [0, 1]."""
    advice = (
        "pass pixels of 0 to 255 and clip=(0, 255); the radius is then in units of such a pixel"
    )
    if x.dtype.kind in "iub" and x.size:
        raise ValueError(
            f"x has dtype {x.dtype}, and inputs in [0, 1] were asked for. If the model was trained "
            f"on pixels in [0, 1], divide them by 255 first; if on integers of 0 to 255, {advice}"
        )
    first = rules[0].layer
    largest = np.max(np.abs(first.scale)) if type(first) is keras.layers.Rescaling else np.inf
    if largest < LARGEST_BYTE_SCALE:
        raise ValueError(
            f"the model begins with the layer {first.name!r}, which multiplies by "
            f"{largest:.4g}, so it takes pixels of 0 to 255, not of [0, 1]; {advice}"
        )
