"""Lipschitz-margin training of ordinary Keras networks."""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import keras
import numpy as np
from keras import ops

from zoo.bounds.liplt import LipLTNetwork
from zoo.bounds.lipschitz import LipschitzNetwork, lengths
from zoo.bounds.rules.lipschitz_bound import LipschitzBound
from zoo.certificates import CertifiedBatch, LogitCertificate
from zoo.certificates.lipschitz_network import logit_error, network_radii
from zoo.certificates.pairs import PAIRS
from zoo.losses import CalibratedMargin, CertifiedRadiusMaximization, LipschitzMargin
from zoo.losses.lipschitz_loss import LipschitzLoss
from zoo.models.base import of_this_model
from zoo.models.lipschitz_margin_networks import NETWORKS
from zoo.models.training_epsilon import TrainingEpsilon
from zoo.models.wrapped_model import WrappedModel
from zoo.ops import NormEstimate
from zoo.ops.float32 import sum_rounding
from zoo.papers import PAPERS
from zoo.typing import Array, Budget, Norm
from zoo.utils import checks

#: The Lipschitz constants from which the margin that training demands can be computed: that of
#: all logits together, or that of the difference of two logits for each pair of classes.
MARGINS = ("global", "pairwise")
#: How the Lipschitz constant is bounded: by the product of the layers' constants, or by LipLT.
CONSTANTS = {"product": LipschitzNetwork, "liplt": LipLTNetwork}


class _Variant(NamedTuple):
    title: str
    loss: Callable[..., LipschitzLoss]


#: The losses that the model can choose by default, by name as in ``zoo.papers.PAPERS``.
VARIANTS = {
    "lmt": _Variant("LMT", functools.partial(LipschitzMargin, variant="lmt")),
    "lc-lmt": _Variant("LC-LMT", functools.partial(LipschitzMargin, variant="lc-lmt")),
    "calibrated": _Variant("calibrated Lipschitz margin", CalibratedMargin),
    "crm": _Variant("certified radius maximisation", CertifiedRadiusMaximization),
}


