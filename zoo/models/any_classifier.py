"""An ordinary Keras classifier, as attacks and evaluations take it."""

import types
from typing import Any

import keras
import numpy as np
from keras import ops

from zoo.bounds.graph import is_graph
from zoo.bounds.model_state import settings_of
from zoo.certificates.network_bounds import NetworkBounds
from zoo.errors import UnsupportedLayerError
from zoo.layers.dense import Dense
from zoo.models.base import CertifiedModel
from zoo.models.logit_network import logit_network
from zoo.models.wrapped_model import require_images_to_logits

# Rows of probabilities add up to 1 within this.
_TOLERANCE = 1e-3
# Images that are looked at to tell probabilities from logits.
_FEW = 8


class AnyClassifier(CertifiedModel):
    """A model of the zoo around a Keras classifier of any kind.

    Its certificates are those of :func:`zoo.certify`, and none for a network that has no bounds.

    Args:
        network: a Keras model from images in [0, 1] to logits or to probabilities.
        image_shape: ``(height, width, channels)``.
        num_classes: of the outputs.
        probabilities: whether the network ends in probabilities. Their logarithms are then taken
            for logits, which differ from the network's own by the same number for each class.
        least_margin: what a logit must be ahead by within a certified radius, see
            :class:`zoo.models.logit_network.LogitNetwork`.
        kwargs: of ``keras.Model``.
    """

    fixed = ("image_shape", "num_classes", "network", "probabilities", "least_margin")

    def __init__(
        self, network, image_shape, num_classes, probabilities=False, least_margin=0.0, **kwargs
    ):
        super().__init__(image_shape, num_classes, **kwargs)
        self.network = network
        self.probabilities = bool(probabilities)
        self.least_margin = float(least_margin)
        self.built = True

    def call(self, inputs, training=False):
        outputs = self.network(self._pixels(inputs, training), training=training)
        if not self.probabilities:
            return outputs
        if outputs.shape[1] == 1:
            outputs = ops.concatenate([1.0 - outputs, outputs], axis=1)
        return ops.log(ops.maximum(outputs, float(np.finfo(np.float32).tiny)))

    @property
    def certificates(self):
        """Those of :func:`zoo.certify`, of a network that it takes; else none."""
        if self.probabilities:
            return ()
        try:
            return NetworkBounds(self.network).pairs
        except (TypeError, ValueError, UnsupportedLayerError):
            return ()

    def certified_radius(self, x, norm, method):
        return NetworkBounds(self.network).certified_radius(
            x, norm, method, least_margin=self.least_margin
        )

    def decided(self, x, norm, method, budgets):
        return NetworkBounds(self.network).decided(
            x, norm, method, budgets, least_margin=self.least_margin
        )

    def per_class_radius(self, x, norm, method, found):
        return NetworkBounds(self.network).per_class(
            x, found, norm, method, least_margin=self.least_margin
        )

    def _choose_certificate(self, norm, method):
        if self.probabilities:
            raise ValueError(
                "the network ends in probabilities, and bounds are of logits; let it end in a "
                "keras.layers.Softmax, or in a dense layer with the activation softmax, which are "
                "left off, or in logits"
            )
        NetworkBounds(self.network)  # says why there are none
        return super()._choose_certificate(norm, method)

    def get_config(self):
        return {
            **super().get_config(),
            "network": keras.saving.serialize_keras_object(self.network),
            "probabilities": self.probabilities,
            "least_margin": self.least_margin,
        }

    @classmethod
    def from_config(cls, config):
        network = keras.saving.deserialize_keras_object(config["network"])
        return cls(**{**config, "network": network})


def as_classifier(model: Any, x: Any = None) -> CertifiedModel:
    """A model of the zoo, or an :class:`AnyClassifier` around another Keras model.

    A last softmax, as a layer of its own or as the activation of a last dense layer, is left off,
    so that the network's own logits are attacked; and so is a last sigmoid of one unit, whose
    logits are ``(0, z)`` for the two classes. Where outputs are probabilities in another way, the
    logits are their logarithms: what was rounded to 0 or 1 is lost then, and gradients with it. A
    single output behind a sigmoid is the probability of the second of two classes.

    Args:
        model: a :class:`zoo.models.CertifiedModel`, or a ``keras.Model`` that takes images in
            [0, 1] to logits or probabilities: a ``keras.Sequential``, a functional model, or one of
            the user's own class that can be called with images.
        x: images ``(n, height, width, channels)``. The few first ones tell what a model of the
            user's own class returns. None if there are no images: a model of the user's own class
            must then have been called before.

    Raises:
        TypeError: if it is no Keras model.
        ValueError: if it does not take images in [0, 1] to one output for each class.

    Examples:
        >>> import keras, numpy as np
        >>> from zoo.models.any_classifier import as_classifier
        >>> model = keras.Sequential([
        ...     keras.Input((4, 4, 1)), keras.layers.Flatten(),
        ...     keras.layers.Dense(3, activation="softmax")])
        >>> x = np.full((1, 4, 4, 1), 0.5, "float32")
        >>> logits = as_classifier(model, x).logits(x)
        >>> np.allclose(keras.ops.softmax(logits), model(x), atol=1e-6)
        True
    """
    if isinstance(model, CertifiedModel):
        return model
    if not isinstance(model, keras.Model):
        raise TypeError(
            "model must be a model of the zoo, a zoo.models.CertifiedModel, or another Keras model "
            f"from images to logits or probabilities, got {type(model).__name__}"
        )
    if x is not None and x.dtype.kind != "f":
        raise ValueError(
            f"x has dtype {x.dtype}; an ordinary Keras model is attacked with images in [0, 1], so "
            "divide pixels of 0 to 255 by 255 first"
        )
    found = logit_network(model)  # with the weights that the model has now
    settings = settings_of(model) if model.built else None
    known = vars(model).get("_zoo_classifier")
    if (
        known is None
        or settings is None
        or known.settings != settings
        # The network is made anew whenever a setting changes, even if it then changes back.
        or known.classifier.network is not found.network
        or known.classifier.image_shape != _image_shape(model, x)
    ):
        classifier = _classifier(model, found, x)
        known = types.SimpleNamespace(settings=settings_of(model), classifier=classifier)
        # The classifier holds the model, which must not become its own part. So it is set past
        # Keras's tracking, and in a namespace, since Keras saves layers that it finds in a tuple.
        object.__setattr__(model, "_zoo_classifier", known)
    return known.classifier


