"""Smooth networks trained for small curvature, and certified by it."""

import math

import keras
import numpy as np
from keras import ops

from zoo.bounds.curvature import SmoothNetwork
from zoo.certificates import CertifiedBatch, round_down
from zoo.certificates.curvature import global_curvature, radii
from zoo.certificates.local_curvature import enlarged
from zoo.epsilon import Epsilon
from zoo.losses.curvature import PairCurvature
from zoo.losses.worst_case import own_class
from zoo.models.base import of_this_model
from zoo.models.curvature_networks import NETWORKS
from zoo.models.training_epsilon import TrainingEpsilon
from zoo.models.wrapped_model import WrappedModel
from zoo.ops.gradients import input_gradient
from zoo.utils import checks


@keras.saving.register_keras_serializable(package="zoo")
class CurvatureNet(TrainingEpsilon, WrappedModel):
    """Your own smooth Keras network, trained on worst points of an L2 ball and for small curvature.

    Both follow from bounds of the Hessian of logits' differences. In training they are estimates,
    from below; the certificate takes upper bounds of the weights as they are.

    Args:
        network: a ``keras.Sequential`` or functional model from images in [0, 1] to logits, of the
            layers in ``zoo.bounds.supported("curvature")``, one after another, that ends in a dense
            layer without activation. It is not copied. Or a table: ``name`` of a function in
            :mod:`zoo.models.curvature_networks`, and its arguments.
        epsilon: L2 radius ρ that training looks for worst points in; None or 0 for the images.
        penalty_weight: γ, of the mean curvature bound of all pairs of classes; not negative.
        attack_steps: steps of the search for a worst point.

    Raises:
        TypeError, ValueError: if the network is no such model, or an argument is out of range.
        zoo.UnsupportedLayerError: naming the first layer that does not fit, and what does.

    Example:

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

    #: ``curvature``: every other class by its own dual, the least of them. ``curvature-local``:
    #: the same with curvature bounds of balls around the image; never smaller, and far slower.
    certificates = (("l2", "curvature"), ("l2", "curvature-local"))

    networks = NETWORKS
    analyse = staticmethod(SmoothNetwork)

    def __init__(self, network, epsilon=0.5, *, penalty_weight=0.01, attack_steps=10, **kwargs):
        super().__init__(network, **kwargs)
        if not penalty_weight >= 0:
            raise ValueError(f"penalty_weight must not be negative, got {penalty_weight!r}")
        self.penalty_weight = float(penalty_weight)
        self.attack_steps = attack_steps
        self.adversarial = epsilon not in (None, 0)
        self.add_epsilon(epsilon if self.adversarial else 0.5)
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
        return (
            "Singla, Feizi: Second-Order Provable Defenses against Adversarial Attacks, ICML 2020"
        )

    @property
    def architecture(self):
        """One line for listings."""
        return f"curvature-bounded {self.network.name}"

    def default_loss(self):
        """Cross-entropy."""

        def cross_entropy(y_true, y_pred):
            labels = own_class(y_true, y_pred)
            return keras.losses.categorical_crossentropy(labels, y_pred, from_logits=True)

        return of_this_model(cross_entropy)

    def estimate(self):
        """Curvature of all pairs of classes, estimated: for training alone.

        Each call takes a step of power iteration.

        Returns:
            Tensor ``(classes, classes)``: the largest eigenvalue for ``f_c − f_j`` at ``[c, j]``;
            the least one is the negative of that at ``[j, c]``.
        """
        vectors = [vector.value for vector in self._vectors]
        curvature, vectors = self._pairs(vectors)
        for variable, vector in zip(self._vectors, vectors, strict=True):
            variable.assign(vector)
        return curvature

    def training_objective(self, x, y, y_pred, loss_of):
        """The compiled loss of worst points, with the curvature."""
        if not (self.adversarial or self.penalty_weight):
            return loss_of(y_pred)
        curvature = self.estimate()
        if self.adversarial:
            rho = ops.convert_to_tensor(self._training_epsilon)
            images, upper = self._pixels(x), ops.stop_gradient(curvature)
            worst, _ = self._worst_points(images, y, y_pred, upper, rho, self.attack_steps)
            y_pred = self.network(ops.stop_gradient(worst), training=True)
        return loss_of(y_pred) + self.penalty_weight * ops.mean(curvature)

    def worst_points(self, x, y, eps, steps=30):
        """Solutions of the attack problem: images in a ball where the label's lead is least.

        Args:
            x: images ``(n, height, width, channels)``, floats in [0, 1] or uint8.
            y: integer labels ``(n,)``.
            eps: radius of the ball in L2, which may reach beyond [0, 1]; a number or a string.
            steps: of the search.

        Returns:
            ``(points, exact)``: a float32 array like ``x``, and a bool array ``(n,)``: where a
            point lies on the sphere at a multiplier that makes the problem convex, and is
            stationary, no point of the ball is worse for this pair of classes, up to the search's
            tolerance (a hundredth of the radius, a twentieth of the gradient).

        Reference:
            Singla, Feizi, ICML 2020, section 4: the attack problem.
        """
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

    def curvature(self):
        """:class:`zoo.certificates.curvature.Curvature` of the weights as they are; kept."""
        return self.derived()

    def derive(self):
        self.analysis.prepare()
        return global_curvature(self.analysis)

    def certified_radius(self, x, norm, method):
        logits = ops.convert_to_numpy(self(x, training=False))
        curvature, smooth = self.derived(), self.analysis
        flat, classes = x.reshape(len(x), -1), np.argmax(logits, axis=1)
        found = radii(smooth, curvature, flat, classes)
        if method == "curvature-local":
            found = enlarged(smooth, flat, classes, found)
        diameter = math.sqrt(math.prod(self.image_shape))
        radius = np.where(np.isfinite(logits).all(axis=1), found.radius.min(axis=1), 0.0)
        radius = round_down(np.minimum(radius, diameter))
        return CertifiedBatch(logits, radius, found.nearest.min(axis=1))

    def _worst_points(self, images, y, logits, upper, rho, steps):
        """``(points, exact)`` for the label and the strongest other class of each image."""
        own = own_class(y, logits)
        rival = ops.one_hot(ops.argmax(logits - own * 1e9, axis=-1), self.num_classes)
        heads = own - rival
        # Of f_y − f_j from above and, by that of f_j − f_y, from below.
        most = ops.sum(own * ops.matmul(rival, ops.transpose(upper)), axis=-1)
        least = ops.sum(rival * ops.matmul(own, ops.transpose(upper)), axis=-1)
        axes = tuple(range(1, len(images.shape)))

        def spread(values):
            return ops.reshape(values, (-1, *[1] * len(axes)))

        def gradient(points):
            return input_gradient(lambda x: heads * self.network(x, training=False), points)

        def lengths(values):
            return ops.sqrt(ops.maximum(ops.sum(ops.square(values), axis=axes), 1e-24))

        slope = gradient(images)
        low = least
        high = least + most + lengths(slope) / rho
        points, multiplier = images, low
        for _ in range(steps):
            step = slope + spread(multiplier) * (points - images)
            points = points - step / spread(most + multiplier + 1e-6)
            slope = gradient(points)
            outside = lengths(points - images) > rho
            low, high = ops.where(outside, multiplier, low), ops.where(outside, high, multiplier)
            last, multiplier = multiplier, (low + high) / 2.0
        change = points - images
        length = lengths(change)
        # Stationary: what is left of the gradient is small against the multiplier's part.
        left = lengths(slope + spread(last) * change)
        exact = (length > 0.99 * rho) & (length < 1.01 * rho) & (left < 0.05 * lengths(slope))
        return images + change * spread(ops.minimum(1.0, rho / length)), exact

    def get_config(self):
        return {
            **super().get_config(),
            "epsilon": str(self.epsilon) if self.adversarial else None,
            "penalty_weight": self.penalty_weight,
            "attack_steps": self.attack_steps,
        }