@keras.saving.register_keras_serializable(package="zoo")
class LipschitzMarginNet(TrainingEpsilon, WrappedModel):
    """A Keras network, trained for margins that are large compared with its Lipschitz constant.

    Training estimates the Lipschitz constant from below by power iteration, which gradients can
    pass. The certificate computes upper bounds from the current weights: float64 singular values of
    dense layers, Fourier bounds of convolutions, with batch normalisation folded into the layer
    before it and sums of bounds at residual connections. For each image, the certificate accounts
    for the rounding errors of float32 sums of products in any order. It does not account for those
    of convolutions by Winograd's or Fourier's transform, which a GPU library may choose.

    Args:
        network: a ``keras.Sequential`` or functional model from images in [0, 1] to logits, of the
            layers in ``zoo.bounds.supported("lipschitz")``. It is not copied. Or the name of a
            function in :mod:`zoo.models.lipschitz_margin_networks` (``"mlp"``, ``"convnet"`` or
            ``"wide_resnet"``), with the keywords ``image_shape=(height, width, channels)`` and
            ``num_classes``; or a dictionary of the ``name`` and arguments of that function.
        epsilon: L2 budget that the default loss trains for, in units of the [0, 1] image.
        variant: the default loss. ``"lmt"`` or ``"lc-lmt"``: :class:`zoo.losses.LipschitzMargin`.
            ``"calibrated"``: :class:`zoo.losses.CalibratedMargin`. ``"crm"``:
            :class:`zoo.losses.CertifiedRadiusMaximization`.
        margin: the margin that training demands. ``"global"``, as published: ``√2 ε`` times the
            Lipschitz constant of the whole network. ``"pairwise"``, as in the certificate: for each
            pair of classes, ε times the Lipschitz constant of the difference of their logits, which
            is smaller.
        constant: how the Lipschitz constant is bounded, in training and in the certificate.
            ``"product"``: the product of the layers' constants. ``"liplt"``: a smaller bound for
            chains with increasing activations, see :class:`zoo.bounds.liplt.LipLTNetwork`.
        loss_options: further arguments of the default loss, by name; None for its defaults.

    Raises:
        TypeError, ValueError: if the network is not such a model, or an argument is out of range.
        zoo.UnsupportedLayerError: naming the first unsupported layer.

    Examples:
        >>> import keras, numpy as np, zoo
        >>> network = keras.Sequential([
        ...     keras.Input((8, 8, 1)), keras.layers.Conv2D(4, 3, activation="relu"),
        ...     keras.layers.Flatten(), keras.layers.Dense(10)])
        >>> model = zoo.models.LipschitzMarginNet(network, epsilon=0.5)
        >>> len(model.certify(np.zeros((3, 8, 8, 1))))
        3

    Reference:
        Tsuzuku, Sato, Sugiyama: Lipschitz-Margin Training, NeurIPS 2018; Ono, Takahashi, Kakizaki:
        Lightweight Lipschitz Margin Training, 2018.
    """

    #: ``pairwise``: the margin to each other class, divided by the Lipschitz constant of the
    #: difference of the two logits; the smallest of these is the radius.
    certificates = PAIRS["LipschitzMarginNet"]

    networks = NETWORKS

    def __init__(
        self,
        network: keras.Model | dict[str, Any] | str = "mlp",
        epsilon: Budget = 0.5,
        variant: Literal["lmt", "lc-lmt", "calibrated", "crm"] = "lc-lmt",
        *,
        margin: Literal["global", "pairwise"] = "global",
        constant: Literal["product", "liplt"] = "product",
        loss_options: Mapping[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        checks.one_of(VARIANTS)(variant, "variant")
        checks.one_of(MARGINS)(margin, "margin")
        checks.one_of(CONSTANTS)(constant, "constant")
        # The base class analyses the network, which depends on this setting.
        self._constant = constant
        super().__init__(network, **kwargs)
        self._iterates = True
        self.variant, self.margin = variant, margin
        # Numbers of NumPy could not be stored as JSON.
        self.loss_options = {
            name: value.item() if isinstance(value, np.generic) else value
            for name, value in (loss_options or {}).items()
        }
        self._vectors = [
            self.add_weight(
                name=name,
                shape=(1, *shape),
                initializer="random_normal",
                trainable=False,
                aggregation="mean",
            )
            for name, shape in self.analysis.vector_shapes.items()
        ]
        self.add_epsilon(epsilon)
        self.built = True
        self._own_loss()  # It raises if an option is wrong.

    def analyse(self, network: Any, /) -> LipschitzNetwork:
        return CONSTANTS[self._constant](network)

    @property
    def constant(self) -> str:
        """How the Lipschitz constant is bounded: a key of :data:`CONSTANTS`."""
        return self._constant

    @property
    def paper(self) -> str:
        return PAPERS[self.variant].reference

    @property
    def architecture(self) -> str:
        """A one-line description of the model, for listings."""
        steps = self.analysis.with_norms
        sizes = "-".join(str(step.rule.output_shape[-1]) for step in steps)
        if len(sizes) > 40:
            sizes = f"{len(steps)} layers with kernels"
        bound = ", LipLT" if self.constant == "liplt" else ""
        return f"{VARIANTS[self.variant].title}, {self.network.name} {sizes}{bound}"

    def compile(
        self,
        optimizer: Any = None,
        loss: Any = None,
        metrics: Any = ("accuracy",),
        **kwargs: Any,
    ) -> None:
        """Like the base class; a loss that lacks an estimate of the constant gets this model's."""
        if isinstance(loss, LipschitzLoss) and loss.lipschitz is None:
            # A copy, because the caller may compile another model with the same loss. Keras's own
            # copy is made of the configuration, which has numbers in the place of variables.
            given, loss = loss, object.__new__(type(loss))
            vars(loss).update(vars(given), lipschitz=self.estimate)
        super().compile(optimizer=optimizer, loss=loss, metrics=metrics, **kwargs)

    def compute_loss(self, *args: Any, training: bool = True, **kwargs: Any) -> Any:
        self._iterates = training
        try:
            return super().compute_loss(*args, training=training, **kwargs)
        finally:
            self._iterates = True

    def default_loss(self) -> Any:
        """The loss of the variant, with this network's estimate of the constant."""
        return of_this_model(self._own_loss())

    def _own_loss(self) -> LipschitzLoss:
        try:
            return VARIANTS[self.variant].loss(
                self.estimate, self._training_epsilon, **self.loss_options
            )
        except TypeError as error:
            raise TypeError(f"loss_options of the variant {self.variant!r}: {error}") from error

    def estimate(self) -> NormEstimate:
        """Estimate from below how fast two logits can move apart, for training only.

        Each call takes one step of power iteration for every norm. ``evaluate`` and the validation
        in ``fit`` do not store the result of theirs, so they leave the model as it is.

        Returns:
            :class:`zoo.ops.NormEstimate`, a scalar with ``margin="global"``, otherwise of shape
            ``(classes, classes)``.
        """
        # A product is a tensor on this device, even if the variable is mirrored on several devices.
        estimate, vectors = self.analysis.estimate(
            [vector * 1.0 for vector in self._vectors], pairwise=self.margin == "pairwise"
        )
        if self._iterates:
            for variable, vector in zip(self._vectors, vectors, strict=True):
                variable.assign(vector)
        return estimate

    def lipschitz(self) -> dict[str, float]:
        """Upper bounds of the L2 Lipschitz constants of all layers, computed in float64.

        Returns:
            Dictionary from the name of a layer to its bound, in the order in which the layers run;
            the second use of a layer is named like ``"dense #2"``. With ``constant="product"``, the
            bound of a chain is the product of its layers' bounds; the bound of a sum of branches is
            the sum of the branches' bounds.
        """
        bounded, (bounds, _, _) = self.derived()
        return bounded.by_layer(bounds)

    def network_lipschitz(self) -> float:
        """Upper bound of the L2 Lipschitz constant of all logits together, in float64."""
        _, (_, gains, _) = self.derived()
        return gains[-1]

    def certified_radius(self, x: Array, norm: Norm, method: str) -> CertifiedBatch:
        bounded, (bounds, gains, steepness) = self.derived()
        logits = ops.convert_to_numpy(self(x, training=False))
        images = self._pixels(ops.convert_to_tensor(x, "float32"))
        radius, per_class = network_radii(
            bounded, bounds, gains, steepness, logits, images, self._error_of_pixels
        )
        return CertifiedBatch(logits, radius, per_class=per_class)

    def logit_certificate(self) -> LogitCertificate:
        """The certificate as a function of the logits.

        It bounds float32's error from the size of the image alone, not from the intermediate
        tensors as :meth:`certify` does.

        Returns:
            :class:`zoo.certificates.LogitCertificate`. Because its error bound is larger, its radii
            are at most those of :meth:`certify`, up to rounding.
        """
        self.require_certifiable("logit_certificate")
        bounded, (bounds, gains, steepness) = self.derived()
        black = bounded.tensors(ops.zeros((1, *self.image_shape)))
        black = [lengths(tensor) for tensor in black]
        diameter = math.sqrt(math.prod(self.image_shape))

        def error_at(image_size: float) -> float:
            def size(place: int, error: Array) -> Array:
                return black[place] + 2.0 * error + gains[place] * image_size

            return float(logit_error(bounded, bounds, size, self._error_of_pixels)[0])

        # The error is an affine function of the image's size unless something overflows.
        none, most = math.inf, math.inf
        if np.isfinite(gains).all():
            none, most = error_at(0.0), error_at(diameter)
        return LogitCertificate(
            "l2",
            self.image_shape,
            num_classes=self.num_classes,
            lipschitz=gains[-1],
            steepness=steepness,
            error=none if np.isfinite(most) else np.inf,
            error_per_size=(most - none) / diameter if np.isfinite(most) else 0.0,
        )

    def derive_from(
        self, analysis: LipschitzNetwork
    ) -> tuple[list[LipschitzBound], list[float], Array]:
        """``(bounds, gains, steepness)``: bounds of steps, of parts of the network, and of pairs.

        ``gains[0]`` is for the image itself, ``gains[i]`` for the map from the image to the output
        of the i-th step. ``steepness`` is for the differences of logits.
        """
        bounds = analysis.bounds()
        gains = analysis.gains(bounds)
        return bounds, gains, analysis.steepness(bounds, gains)

    @property
    def _error_of_pixels(self) -> float:
        """Upper bound of the L2 norm of float32's error in the pixels of an image."""
        return sum_rounding(2) * math.sqrt(math.prod(self.image_shape))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "epsilon": str(self.epsilon),
            "variant": self.variant,
            "margin": self.margin,
            "constant": self.constant,
            "loss_options": self.loss_options,
        }
