"""Lipschitz-margin training of ordinary Keras networks: LMT and LC-LMT."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from zoo.bounds.model_state import state_of
from zoo.certificates import LogitCertificate, pairwise_radius, round_down
from zoo.certificates.layer_bounds import layer_bounds
from zoo.losses import LipschitzMargin
from zoo.losses.lipschitz_margin import VARIANTS
from zoo.models.base import CertifiedModel, of_this_model
from zoo.models.lipschitz_margin_networks import NETWORKS
from zoo.models.training_epsilon import TrainingEpsilon
from zoo.models.wrapped_network import (
    layers_under,
    network_from,
    require_images_to_logits,
    with_new_last_layer,
)
from zoo.ops import NormEstimate
from zoo.ops.precision import LARGEST, UNIT_ROUNDOFF, sum_rounding

#: What the margin that training asks for is made from.
MARGINS = ("global", "pairwise")
# Distances of two equal columns have no gradient.
_SMALLEST = 1e-12


@keras.saving.register_keras_serializable(package="zoo")
class LipschitzMarginNet(TrainingEpsilon, CertifiedModel):
    """Your own Keras network, trained for margins that its Lipschitz constant makes radii of.

    Training follows the constant by power iteration, an estimate from below that gradients flow
    through; the certificate takes upper bounds of the weights as they are: float64 singular values
    of dense layers, Fourier bounds of convolutions, batch normalisation folded in, sums at
    residual connections. Float32's own errors are counted for each image, of sums of products in
    any order; not of convolutions by way of Winograd's or Fourier's transform, which a library for
    GPUs may choose.

    Args:
        network: a ``keras.Sequential`` or functional model from images in [0, 1] to logits, of the
            layers in :data:`zoo.certificates.layer_bounds.SUPPORTED`. It is not copied. Or a
            table: ``name`` of a function in :mod:`zoo.models.lipschitz_margin_networks`, and its
            arguments.
        epsilon: L2 budget that the default loss trains for.
        variant: ``"lmt"`` or ``"lc-lmt"``, see :class:`zoo.losses.LipschitzMargin`.
        margin: that training asks for: ``"global"``, ``√2 ε`` times the constant of the whole
            network, as published; or ``"pairwise"``, for each pair of classes ε times the constant
            of the difference of their logits, less and as the certificate has it.

    Raises:
        TypeError, ValueError: if the network is no such model, or an argument is out of range.
        zoo.UnsupportedLayerError: naming the first layer without a bound, and what is supported.

    Example:

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

    #: ``pairwise``: the margin to each other class over the norm of the difference of weights.
    certificates = (("l2", "pairwise"),)

    fixed = ("image_shape", "num_classes", "network")

    def __init__(self, network, epsilon=0.5, variant="lc-lmt", *, margin="global", **kwargs):
        network = network_from(network, NETWORKS)
        bounds = layer_bounds(network)
        require_images_to_logits(network)
        super().__init__(network.input_shape[1:], network.output_shape[-1], **kwargs)
        for value, argument, known in (
            (variant, "variant", VARIANTS),
            (margin, "margin", MARGINS),
        ):
            if value not in known:
                raise ValueError(f"{argument} must be one of {known}, got {value!r}")
        self.network, self.variant, self.margin = network, variant, margin
        # Not to be tracked: the layers are the network's.
        self._bounds = tuple(bounds)
        self._vectors = [
            self.add_weight(
                name=f"{bound.layer.name}_vector_{index}",
                shape=(1, *bound.input_shape),
                initializer="random_normal",
                trainable=False,
                aggregation="mean",
            )
            for index, bound in enumerate(bounds)
            if bound.has_norm
        ]
        self.add_epsilon(epsilon)
        # Of the weights as they last were.
        self._constants: tuple[Any, Any] = (None, None)
        self.built = True

    @property
    def architecture(self):
        """One line for listings."""
        sizes = "-".join(str(b.layer.kernel.shape[-1]) for b in self._bounds if b.has_norm)
        if len(sizes) > 40:
            sizes = f"{sum(b.has_norm for b in self._bounds)} layers with kernels"
        return f"{self.variant.upper()}, {self.network.name} {sizes}"

    def call(self, inputs, training=False):
        return self.network(self._pixels(inputs), training=training)

    def compile(
        self,
        optimizer: Any = "adam",
        loss: Any = None,
        metrics: Any = ("accuracy",),
        **kwargs: Any,
    ) -> None:
        """As for every model; a LipschitzMargin without an estimate takes this network's."""
        if isinstance(loss, LipschitzMargin) and loss.lipschitz is None:
            loss.lipschitz = self.estimate
        super().compile(optimizer=optimizer, loss=loss, metrics=metrics, **kwargs)

    def default_loss(self):
        """:class:`zoo.losses.LipschitzMargin` of this network."""
        return of_this_model(LipschitzMargin(self.estimate, self._training_epsilon, self.variant))

    def estimate(self):
        """How fast two logits can move apart, from below: for training alone.

        Each call takes a step of power iteration for every kernel.

        Returns:
            :class:`zoo.ops.NormEstimate`, a scalar with ``margin="global"``, otherwise of shape
            ``(classes, classes)``.
        """
        vectors, gains = iter(self._vectors), [1.0]
        for bound in self._bounds:
            if bound.has_norm:
                vector = next(vectors)
                # The product is a tensor on this device, also of a variable mirrored on several.
                value, new = bound.estimate(vector * 1.0)
                vector.assign(new)
            else:
                value = bound.estimate()
            gains.append(value * sum(gains[place] for place in bound.inputs))
        if self.margin == "global" or self._head is None:
            return NormEstimate(math.sqrt(2.0) * gains[-1])
        columns = ops.transpose(ops.convert_to_tensor(self._head.layer.kernel))
        squares = ops.sum(ops.square(columns[:, None] - columns[None]), axis=-1)
        distances = ops.sqrt(ops.maximum(squares, _SMALLEST**2))
        return NormEstimate(gains[self._head.inputs[0]] * distances)

    def lipschitz(self):
        """Upper bounds of the L2 Lipschitz constants, layer by layer, in float64.

        Returns:
            Dictionary of layer name to bound, in the order they run; a name met again has a
            number, as in ``"dense #2"``. Along a chain they multiply; where branches are added, the
            products of the branches add up.
        """
        constants = self._layer_constants()
        bounds = zip(self._bounds, constants, strict=True)
        return {bound.name: found.lipschitz for bound, found in bounds}

    def network_lipschitz(self):
        """Upper bound of the L2 Lipschitz constant of all logits together, in float64."""
        return self._gains()[-1]

    def certified_radius(self, x, norm, method):
        gains = self._gains()
        tensors = self._tensors(x)
        logits = ops.convert_to_numpy(tensors[-1])
        if not np.isfinite(gains).all():
            return logits, np.zeros(len(logits), np.float32)
        sizes = [_lengths(tensor) for tensor in tensors]
        kernel, lipschitz = self._last_layer()
        # Two images in [0, 1] are no further apart.
        diameter = math.sqrt(math.prod(self.image_shape))
        reach = np.minimum(pairwise_radius(logits, kernel, lipschitz), diameter)

        def size(place, error):
            # Of the inputs as computed, of this image and of every one within reach.
            return sizes[place] + 2.0 * error + gains[place] * reach

        radius = pairwise_radius(logits, kernel, lipschitz, self._error(size))
        return logits, round_down(np.minimum(radius, diameter))

    def constants(self):
        """The certificate as a function of logits; float32's error is bounded from the image alone.

        Returns:
            :class:`zoo.certificates.LogitCertificate`. Its radii are smaller than those of
            :meth:`certify`, by what that error is larger; up to rounding never larger.
        """
        self.require_certifiable()
        gains = self._gains()
        black = [_lengths(tensor) for tensor in self._tensors(np.zeros((1, *self.image_shape)))]
        kernel, lipschitz = self._last_layer()
        diameter = math.sqrt(math.prod(self.image_shape))

        def error_at(image_size):
            def size(place, error):
                return black[place] + 2.0 * error + gains[place] * image_size

            return float(self._error(size)[0])

        # It is affine in the size, where nothing overflows.
        none, most = math.inf, math.inf
        if np.isfinite(gains).all():
            none, most = error_at(0.0), error_at(diameter)
        return LogitCertificate(
            "l2",
            self.image_shape,
            num_classes=self.num_classes,
            lipschitz=lipschitz,
            kernel=np.asarray(kernel, np.float32),
            error=none if np.isfinite(most) else np.inf,
            error_per_size=(most - none) / diameter if np.isfinite(most) else 0.0,
        )

    def _tensors(self, x):
        """What is computed at each place, the image first."""
        self._layer_constants()
        tensors = [self._pixels(ops.convert_to_tensor(x, "float32"))]
        for bound in self._bounds:
            tensors.append(bound.outputs([tensors[place] for place in bound.inputs]))
        return tensors

    def _last_layer(self):
        """``(kernel, lipschitz)``: of the logits, and of what they are made of."""
        gains = self._gains()
        if self._head is None:
            # Two of the network's own outputs.
            return np.eye(self.num_classes), gains[-1]
        return ops.convert_to_numpy(self._head.layer.kernel), gains[self._head.inputs[0]]

    def _error(self, size):
        """Bound of float32's error in a logit.

        Args:
            size: function of a place and the error so far: largest norm of what is computed there.

        Returns:
            float64 array, one for each image.
        """
        diameter = math.sqrt(math.prod(self.image_shape))
        errors = [np.full(1, sum_rounding(2) * diameter)]
        for bound, constant in zip(self._bounds, self._layer_constants(), strict=True):
            error, added, sums = 0.0, constant.offset, constant.sum_offset
            for place in bound.inputs:
                inputs = size(place, errors[place])
                error = error + constant.lipschitz * errors[place]
                added = added + constant.per_size * inputs
                sums = sums + constant.sum_per_size * inputs
            # `added / UNIT_ROUNDOFF` bounds the sums after a batch normalisation, and `sums` those
            # before it. If one could leave float32's range, the error is infinite and the radius 0.
            held = (added < LARGEST * UNIT_ROUNDOFF) & (sums < LARGEST)
            errors.append(error + np.where(held, added, np.inf))
        # Of all logits together; of two of them, c and j, |error c| + |error j| is √2 times that.
        return errors[-1] / math.sqrt(2.0)

    @property
    def feature_layers(self):
        return layers_under(self._head.layer if self._head else None, self.network)

    def with_new_head(self, num_classes):
        """The same features under an untrained head, to be fine-tuned.

        Args:
            num_classes: of the new head.

        Returns:
            A new model with a network of its own; this one is unchanged.

        Raises:
            ValueError: if the last layer is not a dense one without activation.
        """
        last = self._head.layer if self._head else None
        network = with_new_last_layer(self.network, last, num_classes)
        return type(self).from_config({**self.get_config(), "network": network})

    @property
    def _head(self):
        """The bound of the dense layer that the logits come from, if they do."""
        last = self._bounds[-1]
        is_head = isinstance(last.layer, keras.layers.Dense) and last.can_fold
        return last if is_head and len(last.input_shape) == 1 else None

    def _layer_constants(self):
        state = state_of(self.network)
        if self._constants[0] != state:
            # Layers can be changed after all; what is certified is what they are now.
            self._bounds = tuple(layer_bounds(self.network))
            self._constants = (state, [bound.constants() for bound in self._bounds])
        return self._constants[1]

    def _gains(self):
        """Upper bounds of the Lipschitz constants from the image to each place."""
        gains, found = [1.0], self._layer_constants()
        for bound, constants in zip(self._bounds, found, strict=True):
            gains.append(constants.lipschitz * sum(gains[place] for place in bound.inputs))
        return gains

    def get_config(self):
        config = super().get_config()
        # The network's own.
        del config["image_shape"], config["num_classes"]
        return {
            **config,
            "network": keras.saving.serialize_keras_object(self.network),
            "epsilon": str(self.epsilon),
            "variant": self.variant,
            "margin": self.margin,
        }


def _lengths(tensor):
    """L2 norms in float64, ``(n,)``."""
    array = ops.convert_to_numpy(tensor).astype(np.float64)
    return np.linalg.norm(array.reshape(len(array), -1), axis=1)
