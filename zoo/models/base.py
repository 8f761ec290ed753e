"""The base class of all models of the zoo."""

import contextlib
import contextvars
import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

import keras
import numpy as np
from keras import ops

from zoo.bounds.model_state import parts_of, require_own_methods, state_of
from zoo.callbacks.inherited_budget import InheritedBudget, some_images
from zoo.certificates import Certificate, CertifiedBatch, LogitCertificate, round_down
from zoo.certificates.certificate import at_budgets, budgets_to_decide, per_class_of
from zoo.certificates.finished import warn_of_unfinished
from zoo.certificates.lipschitz import margin
from zoo.certificates.nan_logits import warn_of_nan
from zoo.certificates.pairs import choose
from zoo.epsilon import Epsilon
from zoo.errors import UnsupportedLayerError
from zoo.layers.augmentation import Augmentation
from zoo.metrics.certified_accuracy import certified_metrics
from zoo.metrics.class_numbers import require_class_numbers
from zoo.models.checked_calls import CheckedCalls
from zoo.models.weights import set_weights
from zoo.ops.cores import undivided_linear_algebra
from zoo.ops.lp_distance import without_loops
from zoo.ops.precision import require_float32
from zoo.typing import Array, ArrayLike, Budget, ImageShape, Norm, NormLike, Path, Tensor
from zoo.utils import checks, inputs
from zoo.utils.backend import require_backend
from zoo.utils.deadline import time_is_up, time_limit
from zoo.utils.fixed_settings import FixedSettings
from zoo.utils.norms import norm_of
from zoo.utils.once import computing_once
from zoo.utils.process import require_own_process
from zoo.utils.progress import track

if TYPE_CHECKING:
    from zoo.evaluation import RobustnessReport

# The methods that compute or return logits. A certificate holds for these methods as they are: a
# subclass that overrides one of them needs a certificate of its own.
_LOGITS = (
    "call",
    "__call__",
    "predict",
    "predict_on_batch",
    "predict_step",
    "make_predict_function",
    "logits",
    "features",
    "_pixels",
    "_normalised",
    "_logits_of",
)


# During a call of `certify`, what each model (by its id) has derived from its weights.
_DERIVED: contextvars.ContextVar[dict[int, Any] | None] = contextvars.ContextVar(
    "derived", default=None
)


