"""L2-nonexpansive networks: no layer increases the L2 distance between two inputs."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from zoo.bounds.lipschitz import LipschitzNetwork, lengths, trained_distances
from zoo.bounds.network_rules import rules_of_layers
from zoo.bounds.rules.lipschitz_bound import LipschitzBound
from zoo.certificates import CertifiedBatch, LogitCertificate
from zoo.certificates.lipschitz_network import network_radii
from zoo.certificates.pairs import PAIRS
from zoo.epsilon import Epsilon
from zoo.losses import CertifiedRadiusMaximization, ConfidenceGap, WorstCaseCrossEntropy
from zoo.models import l2_networks
from zoo.models.base import CertifiedModel, of_this_model
from zoo.ops import NormEstimate
from zoo.ops.float32 import sum_rounding
from zoo.ops.parametrizations import Parametrization
from zoo.papers import PAPERS
from zoo.typing import Array, ArrayLike, BatchShape, Budget, Norm, Tensor
from zoo.utils import checks

_LOSSES = ("confidence_gap", "cross_entropy", "crm")


@keras.saving.register_keras_serializable(package="zoo")
class L2NonexpansiveNet(CertifiedModel):
    """A network of layers that do not increase L2 distances, with a linear head.

    The Lipschitz constant of each layer is bounded in float64 from its current weights, so the
    guarantee survives fine-tuning. With ``parametrization="free"`` only the regularizer keeps these
    constants near 1, and larger constants mean smaller radii.

    The defaults of the arguments are those of the paper. Most shipped checkpoints have
    ``parametrization="orthogonal"``, ``activation="max_min"`` and ``loss="cross_entropy"`` instead.

    Without an argument ``loss``, ``compile`` uses the loss that is chosen here.

    Args:
        image_shape: ``(height, width, channels)``.
        num_classes: number of classes, at least 2.
        network: ``"convnet"`` or ``"resnet20"``, the published ones; ``"dense"``, three layers of
            1,024 units; or ``"shifted_windows"``, dense maps of windows of 2 × 2 pixels: see
            :mod:`zoo.models.l2_networks`.
        width: factor by which the published numbers of filters and units are multiplied.
        activation: ``"two_sided_relu"`` or ``"max_min"``.
        parametrization: parametrization of all kernels, see :class:`zoo.layers.NonexpansiveDense`.
        divide_before_convolution: see :class:`zoo.layers.NonexpansiveConv2D`.
        regularization: weight of :class:`zoo.losses.RowSumRegularizer` on every kernel.
        mean: mean of the pixels in [0, 1], a number or one per channel, which is subtracted from
            the image.
        loss: ``"confidence_gap"`` (:class:`zoo.losses.ConfidenceGap`, with trainable scales per
            class as well), ``"cross_entropy"`` (:class:`zoo.losses.WorstCaseCrossEntropy`) or
            ``"crm"`` (:class:`zoo.losses.CertifiedRadiusMaximization`).
        scale: factor on the logits in the loss; the scales of ``"confidence_gap"``, one for all
            classes and one for each class, start from this value. A smaller scale favours large
            margins over accuracy. A larger one lets the loss distinguish logits that hardly
            differ, such as those of a deep untrained network.
        train_scale: whether ``"confidence_gap"`` trains the scale of all classes too; it always
            trains those of each class. Where the logits can grow without limit, as with
            ``parametrization="free"``, trained scales can shrink until the cross-entropies no
            longer count and the third term alone is trained for. False prevents this.
        omega: weight of the third term of ``"confidence_gap"``.
        epsilon: L2 budget that ``"cross_entropy"`` trains for, and up to which ``"crm"`` enlarges
            radii, in units of the [0, 1] image.

    Raises:
        ValueError: naming the argument that is unknown or out of range.

    Examples:
        >>> import numpy as np, zoo
        >>> model = zoo.models.L2NonexpansiveNet((8, 8, 1), 10, width=0.125)
        >>> len(model.certify(np.zeros((3, 8, 8, 1))))
        3

    Reference:
        Qian, Wegman: L2-Nonexpansive Neural Networks, ICLR 2019.
    """

    #: ``pairwise``: the margin to each other class, divided by the Lipschitz constant of the
    #: difference of the two logits; the smallest of these is the radius.
    certificates = PAIRS["L2NonexpansiveNet"]

    fixed = ("image_shape", "num_classes", "hidden", "head", "mean")

    def __init__(
        self,
        image_shape: Sequence[int],
        num_classes: int,
        *,
        network: Literal["convnet", "resnet20", "dense", "shifted_windows"] = "convnet",
        width: float = 1.0,
        activation: Literal["two_sided_relu", "max_min"] = "two_sided_relu",
        parametrization: Parametrization = "row_sum",
        divide_before_convolution: bool = True,
        regularization: float = 0.0,
        mean: ArrayLike = 0.0,
        loss: Literal["confidence_gap", "cross_entropy", "crm"] = "confidence_gap",
        scale: float = 1.0,
        train_scale: bool = True,
        omega: float = 0.1,
        epsilon: Budget = 0.5,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape, num_classes, **kwargs)
        checks.one_of(l2_networks.NETWORKS)(network, "network")
        checks.one_of(l2_networks.ACTIVATIONS)(activation, "activation")
        checks.one_of(_LOSSES)(loss, "loss")
        self.network = network
        self.width = checks.positive_number(width, "width")
        self.activation = activation
        self.parametrization = parametrization
        self.divide_before_convolution = checks.true_or_false(
            divide_before_convolution, "divide_before_convolution"
        )
        self.regularization = checks.not_negative_number(regularization, "regularization")
        self.mean = checks.per_channel(mean, self.image_shape[-1], "mean")
        self.loss_name = loss
        self.scale = checks.positive_number(scale, "scale")
        self.train_scale = checks.true_or_false(train_scale, "train_scale")
        self.omega = checks.not_negative_number(omega, "omega")
        self.epsilon = epsilon
        settings = l2_networks.Settings(
            self.width,
            activation,
            parametrization,
            self.divide_before_convolution,
            self.regularization,
        )
        self.hidden = tuple(l2_networks.NETWORKS[network](self.image_shape, settings))
        self.head = settings.dense(self.num_classes, name="head")
        self._scale = self.add_weight(
            name="scale",
            shape=(),
            initializer=keras.initializers.Constant(self.scale),
            # With the cross-entropy a trainable scale would grow instead of the margins.
            trainable=self.train_scale and loss == "confidence_gap",
        )
        if loss == "confidence_gap":
            self._class_scales = self.add_weight(
                name="class_scales",
                shape=(self.num_classes,),
                initializer=keras.initializers.Constant(self.scale),
            )
        self.build((None, *self.image_shape))

    @property
    def epsilon(self) -> Epsilon:
        """L2 budget of the default loss; the next ``compile`` takes an assigned one."""
        return self._epsilon

    @epsilon.setter
    def epsilon(self, value: Budget) -> None:
        self._epsilon = Epsilon(value, "epsilon")
        self.inherits_epsilon = False

    def build(self, input_shape: BatchShape) -> None:
        for layer in [*self.hidden, self.head]:
            layer.build(input_shape)
            input_shape = layer.compute_output_shape(input_shape)
        self.built = True

    @property
    def paper(self) -> str:
        return PAPERS["l2nnn"].reference

    @property
    def architecture(self) -> str:
        """A one-line description of the model, for listings."""
        return f"L2-nonexpansive {self.network}, {self.parametrization}, width {self.width:g}"

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        z = self._normalised(inputs, training)
        for layer in self.hidden:
            z = layer(z)
        return self.head(z)

    def on_config_override(self, names: Iterable[str]) -> None:
        super().on_config_override(names)
        # The scales are weights too, so loading the weights has overwritten them.
        if "scale" in names:
            self._scale.assign(self.scale)
            if self.loss_name == "confidence_gap":
                self._class_scales.assign(ops.full((self.num_classes,), self.scale))

    @property
    def training_budget(self) -> Any:
        # "crm" enlarges radii up to epsilon, but need not certify many images there.
        return self.epsilon if self.loss_name == "cross_entropy" else None

    def default_loss(self) -> Any:
        """The loss that was chosen in the constructor, with the scales of this model."""
        if self.loss_name == "confidence_gap":
            loss = ConfidenceGap(self._class_scales, self._scale, omega=self.omega)
            return of_this_model(loss)
        if self.loss_name == "crm":
            loss = CertifiedRadiusMaximization(
                self._estimate, float(self.epsilon), scale=self.scale
            )
            return of_this_model(loss)
        # The loss assumes that two logits move apart by at most twice its budget. Within an L2
        # distance of ε, logits of a nonexpansive network move apart by √2 ε = 2 · (ε / √2).
        loss = WorstCaseCrossEntropy(float(self.epsilon) / math.sqrt(2.0), self._scale)
        return of_this_model(loss)

    def _estimate(self) -> NormEstimate:
        """How fast two logits can move apart, if no hidden layer increases distances."""
        return NormEstimate(trained_distances(ops.transpose(self.head.effective_kernel())))

    def lipschitz(self) -> dict[str, float]:
        """Upper bounds of the L2 Lipschitz constants of all layers, computed in float64.

        Returns:
            Dictionary from the name of a layer to its bound, in the order of the layers. Their
            product is a bound for the whole network; in place of the head's bound, the certificate
            uses the differences of the head's weights for each pair of classes.
        """
        return {layer.name: layer.lipschitz() for layer in [*self.hidden, self.head]}

    def logit_certificate(self) -> LogitCertificate:
        """The certificate as a function of the logits.

        Returns:
            :class:`zoo.certificates.LogitCertificate`.
        """
        self.require_certifiable("logit_certificate")
        return self.derived()[0]

    def derive(self) -> tuple[LogitCertificate, LipschitzNetwork, list[LipschitzBound]]:
        """The certificate as a function of the logits, and the layers with their bounds."""
        # A Keras model of the layers would call them once more, which changes their outputs.
        layers = [*self.hidden, self.head]
        network = LipschitzNetwork(rules_of_layers(layers, self.image_shape, "lipschitz"))
        bounds = network.bounds()
        offset, slope = (self._rounding(np.array([size]))[0] for size in (0.0, 1.0))
        if not self._stays_in_range(network, bounds):
            offset, slope = math.inf, math.inf
        certificate = LogitCertificate(
            "l2",
            self.image_shape,
            num_classes=self.num_classes,
            mean=np.asarray(self.mean),
            kernel=ops.convert_to_numpy(self.head.effective_kernel()),
            lipschitz=math.prod(layer.lipschitz() for layer in self.hidden),
            error=float(offset),
            error_per_size=float(slope - offset) if math.isfinite(slope) else 0.0,
        )
        return certificate, network, bounds

    def _stays_in_range(self, network: LipschitzNetwork, bounds: Sequence[LipschitzBound]) -> bool:
        """Whether no number of the network can leave float32's range, whatever the image."""
        mean = np.broadcast_to(np.asarray(self.mean, np.float64), self.image_shape)
        furthest = float(np.linalg.norm(np.maximum(np.abs(mean), np.abs(1.0 - mean))))
        gains = network.gains(bounds)
        of_mean = [lengths(tensor) for tensor in network.tensors(ops.zeros((1, *self.image_shape)))]

        def size(place: int, error: Array) -> Array:
            # A tensor is no longer than that of the mean image and what lies between the two.
            return of_mean[place] + 2.0 * error + gains[place] * furthest

        with np.errstate(over="ignore", invalid="ignore"):
            return bool(np.isfinite(network.errors(bounds, size, self._error_of_pixels)).all())

    def certified_radius(self, x: Array, norm: Norm, method: str) -> CertifiedBatch:
        logits = ops.convert_to_numpy(self(x, training=False))
        certificate, network, bounds = self.derived()
        # The error bound of `certificate` alone takes the longest tensors that there can be.
        radius, per_class = network_radii(
            network,
            bounds,
            network.gains(bounds),
            certificate.steepness_of_pairs(),
            logits,
            self._normalised(ops.convert_to_tensor(x, "float32")),
            self._error_of_pixels,
        )
        return CertifiedBatch(logits, radius, per_class=per_class)

    def export_model(self) -> keras.Model:
        return self.condense()

    def condense(self) -> keras.Model:
        """An ordinary Keras model with the same logits, for inference.

        The effective kernels are computed once. The model consists of Keras's own layers and
        operations, so that it can be loaded without this package. Its logits can be certified with
        :meth:`logit_certificate`.

        Returns:
            ``keras.Model`` of float images ``(batch, height, width, channels)`` in [0, 1].
        """
        inputs = keras.Input(self.image_shape)
        z = self._normalised(inputs)
        for layer in [*self.hidden, self.head]:
            z = layer.condensed(z)
        return keras.Model(inputs, z, name=self.name)

    def _normalised(self, inputs: Tensor, training: bool = False) -> Tensor:
        return self._pixels(inputs, training) - np.asarray(self.mean, self.compute_dtype)

    @property
    def _error_of_pixels(self) -> float:
        """Upper bound of the L2 norm of float32's error in the normalised pixels of an image."""
        # A normalised pixel has less than 4 roundings: its division by 255, that of the mean to
        # float32, and that of the difference.
        largest = 1.0 + np.abs(np.broadcast_to(self.mean, self.image_shape))
        return sum_rounding(4) * float(np.linalg.norm(largest))

    def _rounding(self, size: Array) -> Array:
        """Bounds of float32's error in a logit, for images no further from the mean than ``size``.

        The bound is an affine function of the size.
        """
        error = np.full_like(size, self._error_of_pixels)
        for layer in [*self.hidden, self.head]:
            size, error = layer.rounding(size, error)
        # `error` bounds the L2 norm of the errors e of all logits, so |e_c| + |e_j| ≤ √2 · error.
        # Certificates assume 2 · (the returned bound) for this sum: error / √2 suffices.
        return error / math.sqrt(2.0)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "network": self.network,
            "width": self.width,
            "activation": self.activation,
            "parametrization": self.parametrization,
            "divide_before_convolution": self.divide_before_convolution,
            "regularization": self.regularization,
            "mean": self.mean,
            "loss": self.loss_name,
            "scale": self.scale,
            "train_scale": self.train_scale,
            "omega": self.omega,
            "epsilon": str(self.epsilon),
        }
