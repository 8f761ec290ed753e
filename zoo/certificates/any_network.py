"""Certified radii for any Keras classifier whose layers have bounds."""

import warnings
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from zoo.bounds.model_state import drop_outdated_program, drop_predict_program
from zoo.bounds.valid_range import is_unit_range, numbers_of, require_within, valid_range_of
from zoo.certificates import Certificate, margin
from zoo.certificates.certificate import budgets_to_decide, per_class_of
from zoo.certificates.finished import warn_of_unfinished
from zoo.certificates.nan_logits import warn_of_nan
from zoo.certificates.network_bounds import NetworkBounds
from zoo.certificates.pairs import EXACT, METHODS
from zoo.models.base import CertifiedModel
from zoo.models.byte_inputs import refuse_byte_inputs
from zoo.models.logit_network import logit_network
from zoo.ops.precision import require_float32
from zoo.typing import Array, ArrayLike, Budget, NormLike
from zoo.utils import checks, inputs
from zoo.utils.backend import require_backend
from zoo.utils.deadline import time_is_up, time_limit
from zoo.utils.norms import norm_of
from zoo.utils.process import require_own_process
from zoo.utils.progress import track


def certify(
    model: Any,
    x: ArrayLike,
    *,
    norm: NormLike,
    method: str = "auto",
    valid_range: tuple[ArrayLike, ArrayLike] | None = (0.0, 1.0),
    batch_size: int = 256,
    verbose: int = 0,
    nearest: bool = False,
    eps: Budget | Sequence[Budget] | Array | None = None,
    per_class: bool = False,
    timeout: float | None = None,
) -> Certificate:
    """Certify your own Keras classifier: for each input, a radius that an attacker cannot break.

    Either interval bounds are propagated through the network layer by layer, or linear functions
    are propagated backwards from the logits to the input (CROWN), or a mixed-integer program finds
    the least margin of a small network of ReLUs. The bounds hold for every other
    class, for every input within the radius, and for the network as float32 computes it by sums of
    products in any order. They do not cover convolutions by Winograd's or Fourier's transform,
    which round differently and which a GPU's library may choose.

    Args:
        model: a built ``keras.Sequential`` or functional classifier whose layers have bounds, see
            :func:`zoo.bounds.supported`, and that ends in logits. A last softmax is left off, and a
            warning says so: it leaves the order of the classes as it is. So is a last sigmoid of
            one unit, the probability of class 1 of two classes; class 1 is predicted where it is
            above 0.5. For a model of the zoo, this calls the model's own ``certify``.
        x: inputs ``(n, *input_shape)``, as ``model.predict`` takes them: floats in ``valid_range``.
            They are rounded to float32, and so is every perturbed input that the radius covers.
            Integers are accepted for another range than [0, 1], and are not rescaled: Keras does
            not divide bytes by 255, and neither does this function. Or a data set, as for
            :meth:`zoo.models.CertifiedModel.certify`.
        norm: norm of the perturbation, ``"linf"`` or ``"l2"``; ``np.inf``, ``2`` and any case are
            accepted too.
        method: ``"crown"``, ``"crown-interval"``, ``"interval"``, or ``"exact"``, which is for
            small networks of ReLUs in ℓ∞. ``"auto"`` chooses ``"crown"``; ``"crown-interval"`` if
            ``"crown"`` would take more than about six seconds of a processor for an image; or
            ``"interval"`` if a layer has interval bounds only.
        valid_range: ``(low, high)``, the range of valid inputs, perturbed ones included: numbers,
            such as ``(0, 255)`` for a model that takes bytes, or arrays that broadcast to an input,
            such as the ends of each channel's range after a normalisation. Radii are in the units
            of this range. None means that all inputs are valid; radii are then at most 1e6.
        batch_size: number of inputs in one call of the model. The memory that the bounds take is
            limited independently of it.
        verbose: 1 shows a progress bar.
        nearest: True looks, by attacks, for the nearest input that is classified otherwise: see
            :func:`zoo.attacks.nearest`, which takes images in [0, 1].
        eps: budget or list of budgets, in units of the input: numbers, or strings such as
            ``"8/255"``. Given them, the certificate tells for each input whether it is certified at
            these budgets, and no more. Each budget needs one computation of the bounds,
            where the search for a radius needs up to ten.
        per_class: True looks for the radius against each class, too, the certificate's
            ``per_class``. This takes several times as long as the radius alone.
        timeout: seconds after which no further bounds are computed; None for no limit. What is
            proved by then is kept: an image that is not finished has the largest radius that was
            proved, or 0, and the certificate's ``finished`` is False for it. A warning says how
            many images are not finished. The bounds at one budget are not interrupted, so the call
            may exceed the limit while they are computed. Attacks of ``nearest`` come afterwards.

    Returns:
        :class:`zoo.certificates.Certificate` with ``n`` entries; radii are in units of the input.
        With ``eps``, its ``certified`` and ``accuracy`` take these budgets only.

    Raises:
        TypeError, ValueError: for a model or inputs that are not accepted, an unknown norm or
            method, and a model that computes in fewer bits than float32.
        zoo.UnsupportedLayerError: naming the first layer without bounds.
        NotImplementedError: if Keras runs on a backend other than TensorFlow and JAX.
        RuntimeError: in a process that was forked after the backend had been used.
        zoo.SoundnessError: if the network's logits are outside of the bounds that its layers' rules
            give, as where a rule of your own is wrong; with ``nearest=True``, if an input that is
            classified otherwise is within a radius.

    Examples:
        >>> import keras, numpy as np, zoo
        >>> model = keras.Sequential([
        ...     keras.Input((4, 4, 1)), keras.layers.Conv2D(4, 3, activation="relu"),
        ...     keras.layers.Flatten(), keras.layers.Dense(3)])
        >>> certificate = zoo.certify(model, np.full((2, 4, 4, 1), 0.5), norm="linf")
        >>> len(certificate), certificate.method
        (2, 'crown')

        Images that were normalised per channel, with the range that [0, 1] became:

        >>> mean, std = np.array([0.5]), np.array([0.25])
        >>> normalised = (np.full((2, 4, 4, 1), 0.5) - mean) / std
        >>> certificate = zoo.certify(
        ...     model, normalised, norm="linf", valid_range=((0 - mean) / std, (1 - mean) / std))

    Reference:
        Gowal et al., 2018 (interval bounds); Zhang et al., NeurIPS 2018 (CROWN); Zhang et al.,
        ICLR 2020 (interval bounds within CROWN).
    """
    unit_range = is_unit_range(valid_range)
    if isinstance(model, CertifiedModel):
        if not unit_range:
            raise ValueError(
                "models of the zoo take images in [0, 1], so valid_range must stay (0, 1)"
            )
        return model.certify(
            x,
            norm=norm,
            method=method,
            batch_size=batch_size,
            verbose=verbose,
            nearest=nearest,
            eps=eps,
            per_class=per_class,
            timeout=timeout,
        )
    require_backend()
    require_own_process()
    if checks.true_or_false(nearest, "nearest") and not unit_range:
        raise ValueError(
            f"nearest=True is for inputs in [0, 1], that is valid_range=(0, 1), got {valid_range!r}"
        )
    if nearest:
        from zoo.models.any_classifier import as_classifier

        as_classifier(model)  # before anything is certified: the attacks take images alone
    norm = norm_of(norm)
    budgets = budgets_to_decide(eps, per_class)
    timeout = None if timeout is None else checks.positive_number(timeout, "timeout")
    found = logit_network(model)
    if isinstance(model, keras.Model):
        require_float32(model)
    bounds = NetworkBounds(found.network)
    if method not in (*METHODS, EXACT, "auto"):
        raise ValueError(f"method must be 'auto' or one of {(*METHODS, EXACT)}, got {method!r}")
    method = bounds.methods[0] if method == "auto" else method
    bounds.require(norm, method)
    shape = model.input_shape[1:]
    limits = valid_range_of(valid_range, shape)
    x, y = inputs.read(x, rank=len(shape))
    if unit_range:
        _refuse_bytes(model, x)
    ends = numbers_of(limits)
    x = checks.images(x, shape, ends, integers="numbers")
    if limits is not None and ends is None:
        require_within(x, limits)
    if ends == (0.0, 255.0) and 0.0 < x.max(initial=0.0) <= 1.0:
        warnings.warn(
            "all inputs lie in [0, 1], which is a small part of valid_range=(0, 255); multiply "
            "images in [0, 1] by 255",
            UserWarning,
            stacklevel=2,
        )
    batch_size = checks.positive_integer(batch_size, "batch_size")
    # Afterwards model.predict computes what is certified, even if a setting was changed.
    drop_predict_program(model)
    drop_outdated_program(model, "test_function")
    if found.left_off:
        warnings.warn(_said_of(found.left_off, model), UserWarning, stacklevel=2)
    count = found.network.output_shape[-1]
    logits, radii, predicted = [np.zeros((0, count))], [np.zeros(0)], []
    of_classes, finished = [np.zeros((0, count))], [np.zeros(0, bool)]
    batches = [x[i : i + batch_size] for i in range(0, len(x), batch_size)]
    with time_limit(timeout):
        for batch in track(batches, "certifying", show=verbose):
            options = {"bounds": limits, "least_margin": found.least_margin}
            if budgets is None:
                of_batch = bounds.certified_radius(batch, norm, method, **options)
            else:
                of_batch = bounds.decided(batch, norm, method, budgets, **options)
            radius, classes = of_batch.radius, np.argmax(of_batch.logits, axis=1)
            done, by_class = of_batch.done, None
            if per_class:
                by_class = bounds.per_class(batch, of_batch, norm, method, **options)
                done = done & (not time_is_up())
            if found.left_off:
                # The prediction is the model's own, which may differ where two classes are about
                # equal.
                own = found.classes(model(batch, training=False))
                same = own == classes
                radius, classes = np.where(same, radius, 0.0), own
                if by_class is not None:
                    nothing = per_class_of(np.zeros(by_class.shape), np.zeros(len(own)), own)
                    by_class = np.where(same[:, None], by_class, nothing)
            if by_class is not None:
                of_classes.append(by_class)
            logits.append(of_batch.logits)
            radii.append(radius)
            predicted.append(classes)
            finished.append(done)
    certificate = Certificate(
        prediction=np.concatenate([np.zeros(0, np.int64), *predicted]).astype(np.int64),
        radius=np.concatenate(radii).astype(np.float32),
        margin=margin(np.concatenate(logits)).astype(np.float32),
        norm=norm,
        method=method,
        num_classes=logits[0].shape[1],
        labels=y,
        decided_at=None if budgets is None else tuple(map(str, budgets)),
        per_class=np.concatenate(of_classes).astype(np.float32) if per_class else None,
        finished=None if timeout is None else np.concatenate(finished),
    )
    warn_of_unfinished(certificate.finished, timeout)
    warn_of_nan(np.asarray(np.isnan(np.concatenate(logits)).any(axis=1)))
    if not nearest:
        return certificate
    from zoo import attacks

    distances = attacks.nearest(
        model, x, certificate.prediction, norm=norm, batch_size=batch_size, verbose=verbose
    )
    return certificate.with_nearest(distances)


def _said_of(left_off: str, model: keras.Model) -> str:
    if left_off == "sigmoid":
        return (
            f"{model.name!r} ends in one sigmoid, the probability of class 1, which is predicted "
            "where it is above 0.5. The certificate is of the two logits (0, z) before it"
        )
    return (
        f"{model.name!r} ends in a {left_off}, which leaves the order of the classes as it is. The "
        "certificate is of the logits before it"
    )


def _refuse_bytes(model: keras.Model, x: Array) -> None:
    """Raise if ``x`` or the model's first layers suggest pixels of 0 to 255, not of [0, 1]."""
    advice = (
        "pass pixels of 0 to 255 and valid_range=(0, 255); the radius is then in units of such a "
        "pixel"
    )
    if x.dtype.kind in "iub" and x.size:
        raise ValueError(
            f"x has dtype {x.dtype}, and inputs in [0, 1] were asked for. If the model was trained "
            f"on pixels in [0, 1], divide them by 255 first; if on integers of 0 to 255, {advice}"
        )
    refuse_byte_inputs(model, advice)