class CertifiedModel(FixedSettings, CheckedCalls, keras.Model):
    """A Keras classifier that certifies its own predictions.

    The model takes images ``(batch, height, width, channels)``, floats in [0, 1] or uint8, to
    float32 logits ``(batch, num_classes)``, and normalises the pixels itself. A subclass lists its
    certificates in ``certificates`` and computes the radii in :meth:`certified_radius`.

    Args:
        image_shape: ``(height, width, channels)``.
        num_classes: number of classes, at least 2.
        augmentation: a Keras layer that changes the images in training, such as a
            ``keras.Sequential`` of ``RandomFlip`` and ``RandomTranslation``. Everywhere else, in
            ``predict``, ``certify``, ``attack`` and ``model(x)``, it is left out. It gets images in
            [0, 1] and must keep their shape. None for none.
    """

    #: The (norm, method) pairs that ``certify`` supports. The first pair of a norm is the one that
    #: ``method="auto"`` chooses: the tightest method that does not take seconds per image.
    certificates: tuple[tuple[Norm, str], ...] = ()
    #: Attributes that the logits depend on. They are fixed once the model is built, because
    #: functions that Keras has compiled would keep using the value from before an assignment.
    fixed: tuple[str, ...] = ("image_shape", "num_classes")
    #: ``(height, width, channels)`` of an image.
    image_shape: ImageShape
    #: The layer that computes the logits and that :meth:`with_new_head` replaces; None if there is
    #: no such layer. A subclass sets it, or overrides :attr:`head_layer`.
    head: Any = None
    #: Whether the budget of the loss is that of the images that the features were trained on.
    #: ``zoo.load(name, num_classes=…)`` sets it if no ``epsilon`` was given; ``fit`` then warns if
    #: few images are certified at this budget.
    inherits_epsilon: bool = False

    def __init__(
        self,
        image_shape: Sequence[int],
        num_classes: int,
        *,
        augmentation: Any = None,
        **kwargs: Any,
    ) -> None:
        require_backend()
        require_own_process()
        super().__init__(**kwargs)
        given = image_shape if isinstance(image_shape, Iterable) else ()
        sizes = tuple(checks.positive_integer(n, "image_shape") for n in given)
        if len(sizes) != 3:
            raise ValueError(f"image_shape must be (height, width, channels), got {image_shape!r}")
        self.image_shape = sizes
        self.num_classes = checks.positive_integer(num_classes, "num_classes")
        if self.num_classes < 2:
            raise ValueError(f"num_classes must be at least 2, got {num_classes}")
        self.augmentation = _augmentation_of(augmentation, self.image_shape)

    # The following six are what users and other libraries ask a functional model for.

    @property
    def input(self) -> Any:
        """The symbolic tensor of images in [0, 1], from which :attr:`output` is computed.

        A model of the features is ``keras.Model(model.input, model.head_layer.input)``.
        """
        return self._symbolic()[0]

    @property
    def output(self) -> Any:
        """The symbolic tensor of logits."""
        return self._symbolic()[1]

    @property
    def inputs(self) -> list[Any]:
        """The symbolic tensor of images, in a list, as of a functional model."""
        return [self.input]

    @property
    def outputs(self) -> list[Any]:
        """The symbolic tensor of logits, in a list, as of a functional model."""
        return [self.output]

    def _symbolic(self) -> tuple[Any, Any]:
        """``(input, output)``: the same tensors each time, which connect the model's layers."""
        if "_zoo_symbolic" not in vars(self):
            images = keras.Input(self.image_shape, dtype="float32")
            # call(), not __call__(): the layers inside become part of the graph, not the model.
            # Set past Keras's tracking, as these are no parts of the model.
            object.__setattr__(self, "_zoo_symbolic", (images, self.call(images)))
        return vars(self)["_zoo_symbolic"]

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """``(None, height, width, channels)``, as of a functional model."""
        return (None, *self.image_shape)

    @property
    def output_shape(self) -> tuple[int | None, ...]:
        """``(None, classes)``, as of a functional model."""
        return (None, self.num_classes)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the model as any Keras model, and ignore ``batch_size`` and ``verbose``.

        ART's ``KerasClassifier`` calls a model with these two arguments of ``predict``. They have
        no meaning for the single batch that a call computes.
        """
        for name in ("batch_size", "verbose"):
            kwargs.pop(name, None)
        return super().__call__(*args, **kwargs)

    @property
    def architecture(self) -> str:
        """A one-line description of the model, for listings."""
        return type(self).__name__

    @property
    def paper(self) -> str:
        """The publication of the approach: authors, title, venue and year."""
        return ""

    @property
    def head_layer(self) -> Any:
        """The layer that computes the logits, or None if it cannot be replaced."""
        return self.head

    def sync_jax_state(self) -> None:
        """Bring the model's variables up to date, so that a callback can read or assign them.

        On JAX, Keras keeps the current values outside the model while ``fit`` runs. On TensorFlow
        this does nothing.
        """
        if hasattr(self, "jax_state_sync"):
            self.jax_state_sync()

    def default_loss(self) -> Any:
        """The training loss of the approach: a function of labels and logits."""
        raise NotImplementedError(f"{type(self).__name__} has no loss of its own; compile with one")

    def compile(
        self,
        optimizer: Any = None,
        loss: Any = None,
        metrics: Any = ("accuracy",),
        **kwargs: Any,
    ) -> None:
        """Like :meth:`keras.Model.compile`, with defaults that train the approach.

        Args:
            optimizer: None for :meth:`default_optimizer`.
            loss: None for :meth:`default_loss`.
            metrics: names or objects, as Keras takes them; among them may be a
                :class:`zoo.metrics.CertifiedAccuracy`.
            kwargs: passed on to Keras.

        Raises:
            ValueError: if there is a ``CertifiedAccuracy``, and the certificate of the model cannot
                be computed from the logits alone; or if the loss is one of the zoo, which take
                integer labels, and a metric takes one-hot labels.
        """
        certified = certified_metrics([metrics, kwargs.get("weighted_metrics")])
        # Set past Keras's tracking, which would count these metrics twice.
        object.__setattr__(self, "_certified_metrics", certified)
        for metric in certified:
            if type(self).logit_certificate is CertifiedModel.logit_certificate:
                raise ValueError(
                    f"the certificate of a {type(self).__name__} takes more than logits, so that "
                    f"{metric.name!r} cannot be a metric; give fit the callback "
                    "zoo.callbacks.CertifiedAccuracy(data, eps) instead"
                )
            metric.prepare(self.num_classes)
        optimizer = self.default_optimizer() if optimizer is None else optimizer
        loss = of_this_model(self.default_loss()) if loss is None else loss
        self._has_default_loss = getattr(loss, "of_this_model", False)
        # Those of the zoo take integer labels; any other loss may take what it likes.
        ours = type(loss).__module__.startswith("zoo.losses")
        self._takes_class_numbers = self._has_default_loss or ours
        if self._takes_class_numbers:
            require_class_numbers([metrics, kwargs.get("weighted_metrics")])
        # Older versions of Keras take a tuple for a single metric.
        metrics = list(metrics) if isinstance(metrics, tuple) else metrics
        super().compile(optimizer=optimizer, loss=loss, metrics=metrics, **kwargs)

    def default_optimizer(self) -> Any:
        """The optimizer, with its learning rate, that ``compile()`` without one takes."""
        return keras.optimizers.Adam(1e-3)

    def default_callbacks(self, callbacks: Sequence[Any]) -> list[Any]:
        """What ``fit`` adds to its callbacks, so that the approach trains without any.

        Args:
            callbacks: those that ``fit`` was given.

        Returns:
            List of ``keras.callbacks.Callback``, empty if none is needed.
        """
        return []

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        """Like :meth:`keras.Model.fit`, with :meth:`default_callbacks` and checks of the images."""
        # By name, whichever of Keras's arguments were given by position.
        given = inspect.signature(keras.Model.fit).bind(self, *args, **kwargs).arguments
        _, *names = given
        options = {name: given[name] for name in names}
        callbacks = options.get("callbacks")
        if not isinstance(callbacks, keras.callbacks.CallbackList):
            one = isinstance(callbacks, keras.callbacks.Callback)
            callbacks = [callbacks] if one else list(callbacks or [])
            added = [*self.default_callbacks(callbacks), *self._budget_watch(options)]
            # They come last: at the end of the training, others may restore earlier weights.
            options["callbacks"] = [*callbacks, *added]
        return super().fit(**options)

    def _budget_watch(self, options: dict[str, Any]) -> list[Any]:
        """A callback that warns if the images do not allow a budget that nobody chose for them."""
        has_budget = getattr(self, "_has_default_loss", False)
        trained_for = self.training_budget if has_budget else None
        if not self.inherits_epsilon or trained_for is None:
            return []
        validation = options.get("validation_data")
        pair = validation[:2] if isinstance(validation, (tuple, list)) else (validation, None)
        if validation is None:
            pair = options.get("x"), options.get("y")
        images = some_images(*pair)
        return [] if images is None else [InheritedBudget(*images)]

    @property
    def training_budget(self) -> Any:
        """The perturbation budget that the default loss trains for, or None if it has none."""
        return getattr(self, "epsilon", None)

    def training_objective(
        self, x: Tensor, y: Tensor, y_pred: Tensor, loss_of: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """The value that ``fit`` minimises; a subclass may add terms to the compiled loss.

        Args:
            x: tensor of images, as they were given to ``fit``.
            y: tensor of labels.
            y_pred: tensor ``(batch, classes)``, the logits of the images in training mode.
            loss_of: function from logits to the compiled loss, which applies sample weights.

        Returns:
            Scalar tensor.
        """
        return loss_of(y_pred)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Like :meth:`keras.Model.compute_loss`; in training, :meth:`training_objective`."""

        def loss_of(logits: Tensor) -> Tensor:
            return super(CertifiedModel, self).compute_loss(
                x=x, y=y, y_pred=logits, sample_weight=sample_weight, training=training
            )

        return self.training_objective(x, y, y_pred, loss_of) if training else loss_of(y_pred)

    def get_compile_config(self) -> Any:
        config = super().get_compile_config()
        if config and self._has_default_loss:
            config["loss"] = None  # a loaded model makes its own loss from its own weights
        return config

    def compile_from_config(self, config: dict[str, Any]) -> None:
        # Keras does not compile a loaded model whose class overrides compile().
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def certify(
        self,
        x: ArrayLike,
        *,
        norm: NormLike | None = None,
        method: str = "auto",
        batch_size: int = 256,
        verbose: int = 0,
        nearest: bool = False,
        eps: Budget | Sequence[Budget] | Array | None = None,
        per_class: bool = False,
        timeout: float | None = None,
    ) -> Certificate:
        """Prove for each image a radius within which no perturbation changes the prediction.

        Args:
            x: images ``(n, height, width, channels)``, floats in [0, 1] or uint8, as an array of
                NumPy, TensorFlow, JAX or torch, a list, a PIL image or a list of them. Or a data
                set: a ``tf.data.Dataset``, a ``keras.utils.PyDataset``, a generator, or another
                iterable of batches or single images, with labels or without. A data set is read
                once, into memory, and must have an end.
            norm: norm of the perturbation, ``"linf"`` or ``"l2"`` (``np.inf``, ``2`` and any case
                are accepted too); by default the first one in ``model.certificates``.
            method: a method that ``model.certificates`` lists for the norm, or ``"auto"`` for the
                first of them.
            batch_size: number of images that are certified together. It changes radii by no more
                than rounding errors.
            verbose: 1 shows a progress bar.
            nearest: True looks, by attacks, for the nearest image that is classified otherwise:
                see :func:`zoo.attacks.nearest`. Its distance is the certificate's ``nearest``.
            eps: budget or list of budgets: numbers, or strings such as ``"8/255"``. With budgets,
                the certificate tells for each image only whether it is certified at them. This is
                faster for methods that search for a radius.
            per_class: True asks for the radius against each class, the certificate's
                ``per_class``. Methods with a formula for it give it in any case; the others search
                for it, which takes several times as long as the radius alone.
            timeout: seconds after which no further images are certified; None for no limit. What
                is proved by then is kept: an image that is not finished has the largest radius that
                was proved, or 0, and the certificate's ``finished`` is False for it. A warning says
                how many images are not finished. The time is checked before each batch, and by the
                methods of :func:`zoo.certify` before each budget that their search tries. The
                attacks of ``nearest`` run afterwards and have no limit.

        Returns:
            :class:`zoo.certificates.Certificate` with ``n`` entries. If ``x`` is a data set that
            gives labels, they are the certificate's ``labels``. With ``eps``, its ``certified`` and
            ``accuracy`` take these budgets only, and it has no curve.

        Raises:
            TypeError, ValueError: for images or a (norm, method) the model does not accept, and
                for a model that computes in less than float32.
            zoo.UnsupportedLayerError: if a method that the certificate relies on was replaced.
            RuntimeError: in a process that was forked after the backend had been used.
            zoo.SoundnessError: with ``nearest=True``, if an image that is classified otherwise is
                within a radius; for a model that certifies by :func:`zoo.certify`, also if its
                logits are outside of the bounds.

        Examples:
            >>> import zoo
            >>> model, test = zoo.load("linf-dist-digits"), zoo.data.load("digits", "test").take(50)
            >>> certificate = model.certify(test)
            >>> certificate.norm, certificate.accuracy(eps=0.1) > 0.8
            ('linf', True)
        """
        x, y = inputs.read(x)
        x = checks.images(x, self.image_shape)
        batch_size = checks.positive_integer(batch_size, "batch_size")
        norm, method = self._choose_certificate(norm, method)
        self.require_certifiable()
        checks.true_or_false(nearest, "nearest")
        budgets = budgets_to_decide(eps, per_class)
        timeout = None if timeout is None else checks.positive_number(timeout, "timeout")
        predictions, radii, margins, finished = [], [], [], []
        of_method, of_classes, lost = [], [], []
        with _weights_read_once(), time_limit(timeout):
            for batch in track(_batches(x, batch_size), "certifying", show=verbose):
                if time_is_up():
                    found = self._unfinished(batch, bool(of_method), per_class or bool(of_classes))
                elif budgets is None:
                    found = self.certified_radius(batch, norm, method)
                else:
                    found = self._decide()(batch, norm, method, budgets)
                # A subclass may return float64, and NaN where its logits are NaN.
                found = dataclasses.replace(found, radius=round_down(found.radius))
                classes = np.argmax(found.logits, axis=1)
                lost.append(np.isnan(found.logits).any(axis=1))
                predictions.append(classes)
                radii.append(found.radius)
                margins.append(margin(found.logits))
                done = found.done
                of_method += [] if found.nearest is None else [found.nearest]
                of_batch = found.per_class
                if per_class and of_batch is None:
                    if _owner(type(self), "per_class_radius") is not CertifiedModel:
                        _require_own_certificate(type(self), "per_class_radius")
                    of_batch = self.per_class_radius(batch, norm, method, found)
                    done = done & (not time_is_up())
                if of_batch is not None:
                    of_classes.append(per_class_of(of_batch, found.radius, classes))
                finished.append(done)
        if per_class and not of_classes:
            of_classes.append(np.zeros((0, self.num_classes)))
        certificate = Certificate(
            prediction=_joined(predictions, np.int64),
            radius=_joined(radii, np.float32),
            margin=_joined(margins, np.float32),
            norm=norm,
            method=method,
            num_classes=self.num_classes,
            nearest=_joined(of_method, np.float32) if of_method else None,
            labels=y,
            decided_at=None if budgets is None else tuple(map(str, budgets)),
            per_class=_joined(of_classes, np.float32) if of_classes else None,
            finished=None if timeout is None else _joined(finished, bool),
        )
        warn_of_unfinished(certificate.finished, timeout)
        warn_of_nan(_joined(lost, bool))
        if not nearest:
            return certificate
        from zoo import attacks

        distances = attacks.nearest(
            self, x, certificate.prediction, norm=norm, batch_size=batch_size, verbose=verbose
        )
        return certificate.with_nearest(distances)

    def _unfinished(self, x: Array, nearest: bool, per_class: bool) -> CertifiedBatch:
        """The result for one batch of images if there is no time to certify them.

        Args:
            x: as for :meth:`certified_radius`.
            nearest, per_class: whether the certificate has these.
        """
        logits, nothing = self.logits(x), np.zeros(len(x), np.float32)
        classes = np.argmax(logits, axis=1)
        return CertifiedBatch(
            logits,
            nothing,
            nearest=np.full(len(x), np.inf) if nearest else None,
            per_class=per_class_of(np.zeros(logits.shape), nothing, classes) if per_class else None,
            finished=np.zeros(len(x), bool),
        )

    def require_certifiable(self, certificate: str = "certified_radius") -> None:
        """Raise unless the certificate is about the function that the model computes, in float32.

        Args:
            certificate: name of the method that computes the certificate.

        Raises:
            zoo.UnsupportedLayerError: if a subclass, or an assignment to the model or one of its
                layers, replaced a method that the certificate relies on.
            ValueError: if the model or the backend computes with less precision than float32.
            RuntimeError: in a process that was forked after the backend had been used.
        """
        require_own_process()
        layers = self._flatten_layers()
        require_own_methods(parts_of(self))
        _require_own_certificate(type(self), certificate)
        for layer in layers:
            if layer is not self:
                _require_exact_type(layer)
        network = cast(Any, getattr(self, "network", None))
        if isinstance(network, keras.Model) and network.output_shape[1:] != (self.num_classes,):
            raise ValueError(
                f"the network now ends in {network.output_shape[1:]}, not in {self.num_classes} "
                "logits; make another model of it"
            )
        require_float32(self)

    def certified_radius(self, x: Array, norm: Norm, method: str) -> CertifiedBatch:
        """Compute logits and radii of one batch; :meth:`certify` calls this for every batch.

        Args:
            x: float32 array ``(n, height, width, channels)``, already checked.
            norm, method: one of the pairs in ``certificates``.

        Returns:
            :class:`zoo.certificates.CertifiedBatch`.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no certificate")

    def decided(
        self, x: Array, norm: Norm, method: str, budgets: Sequence[Epsilon]
    ) -> CertifiedBatch:
        """Compute logits of one batch, and which of some budgets are below the images' radii.

        A subclass overrides it if that takes less time than the radii.

        Args:
            x, norm, method: as for :meth:`certified_radius`.
            budgets: list of :class:`zoo.epsilon.Epsilon`.

        Returns:
            :class:`zoo.certificates.CertifiedBatch`, with the radii that
            :func:`zoo.certificates.certificate.at_budgets` would make of those of
            :meth:`certified_radius`.
        """
        found = self.certified_radius(x, norm, method)
        return dataclasses.replace(found, radius=at_budgets(found.radius, budgets), per_class=None)

    def _decide(self) -> Callable[..., CertifiedBatch]:
        """:meth:`decided`, or that of this class if a subclass has a certificate of its own."""
        radius, decided = (_owner(type(self), name) for name in ("certified_radius", "decided"))
        if issubclass(decided, radius):
            return self.decided
        return functools.partial(CertifiedModel.decided, self)

    def per_class_radius(self, x: Array, norm: Norm, method: str, found: CertifiedBatch) -> Array:
        """Search for the radii of one batch against each class, if the method has no formula.

        :meth:`certify` calls this for ``per_class=True`` if ``found.per_class`` is None.

        Args:
            x, norm, method: as for :meth:`certified_radius`.
            found: what :meth:`certified_radius` returned for them.

        Returns:
            float32 array ``(n, classes)``, as ``per_class`` of :class:`zoo.Certificate`.

        Raises:
            ValueError: if there is no such search.
        """
        raise ValueError(
            f"the certificate {norm!r}, {method!r} of a {type(self).__name__} has no radius for "
            "each class; leave out per_class"
        )

    def derive(self) -> Any:
        """Compute what the certificate needs from the weights; :meth:`derived` caches it."""
        raise NotImplementedError(f"{type(self).__name__} derives nothing from its weights")

    def derived(self) -> Any:
        """What :meth:`derive` returns for the current settings and weights.

        It is computed again only if a setting or a weight has changed since the last time, and in
        each call of :meth:`certify` if the network has layers of the user's own. During one call,
        the weights are checked for changes only once.
        """
        return self._cached(self.derive)

    def weights_state(self) -> Any:
        """The settings and weights that :meth:`derived` depends on, as a value to compare."""
        return state_of(self)

    def _cached(self, derive: Callable[[], Any]) -> Any:
        current = _DERIVED.get()
        if current is not None and id(self) in current:
            return current[id(self)]
        state = self.weights_state()
        if getattr(self, "_derived", (None, None))[0] != state:
            with undivided_linear_algebra(), computing_once():
                self._derived = (state, derive())
        found = self._derived[1]
        if current is not None:
            current[id(self)] = found
        return found

    def attack(
        self,
        x: ArrayLike,
        y: ArrayLike | None = None,
        attack: Any = "pgd",
        *,
        eps: Budget,
        norm: NormLike | None = None,
        **params: Any,
    ) -> Array:
        """Search near images for ones that are misclassified, as :func:`zoo.attacks.attack` does.

        Args:
            x: images ``(n, height, width, channels)``, floats in [0, 1] or uint8, or a data set, as
                for :meth:`certify`.
            y: labels ``(n,)``, or one-hot rows; None if ``x`` is a data set that gives them.
            attack: name of an attack in ``zoo.attacks.ATTACKS``, or a
                :class:`zoo.attacks.Attack`.
            eps: budget in units of the [0, 1] image: a number, or a string such as ``"8/255"``.
            norm: ``"linf"`` or ``"l2"``; None is the first norm that the model certifies.
            params: other arguments of :func:`zoo.attacks.attack`, such as ``batch_size``, ``seed``
                and ``target``, and parameters of the attack, such as ``steps``.

        Returns:
            float32 array ``(n, height, width, channels)``, which lies exactly in the ball and in
            [0, 1]. It has all images, also those that the model still classifies as their label.

        Raises:
            TypeError, ValueError: naming the argument that is wrong.

        Examples:
            >>> import numpy as np, zoo
            >>> model, test = zoo.load("linf-dist-digits"), zoo.data.load("digits").take(5)
            >>> attacked = model.attack(test.images, test.labels, "fgsm", eps=0.1)
            >>> bool(np.abs(attacked - test.images).max() <= 0.1 + 1e-6)
            True
        """
        from zoo import attacks

        return attacks.attack(self, x, y, attack, eps=eps, norm=norm, **params)

    def evaluate_robustness(
        self,
        x: ArrayLike,
        y: ArrayLike | None = None,
        *,
        eps: Budget | Sequence[Budget] | Array,
        norm: NormLike | None = None,
        attacks: Any = ("fgsm", "pgd"),
        **options: Any,
    ) -> "RobustnessReport":
        """Measure clean, attacked and certified accuracy, as :func:`zoo.evaluate` does.

        Args:
            x, y: images and labels, as for :meth:`attack`.
            eps: budget or list of budgets, in units of the [0, 1] image.
            norm: ``"linf"`` or ``"l2"``; None is the first norm that the model certifies.
            attacks: name of an attack or list of names; ``()`` attacks nothing.
            options: other arguments of :func:`zoo.evaluate`, such as ``method``, ``params``,
                ``nearest`` and ``verbose``.

        Returns:
            :class:`zoo.evaluation.RobustnessReport`, which prints as a table.

        Raises:
            TypeError, ValueError: naming the argument that is wrong.
            zoo.SoundnessError: if an attack breaks a certificate, which is a bug of the zoo.

        Examples:
            >>> import zoo
            >>> model, test = zoo.load("linf-dist-digits"), zoo.data.load("digits").take(100)
            >>> report = model.evaluate_robustness(test.images, test.labels, eps=0.1, attacks="pgd")
            >>> report.clean >= report.rows[0]["attacked"]["pgd"] >= report.rows[0]["certified"]
            True
        """
        from zoo import evaluation

        return evaluation.evaluate(self, x, y, eps=eps, norm=norm, attacks=attacks, **options)

    def logit_certificate(self) -> LogitCertificate:
        """The certificate as a function of the logits, if the approach has such a certificate.

        Returns:
            :class:`zoo.certificates.LogitCertificate`, which can be saved beside an exported
            program.

        Raises:
            NotImplementedError: if the certificate cannot be computed from the logits.
        """
        raise NotImplementedError(
            f"a {type(self).__name__}'s certificate takes more than logits; certify with the model"
        )

    def save(
        self, filepath: Path, overwrite: bool = True, zipped: bool | None = None, **kwargs: Any
    ) -> None:
        """Like :meth:`keras.Model.save`, but only into a ``.keras`` file.

        Raises:
            ValueError: for an HDF5 file, from which Keras could not load the model again.
        """
        if str(filepath).endswith((".h5", ".hdf5")) or kwargs.get("save_format") == "h5":
            raise ValueError(
                f"a {type(self).__name__} cannot be loaded from an HDF5 file such as {filepath}; "
                "save it as a .keras file, or with zoo.save() as a folder"
            )
        super().save(filepath, overwrite=overwrite, zipped=zipped, **kwargs)

    def export(
        self,
        filepath: Path,
        format: str = "tf_saved_model",
        verbose: bool | None = None,
        input_signature: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Export the model as a program for inference, like :meth:`keras.Model.export`.

        The program takes any number of float images in [0, 1] and returns their logits. It computes
        the same function as the model at inference, with portable operations only: a kernel that
        was compiled for this machine cannot be exported.

        Args:
            filepath: folder of a SavedModel, or file of another format.
            format: ``"tf_saved_model"``, ``"onnx"`` (needs ``pip install
                'certified-zoo[onnx]'``, and TensorFlow as the backend) or another format that Keras
                supports.
            verbose: whether Keras prints what it wrote.
            input_signature: replaces the default signature, float32 images ``(None, height, width,
                channels)``; a list of a ``keras.InputSpec`` or ``tf.TensorSpec`` of dtype float32.
            kwargs: passed on to Keras.

        Raises:
            ValueError: for a signature of another dtype, because a program does not scale bytes.

        Examples:
            >>> import tempfile, zoo
            >>> model = zoo.load("lc-lmt-digits")
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     _ = model.export(folder + "/program", verbose=False)
            ...     model.logit_certificate().save(folder + "/certificate.npz")
        """
        if input_signature is None:
            input_signature = [keras.InputSpec(shape=(None, *self.image_shape), dtype="float32")]
        specs = keras.tree.flatten(input_signature)
        types = {keras.backend.standardize_dtype(spec.dtype) for spec in specs}
        if types != {"float32"}:
            raise ValueError(f"a program takes float32 images in [0, 1], got {', '.join(types)}")
        # export_model() returns an ordinary Keras model, so this is Keras's own export().
        with without_loops() if format == "onnx" else contextlib.nullcontext():
            return self.export_model().export(
                filepath, format=format, verbose=verbose, input_signature=input_signature, **kwargs
            )

    def export_model(self) -> Any:
        """An ordinary functional Keras model with the same logits, which :meth:`export` writes."""
        inputs = keras.Input(self.image_shape)
        return keras.Model(inputs, self(inputs, training=False))

    @property
    def feature_layers(self) -> list[Any]:
        """The layers below the head; set their ``trainable = False`` to train only the head."""
        return [layer for layer in self.layers if layer is not self.head_layer]

    def with_new_head(self, num_classes: int) -> "CertifiedModel":
        """A copy of the model with an untrained head, to be fine-tuned.

        Args:
            num_classes: number of classes of the new head.

        Returns:
            A new model of the same class; this one is unchanged.

        Raises:
            ValueError: if the number of classes is not an integer of at least 2.

        Examples:
            >>> import zoo
            >>> zoo.load("lc-lmt-digits").with_new_head(5).num_classes
            5
        """
        model = type(self).from_config(self._config_with(num_classes=num_classes))
        for new, old in zip(model.layers, self.layers, strict=True):
            if old is not self.head_layer:
                set_weights(new, old.get_weights())
        return model

    def _config_with(self, **changes: Any) -> dict[str, Any]:
        """The configuration for another model of this process, with the augmentation itself.

        Keras could not make a layer from its serialised form if the class is not registered.
        """
        own = {} if self.augmentation is None else {"augmentation": self.augmentation.layer}
        return {**self.get_config(), **own, **changes}

    def on_config_override(self, names: Iterable[str]) -> None:
        """Called after the weights were loaded, with the names of the overridden arguments.

        Args:
            names: names of the constructor arguments that replaced the stored ones.
        """

    def logits(self, x: ArrayLike, *, batch_size: int = 256) -> Array:
        """The logits of images.

        Args:
            x: images in any form that :meth:`certify` takes. An array or a tensor is passed to the
                network as it is, so pixels outside of [0, 1] are not refused.
            batch_size: images per batch.

        Returns:
            float32 array ``(n, classes)``.
        """
        require_own_process()
        batch_size = checks.positive_integer(batch_size, "batch_size")
        if not (isinstance(x, np.ndarray) or ops.is_tensor(x)):
            x, _ = inputs.read(x)
            x = checks.images(x, self.image_shape)
        self.require_float32_policy()
        outputs = [ops.convert_to_numpy(self(b, training=False)) for b in _batches(x, batch_size)]
        return np.concatenate(outputs) if outputs else np.zeros((0, self.num_classes), np.float32)

    def _pixels(self, inputs: Tensor, training: bool | None = False) -> Tensor:
        """Convert a tensor of images to floats; uint8 pixels in 0..255 are divided by 255.

        In training, the augmentation then changes them.
        """
        if tuple(inputs.shape[1:]) != self.image_shape:
            raise ValueError(f"expected images {self.image_shape}, got {tuple(inputs.shape[1:])}")
        dtype = keras.backend.standardize_dtype(inputs.dtype)
        if dtype != "uint8" and "float" not in dtype:
            raise ValueError(f"images must be floats in [0, 1] or uint8, got dtype {dtype}")
        pixels = ops.cast(inputs, self.compute_dtype)
        pixels = pixels / 255.0 if dtype == "uint8" else pixels
        if self.augmentation is None or not training:
            return pixels
        return self.augmentation(pixels, training=training)

    def _choose_certificate(self, norm: NormLike | None, method: str) -> tuple[Norm, str]:
        norm = None if norm is None else norm_of(norm)
        return choose(self.certificates, norm, method, type(self).__name__)

    def get_config(self) -> dict[str, Any]:
        augmentation = self.augmentation
        if augmentation is not None:
            augmentation = keras.saving.serialize_keras_object(augmentation.layer)
        return {
            **super().get_config(),
            "image_shape": list(self.image_shape),
            "num_classes": self.num_classes,
            **({} if augmentation is None else {"augmentation": augmentation}),
        }