def _classifier(model, found, x):
    if isinstance(model, keras.Sequential) and not model.built:
        raise ValueError("the model is not built: let it begin with a keras.Input")
    if _is_functional(model):
        require_images_to_logits(
            model,
            f"give images in [0, 1] to keras.Sequential([keras.Input({model.input_shape[1:]}), "
            "keras.layers.Rescaling(255), model]) instead",
        )
    shape = _image_shape(model, x)
    if len(shape) != 3 or None in shape:
        raise ValueError(
            "the model must take images (batch, height, width, channels), got images of shape "
            f"{shape}"
        )
    tried = np.zeros((0, *shape)) if x is None else x[:_FEW].astype(np.float32)
    if tried.shape[1:] != shape or not len(tried):
        tried = np.full((1, *shape), 0.5, np.float32)
    outputs = ops.convert_to_numpy(found.network(tried, training=False))
    if outputs.ndim == 2 and outputs.shape[1] == 1 and _ends_in_sigmoid(model):
        return _wrapped(found, shape, 2, True)
    if outputs.ndim != 2 or outputs.shape[1] < 2 or len(outputs) != len(tried):
        raise ValueError(
            "the model must end in one logit for each of two classes or more, or in one sigmoid "
            f"for two classes, but {len(tried)} images give {outputs.shape}"
        )
    probabilities = not _ends_in_logits(found) and _add_up_to_one(outputs)
    return _wrapped(found, shape, outputs.shape[1], probabilities)


def _wrapped(found, shape, num_classes, probabilities):
    # In float32 whatever the global policy is: the network's layers may be in float32 all the same.
    return AnyClassifier(
        found.network, shape, num_classes, probabilities, found.least_margin, dtype="float32"
    )


def _image_shape(model, x):
    """The shape of a model's images; where the model takes any number of pixels, that of ``x``."""
    if not _is_functional(model):
        return _shape_when_built(model) if x is None else tuple(x.shape[1:])
    shape = tuple(model.input_shape[1:])
    if x is None or x.ndim != 1 + len(shape):
        return shape
    return tuple(
        given if side is None else side for side, given in zip(shape, x.shape[1:], strict=True)
    )


def _shape_when_built(model):
    """The shape of the images that a model of the user's own class was first called with."""
    shape = (model.get_build_config() or {}).get("input_shape")
    if not isinstance(shape, (tuple, list)) or not all(isinstance(n, int) for n in shape[1:]):
        raise ValueError(
            f"a {type(model).__name__} does not tell the shape of its images before it is called; "
            "call it with a batch of images first"
        )
    return tuple(shape[1:])


def _ends_in_logits(found):
    """Whether the layers tell, without a look at outputs, that a network ends in logits."""
    if found.left_off:
        return True
    # Not the last one of `layers`: an operation such as `ops.softmax(x)` may follow it.
    last: Any = found.network.outputs[0]._keras_history[0] if is_graph(found.network) else None
    return type(last) in (keras.layers.Dense, Dense) and last.activation is keras.activations.linear


def _ends_in_sigmoid(model):
    """Whether the layers and operations of a model show that it ends in a sigmoid."""
    last = model.outputs[0]._keras_history[0] if _is_functional(model) else None
    of_layer = getattr(last, "activation", None) is keras.activations.sigmoid
    return of_layer or type(last).__name__ == "Sigmoid"


def _add_up_to_one(outputs):
    return outputs.min() >= 0 and np.abs(outputs.sum(axis=1) - 1.0).max() <= _TOLERANCE


def _is_functional(model):
    return hasattr(model, "inputs") and hasattr(model, "outputs") and bool(model.inputs)
