"""Smooth networks that are trained for small curvature and certified by curvature bounds."""

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import keras
import numpy as np
from keras import ops

from zoo.bounds.curvature import Curvature, GlobalCurvature
from zoo.bounds.smooth_network import SmoothNetwork
from zoo.certificates import CertifiedBatch, round_down
from zoo.certificates.certificate import at_budgets, per_class_of
from zoo.certificates.curvature import deciding_radii, pairs_of
from zoo.certificates.curvature import radii as radii_of
from zoo.certificates.local_curvature import enlarged
from zoo.certificates.pairs import PAIRS
from zoo.epsilon import Epsilon
from zoo.losses.curvature import PairCurvature
from zoo.losses.worst_case import own_class
from zoo.models.base import of_this_model
from zoo.models.curvature_networks import NETWORKS
from zoo.models.training_epsilon import TrainingEpsilon
from zoo.models.wrapped_model import WrappedModel
from zoo.ops.float32 import LARGEST
from zoo.ops.gradients import input_gradient
from zoo.papers import PAPERS
from zoo.typing import Array, ArrayLike, Budget, Norm, Tensor
from zoo.utils import checks, inputs


@keras.saving.register_keras_serializable(package="zoo")
class CurvatureNet(TrainingEpsilon, WrappedModel):
    """A smooth Keras network, trained adversarially in an L2 ball with a penalty on its curvature.

    The adversarial training, the penalty and the certificate use bounds of the Hessians of
    ``f_c − f_j``, the differences of two logits. Training estimates the published bounds from below
    by power iteration; the certificate computes sound bounds from the current weights, which are
    tighter if there are several hidden layers.

    Args:
        network: a ``keras.Sequential`` or functional model from images in [0, 1] to logits: a chain
            of the layers in ``zoo.bounds.supported("curvature")`` that ends in a dense layer
            without activation. It is not copied. Or the name of a function in
            :mod:`zoo.models.curvature_networks` (``"mlp"`` or ``"convnet"``), with the keywords
            ``image_shape=(height, width, channels)`` and ``num_classes``; or a dictionary of the
            ``name`` and arguments of that function.
        epsilon: radius ρ of the L2 ball in which training searches for worst points, in units of
            the [0, 1] image; None or 0 trains on the images themselves.
        penalty_weight: weight γ of the penalty, which is the mean of the curvature bounds of all
            pairs of classes; not negative.
        attack_steps: number of steps of the search for a worst point.

    Raises:
        TypeError, ValueError: if the network is not such a model, or an argument is out of range.
        zoo.UnsupportedLayerError: naming the first unsupported layer.

    Examples:
        >>> import numpy as np, zoo
        >>> network = {"name": "mlp", "image_shape": (8, 8, 1), "num_classes": 10, "hidden": [16]}
        >>> model = zoo.models.CurvatureNet(network, epsilon=0.5)
        >>> model.compile("adam")
        >>> x, y = np.zeros((4, 8, 8, 1), "float32"), np.arange(4)
        >>> _ = model.fit(x, y, verbose=0)
        >>> len(model.certify(x))
        4

    Reference:
        Singla, Feizi: Second-Order Provable Defenses against Adversarial Attacks, ICML 2020.
    """

    certificates = PAIRS["CurvatureNet"]

    networks = NETWORKS
    analyse = staticmethod(SmoothNetwork)

    def __init__(
        self,
        network: keras.Model | dict[str, Any] | str = "mlp",
        epsilon: Budget | None = 0.5,
        *,
        penalty_weight: float = 0.01,
        attack_steps: int = 10,
        **kwargs: Any,
    ) -> None:
        super().__init__(network, **kwargs)
        self.penalty_weight = checks.not_negative_number(penalty_weight, "penalty_weight")
        self.attack_steps = checks.positive_integer(attack_steps, "attack_steps")
        self.adversarial = epsilon is not None and Epsilon(epsilon, "epsilon").exact > 0
        self.add_epsilon(cast(Budget, epsilon) if self.adversarial else 0.5)
        self._pairs = PairCurvature(self.analysis, self.num_classes)
        self._vectors = [
            self.add_weight(
                name=f"vector_{index}", shape=shape, initializer="random_normal", trainable=False
            )
            for index, shape in enumerate(self._pairs.vector_shapes)
        ]
        self.built = True

    @property
    def paper(self) -> str:
        return PAPERS["crt"].reference

    @property
    def architecture(self) -> str:
        """A one-line description of the model, for listings."""
        return f"curvature-bounded {self.network.name}"

    @property
    def training_budget(self) -> Any:
        return self.epsilon if self.adversarial else None

    def _set_epsilon(self, value: Budget) -> None:
        super()._set_epsilon(value)
        if not self.adversarial:
            self.adversarial = True
            self.renew_training_step()  # the compiled one does not search for worst points

    def default_loss(self) -> Any:
        """The cross-entropy of labels and logits."""

        def cross_entropy(y_true: Tensor, y_pred: Tensor) -> Tensor:
            labels = own_class(y_true, y_pred)
            return keras.losses.categorical_crossentropy(labels, y_pred, from_logits=True)

        return of_this_model(cross_entropy)

    def estimate(self) -> Tensor:
        """Estimate the curvature bounds of all pairs of classes, for training only.

        Each call takes one step of power iteration.

        Returns:
            Tensor ``(classes, classes)``: entry ``[c, j]`` is an estimate of the bound of the
            Hessian's largest eigenvalue for ``f_c − f_j``. The bound of its smallest eigenvalue is
            the negative of entry ``[j, c]``.
        """
        vectors = [vector.value for vector in self._vectors]
        curvature, vectors = self._pairs(vectors)
        for variable, vector in zip(self._vectors, vectors, strict=True):
            variable.assign(vector)
        return curvature

    def training_objective(
        self, x: Tensor, y: Tensor, y_pred: Tensor, loss_of: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """The compiled loss at the worst points, plus the curvature penalty."""
        if not (self.adversarial or self.penalty_weight):
            return loss_of(y_pred)
        curvature = self.estimate()
        if self.adversarial:
            rho = ops.convert_to_tensor(self._training_epsilon)
            # The augmentation draws another change here than for `y_pred`, which only tells the
            # strongest other class.
            images, upper = self._pixels(x, training=True), ops.stop_gradient(curvature)
            worst, _ = self._worst_points(images, y, y_pred, upper, rho, self.attack_steps)
            y_pred = self.network(ops.stop_gradient(worst), training=True)
        return loss_of(y_pred) + self.penalty_weight * ops.mean(curvature)

    def worst_points(
        self, x: ArrayLike, y: ArrayLike | None, eps: Budget, steps: int = 30
    ) -> tuple[Array, Array]:
        """Solve the attack problem: minimise the label's lead over its strongest rival in a ball.

        Args:
            x: images ``(n, height, width, channels)``, floats in [0, 1] or uint8.
            y: labels ``(n,)``; None if ``x`` is a data set that gives them.
            eps: radius of the L2 ball, a number or a string. The ball is not cut off at [0, 1].
            steps: number of steps of the search.

        Returns:
            ``(points, exact)``: a float32 array like ``x``, and a bool array ``(n,)``. ``exact`` is
            True for a point that lies on the sphere, is stationary, and has a multiplier that makes
            the problem convex: no point of the ball is worse for this pair of classes, up to the
            search's tolerance (a hundredth of the radius, a twentieth of the gradient).

        Reference:
            Singla, Feizi, ICML 2020, section 4: the attack problem.
        """
        x, y = inputs.read(x, y)
        x = checks.images(x, self.image_shape)
        y = checks.labels(y, len(x), self.num_classes)
        eps = Epsilon(eps).below
        if not len(x) or eps == 0:
            return x.copy(), np.zeros(len(x), bool)
        upper = ops.convert_to_tensor(self.curvature().upper, "float32")
        logits = ops.convert_to_tensor(self.logits(x, batch_size=max(1, len(x))))
        rho = ops.convert_to_tensor(eps, "float32")
        points, exact = self._worst_points(ops.convert_to_tensor(x), y, logits, upper, rho, steps)
        return ops.convert_to_numpy(points), ops.convert_to_numpy(exact)

    def curvature(self) -> Curvature:
        """:class:`zoo.bounds.curvature.Curvature` of the current weights; it is cached."""
        _, curvature = self.derived()
        return curvature.of_all()

    def derive_from(self, analysis: SmoothNetwork) -> GlobalCurvature:
        analysis.prepare()
        return GlobalCurvature(analysis)

    def certified_radius(self, x: Array, norm: Norm, method: str) -> CertifiedBatch:
        logits = ops.convert_to_numpy(self(x, training=False))
        smooth, curvature = self.derived()
        flat, classes = x.reshape(len(x), -1), np.argmax(logits, axis=1)
        found = radii_of(smooth, curvature.of(np.unique(classes)), flat, classes)
        if method == "curvature-local":
            found = enlarged(smooth, flat, classes, found)
        proved = self._finite(found.radius, logits)
        radius = round_down(proved.min(axis=1))
        radii = np.zeros(logits.shape)
        _, others = pairs_of(classes, self.num_classes)
        np.put_along_axis(radii, others.reshape(proved.shape), proved, axis=1)
        per_class = per_class_of(radii, radius, classes)
        return CertifiedBatch(logits, radius, found.nearest.min(axis=1), per_class)

    def decided(
        self, x: Array, norm: Norm, method: str, budgets: Sequence[Epsilon]
    ) -> CertifiedBatch:
        if method != "curvature":
            return super().decided(x, norm, method, budgets)
        logits = ops.convert_to_numpy(self(x, training=False))
        smooth, curvature = self.derived()
        flat, classes = x.reshape(len(x), -1), np.argmax(logits, axis=1)
        beyond = sorted(budget.beyond for budget in budgets)
        radius = deciding_radii(
            smooth, curvature.of(np.unique(classes)), flat, classes, beyond[0], beyond[-1]
        )
        radius = round_down(self._finite(radius[:, None], logits)[:, 0])
        return CertifiedBatch(logits, at_budgets(radius, budgets))

    def _finite(self, radii: Array, logits: Array) -> Array:
        """Radii ``(n, …)``, at most the diameter of the image box, and 0 for overflown logits."""
        diameter = math.sqrt(math.prod(self.image_shape))
        finite = np.isfinite(logits).all(axis=1, keepdims=True)
        return np.where(finite, np.minimum(radii, diameter), 0.0)

    def _worst_points(
        self, images: Tensor, y: Tensor, logits: Tensor, upper: Tensor, rho: Tensor, steps: int
    ) -> tuple[Tensor, Tensor]:
        """``(points, exact)`` of :meth:`worst_points`, for tensors of images and their logits."""
        own = own_class(y, logits)
        rival = ops.one_hot(ops.argmax(logits - own * LARGEST, axis=-1), self.num_classes)
        heads = own - rival
        # The Hessian of f_y − f_j has eigenvalues from −least to most: its smallest eigenvalue is
        # the negative of the largest one for f_j − f_y.
        most = ops.sum(own * ops.matmul(rival, ops.transpose(upper)), axis=-1)
        least = ops.sum(rival * ops.matmul(own, ops.transpose(upper)), axis=-1)
        axes = tuple(range(1, len(images.shape)))

        def spread(values: Tensor) -> Tensor:
            return ops.reshape(values, (-1, *[1] * len(axes)))

        def gradient(points: Tensor) -> Tensor:
            return input_gradient(lambda x: heads * self.network(x, training=False), points)

        def lengths(values: Tensor) -> Tensor:
            return ops.sqrt(ops.maximum(ops.sum(ops.square(values), axis=axes), 1e-24))

        slope = gradient(images)
        low = least
        high = least + most + lengths(slope) / rho

        def step(_: Any, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            points, slope, low, high, multiplier, _ = state
            residual = slope + spread(multiplier) * (points - images)
            points = points - residual / spread(most + multiplier + 1e-6)
            outside = lengths(points - images) > rho
            low, high = ops.where(outside, multiplier, low), ops.where(outside, high, multiplier)
            return points, gradient(points), low, high, (low + high) / 2.0, multiplier

        # A loop of the backend: a copy of the network for each step would take XLA minutes to
        # compile for large images.
        points, slope, _, _, _, last = ops.fori_loop(
            0, steps, step, (images, slope, low, high, low, low)
        )
        change = points - images
        length = lengths(change)
        # A point is stationary if the gradient of the Lagrangian, slope + multiplier · change, is
        # small compared with the gradient of the objective.
        left = lengths(slope + spread(last) * change)
        exact = (length > 0.99 * rho) & (length < 1.01 * rho) & (left < 0.05 * lengths(slope))
        return images + change * spread(ops.minimum(1.0, rho / length)), exact

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "epsilon": str(self.epsilon) if self.adversarial else None,
            "penalty_weight": self.penalty_weight,
            "attack_steps": self.attack_steps,
        }