def _augmentation_of(layer: Any, image_shape: ImageShape) -> Augmentation | None:
    """The layer of an argument ``augmentation``: a layer, its serialised form, or None."""
    if layer is None:
        return None
    layer = layer if isinstance(layer, Augmentation) else Augmentation(layer, name="augmentation")
    if not layer.built:
        layer.build((None, *image_shape))
    return layer


def of_this_model(loss: Any) -> Any:
    """Mark a loss as made by its model.

    Such a loss reads variables of its model, so it cannot be stored on its own. A saved model
    leaves it out, and makes it again when it is loaded.

    Args:
        loss: function, or :class:`keras.losses.Loss`.

    Returns:
        The same loss.
    """
    loss.of_this_model = True
    return loss


def _require_own_certificate(kind: type, certificate: str) -> None:
    """Raise if a class overrides the function that it inherits the certificate of.

    Args:
        kind: class of the model.
        certificate: name of the method that computes the certificate.
    """
    # A mixin, which is no model, may call the certificate of the model behind it. So it certifies
    # no other functions than that model does.
    models = (c for c in kind.__mro__ if issubclass(c, CertifiedModel))
    own = next(c for c in models if certificate in vars(c))
    for name in _LOGITS:
        if not issubclass(own, found := _owner(kind, name)):
            raise UnsupportedLayerError(
                f"{found.__name__} replaces {name}() but inherits {certificate}() from "
                f"{own.__name__}, which certifies the function that was replaced; define "
                f"{certificate}() in {found.__name__}, too"
            )


def _owner(kind: type, name: str) -> type:
    """The class whose definition of a method is used, or ``object`` if no class defines it."""
    return next((c for c in kind.__mro__ if name in vars(c)), object)


def _require_exact_type(layer: Any) -> None:
    """Raise if a layer's class is derived from a layer of this package."""
    kind = type(layer)
    bases = [base.__name__ for base in kind.__mro__[1:] if base.__module__.startswith("zoo.layers")]
    if bases and not kind.__module__.startswith("zoo.layers"):
        raise UnsupportedLayerError(
            f"{kind.__name__} {layer.name!r} is derived from {bases[0]}, whose bounds may not hold "
            "for it; certificates support the layers of zoo.layers, not classes derived from them"
        )


@contextlib.contextmanager
def _weights_read_once() -> Iterator[None]:
    """A context in which each model checks its weights for changes only once."""
    token = _DERIVED.set({})
    try:
        yield
    finally:
        _DERIVED.reset(token)


def _batches(x: Any, batch_size: int) -> list[Any]:
    return [x[i : i + batch_size] for i in range(0, len(x), batch_size)]


def _joined(parts: list[Array], dtype: Any) -> Array:
    return np.concatenate(parts).astype(dtype) if parts else np.zeros(0, dtype)
