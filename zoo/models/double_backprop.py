"""Networks trained with a penalty on the L1 norm of their input gradients."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import keras
from keras import ops

from zoo.certificates import CertifiedBatch
from zoo.certificates.network_bounds import NetworkBounds
from zoo.epsilon import Epsilon
from zoo.losses import JacobianL1
from zoo.losses.worst_case import own_class
from zoo.models.base import of_this_model
from zoo.models.double_backprop_networks import NETWORKS
from zoo.models.wrapped_model import WrappedModel
from zoo.ops.gradients import input_gradient
from zoo.papers import PAPERS
from zoo.typing import Array, Budget, Norm, Tensor
from zoo.utils import checks


@keras.saving.register_keras_serializable(package="zoo")
class DoubleBackpropNet(WrappedModel):
    """A Keras network, trained with a penalty on the L1 norm of its input gradients.

    If ``epsilon`` is given, the network is also trained on an adversarial version of each image,
    made by one step of the fast gradient sign method, with the same label and the same penalty. The
    adversarial images and the penalty are computed with the network in inference mode (no dropout,
    moving statistics). The training by itself guarantees nothing: the certificate is the one of
    any Keras model, see :func:`zoo.certify`.

    Args:
        network: a ``keras.Sequential`` or functional model from images in [0, 1] to logits, of
            layers that :func:`zoo.certify` supports. It is not copied. Or the name of one of the
            paper's networks, ``"a"``, ``"b"`` or ``"c"``, with the keywords ``image_shape=(height,
            width, channels)`` and ``num_classes``; or a dictionary of the ``name`` and arguments.
        penalty_weight: weight of the penalty, not negative. The penalty is a sum over all entries
            of the gradients, so the published weight of 10 teaches the network only to be constant.
        form, outputs: as for :class:`zoo.losses.JacobianL1`.
        penalty_every: k: the penalty is computed for every k-th image of each batch only. In
            shuffled batches this is a cheaper estimate of the same mean.
        epsilon: ℓ∞ budget of the adversarial images, in units of the [0, 1] image; None or 0 trains
            on the original images only.
        label_smoothing: label smoothing of the default loss, in [0, 1).

    Raises:
        TypeError, ValueError: if the network is not such a model, or an argument is out of range.
        zoo.UnsupportedLayerError: naming the first unsupported layer.

    Examples:
        >>> import numpy as np, zoo
        >>> network = {"name": "c", "image_shape": (8, 8, 1), "num_classes": 10, "hidden": [16]}
        >>> model = zoo.models.DoubleBackpropNet(network, penalty_weight=0.01, epsilon=0.1)
        >>> model.compile("adam")
        >>> x, y = np.zeros((4, 8, 8, 1), "float32"), np.arange(4)
        >>> _ = model.fit(x, y, verbose=0)
        >>> len(model.certify(x, norm="linf"))
        4

    Reference:
        Seck, Loosli, Canu: L1-norm double backpropagation adversarial defense, ESANN 2019.
    """

    networks = NETWORKS
    analyse = staticmethod(NetworkBounds)

    def __init__(
        self,
        network: keras.Model | dict[str, Any] | str = "c",
        penalty_weight: float = 0.01,
        *,
        form: Literal["full", "summed"] = "full",
        outputs: Literal["logits", "probabilities"] = "logits",
        penalty_every: int = 1,
        epsilon: Budget | None = None,
        label_smoothing: float = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(network, **kwargs)
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must lie in [0, 1), got {label_smoothing!r}")
        self.penalty_weight = checks.not_negative_number(penalty_weight, "penalty_weight")
        self.penalty = JacobianL1(form, outputs)
        self.penalty_every = checks.positive_integer(penalty_every, "penalty_every")
        self.epsilon = epsilon
        self.label_smoothing = float(label_smoothing)
        self.built = True

    @property
    def epsilon(self) -> Epsilon | None:
        """ℓ∞ budget of the adversarial images in training; an assigned one is used from now on."""
        return self._epsilon

    @epsilon.setter
    def epsilon(self, value: Budget | None) -> None:
        budget = Epsilon(0 if value is None else value, "epsilon")
        self._epsilon = budget if budget.exact else None
        self.inherits_epsilon = False
        self.renew_training_step()  # the compiled one holds the previous budget

    @property
    def certificates(self) -> tuple[tuple[Norm, str], ...]:
        """Those of :func:`zoo.certify` for this network; ``"exact"`` if it is small enough."""
        return NetworkBounds(self.network).pairs

    @property
    def paper(self) -> str:
        return PAPERS["double-backprop"].reference

    @property
    def architecture(self) -> str:
        """A one-line description of the model, for listings."""
        return f"L1 double backpropagation, {self.network.name}"

    def default_loss(self) -> Any:
        """The cross-entropy of labels and logits, with label smoothing."""

        def smoothed_cross_entropy(y_true: Tensor, y_pred: Tensor) -> Tensor:
            labels = own_class(y_true, y_pred)
            return keras.losses.categorical_crossentropy(
                labels, y_pred, from_logits=True, label_smoothing=self.label_smoothing
            )

        return of_this_model(smoothed_cross_entropy)

    def training_objective(
        self, x: Tensor, y: Tensor, y_pred: Tensor, loss_of: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """The compiled loss, averaged with that of the adversarial images, plus the penalty."""
        loss = loss_of(y_pred)
        images = self._pixels(x, training=True)

        def inference(image: Tensor) -> Tensor:
            # Said explicitly, because Keras's layers of augmentation would act otherwise.
            return self.network(image, training=False)

        penalised = images[:: self.penalty_every]
        if self.epsilon is not None:
            slope = input_gradient(lambda image: loss_of(inference(image)), images)
            adversarial = ops.clip(images + float(self.epsilon) * ops.sign(slope), 0.0, 1.0)
            adversarial = ops.stop_gradient(adversarial)
            loss = 0.5 * (loss + loss_of(self.network(adversarial, training=True)))
            penalised = ops.concatenate([penalised, adversarial[:: self.penalty_every]])
        if self.penalty_weight:
            loss = loss + self.penalty_weight * ops.mean(self.penalty(inference, penalised))
        return loss

    def certified_radius(self, x: Array, norm: Norm, method: str) -> CertifiedBatch:
        # The network is analysed again, because its layers may have been changed since.
        return NetworkBounds(self.network).certified_radius(x, norm, method)

    def decided(
        self, x: Array, norm: Norm, method: str, budgets: Sequence[Epsilon]
    ) -> CertifiedBatch:
        return NetworkBounds(self.network).decided(x, norm, method, budgets)

    def per_class_radius(self, x: Array, norm: Norm, method: str, found: CertifiedBatch) -> Array:
        return NetworkBounds(self.network).per_class(x, found, norm, method)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "penalty_weight": self.penalty_weight,
            "form": self.penalty.form,
            "outputs": self.penalty.outputs,
            "penalty_every": self.penalty_every,
            "epsilon": None if self.epsilon is None else str(self.epsilon),
            "label_smoothing": self.label_smoothing,
        }
