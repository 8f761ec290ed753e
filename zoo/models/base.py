"""What every model of the zoo can do."""

import contextlib
import contextvars
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

import keras
import numpy as np
from keras import ops

from zoo.bounds.model_state import require_own_methods, state_of
from zoo.certificates import Certificate, CertifiedBatch, LogitCertificate
from zoo.certificates.lipschitz import margin
from zoo.errors import UnsupportedLayerError
from zoo.models.checked_calls import CheckedCalls
from zoo.ops.precision import require_float32
from zoo.typing import Array, ArrayLike, Budget, ImageShape, Path, Tensor
from zoo.utils import checks
from zoo.utils.backend import require_backend
from zoo.utils.fixed_settings import FixedSettings
from zoo.utils.process import require_own_process
from zoo.utils.progress import track

if TYPE_CHECKING:
    from zoo.evaluation import RobustnessReport

# The methods that logits are computed by. A certificate is about exactly these.
_LOGITS = (
    "call",
    "__call__",
    "predict_step",
    "features",
    "_pixels",
    "_normalised",
    "_logits_of",
)


# What was derived from the weights of each model since the current call of `certify` began.
_DERIVED: contextvars.ContextVar[dict[int, Any] | None] = contextvars.ContextVar(
    "derived", default=None
)


class CertifiedModel(FixedSettings, CheckedCalls, keras.Model):
    """A Keras classifier that knows its own guarantee.

    Images go in as ``(batch, height, width, channels)`` in [0, 1], logits come out; normalisation
    is part of the model. A subclass names its certificates in ``certificates`` and computes radii
    in :meth:`certified_radius`.

    Args:
        image_shape: ``(height, width, channels)``.
        num_classes: at least 2.
    """

    #: The (norm, method) pairs that ``certify`` supports; the first of a norm is its ``"auto"``:
    #: the tightest, but for those that take seconds an image.
    certificates: tuple[tuple[str, str], ...] = ()
    #: Attributes that the logits depend on. They are fixed once the model is built, because
    #: programs that Keras compiled before an assignment would go on with the old value.
    fixed: tuple[str, ...] = ("image_shape", "num_classes")
    #: Height, width and channels of an image.
    image_shape: ImageShape
    #: The last layer, which a new head replaces, and None if there is no such layer. A subclass
    #: sets it, or overrides :attr:`head_layer`.
    head: Any = None

    def __init__(self, image_shape: Sequence[int], num_classes: int, **kwargs: Any) -> None:
        require_backend()
        require_own_process()
        super().__init__(**kwargs)
        sizes = tuple(checks.positive_integer(n, "image_shape") for n in image_shape)
        if len(sizes) != 3:
            raise ValueError(
                f"image_shape must be (height, width, channels), got {tuple(image_shape)}"
            )
        self.image_shape = sizes
        self.num_classes = checks.positive_integer(num_classes, "num_classes")
        if self.num_classes < 2:
            raise ValueError(f"num_classes must be at least 2, got {num_classes}")

    # The following four are what other libraries ask a functional model for.

    @property
    def inputs(self) -> list[Any]:
        """The symbolic tensor of images that a functional model would have."""
        return [keras.KerasTensor(self.input_shape, dtype="float32")]

    @property
    def outputs(self) -> list[Any]:
        """The symbolic tensor of logits that a functional model would have."""
        return [keras.KerasTensor(self.output_shape, dtype="float32")]

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """``(None, height, width, channels)``, as of a functional model."""
        return (None, *self.image_shape)

    @property
    def output_shape(self) -> tuple[int | None, ...]:
        """``(None, classes)``, as of a functional model."""
        return (None, self.num_classes)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As Keras's, and it takes what ``predict`` takes beside the images.

        ART's ``KerasClassifier`` passes these two, which change nothing for a single batch.
        """
        for name in ("batch_size", "verbose"):
            kwargs.pop(name, None)
        return super().__call__(*args, **kwargs)

    @property
    def architecture(self) -> str:
        """One line for listings."""
        return type(self).__name__

    @property
    def paper(self) -> str:
        """The publication of the approach: authors, title, venue and year."""
        return ""

    @property
    def head_layer(self) -> Any:
        """The layer that the logits come from, or None if it is none that could be replaced."""
        return self.head

    def sync_jax_state(self) -> None:
        """Bring the weights up to date in the middle of ``fit``, for a callback to read or assign.

        Between two batches, Keras keeps the state on JAX outside the model.
        """
        if hasattr(self, "jax_state_sync"):
            self.jax_state_sync()

    def default_loss(self) -> Any:
        """The approach's own training loss, a function of labels and logits."""
        raise NotImplementedError(f"{type(self).__name__} has no loss of its own; compile with one")

    def compile(
        self,
        optimizer: Any = "adam",
        loss: Any = None,
        metrics: Any = ("accuracy",),
        **kwargs: Any,
    ) -> None:
        """As :meth:`keras.Model.compile`; without a ``loss``, with the approach's own."""
        loss = of_this_model(self.default_loss()) if loss is None else loss
        self._has_default_loss = getattr(loss, "of_this_model", False)
        super().compile(optimizer=optimizer, loss=loss, metrics=metrics, **kwargs)

    def training_objective(self, x, y, y_pred, loss_of):
        """What ``fit`` minimises; a subclass may add to the compiled loss.

        Args:
            x: tensor of images, as they were given to ``fit``.
            y: tensor of labels.
            y_pred: tensor ``(batch, classes)``, the logits of the images in training.
            loss_of: function of logits to the compiled loss, sample weights included.

        Returns:
            Scalar tensor.
        """
        return loss_of(y_pred)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """As Keras's; in training :meth:`training_objective`."""

        def loss_of(logits):
            return super(CertifiedModel, self).compute_loss(
                x=x, y=y, y_pred=logits, sample_weight=sample_weight, training=training
            )

        return self.training_objective(x, y, y_pred, loss_of) if training else loss_of(y_pred)

    def get_compile_config(self):
        config = super().get_compile_config()
        if config and self._has_default_loss:
            config["loss"] = None  # made anew from the loaded model's own weights
        return config

    def compile_from_config(self, config):
        # Keras skips this step of loading for a class with a compile() of its own.
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def certify(
        self,
        x: ArrayLike,
        *,
        norm: str | None = None,
        method: str = "auto",
        batch_size: int = 256,
        verbose: int = 0,
        nearest: bool = False,
    ) -> Certificate:
        """Prove, per image, how far an attacker must go.

        Args:
            x: images ``(n, height, width, channels)``: floats in [0, 1], or uint8.
            norm: of the perturbation; by default the first in ``model.certificates``.
            method: one of those listed for the norm, or ``"auto"`` for the first of them.
            batch_size: images at a time. It changes no radius by more than rounding.
            verbose: 1 shows a progress bar.
            nearest: True looks, by attacks, for the nearest image that is classified otherwise:
                see :func:`zoo.attacks.nearest`. Its distance is the certificate's ``nearest``.

        Returns:
            :class:`zoo.certificates.Certificate` with ``n`` entries.

        Raises:
            TypeError, ValueError: for images or a (norm, method) the model does not accept, and
                for a model that computes in less than float32.
            zoo.SoundnessError: if an image that is classified otherwise is within a radius.
        """
        x = checks.images(x, self.image_shape)
        batch_size = checks.positive_integer(batch_size, "batch_size")
        norm, method = self._choose_certificate(norm, method)
        self.require_certifiable()
        checks.true_or_false(nearest, "nearest")
        predictions, radii, margins, of_method = [], [], [], []
        with _weights_read_once():
            for batch in track(_batches(x, batch_size), "certifying", show=verbose):
                found = self.certified_radius(batch, norm, method)
                predictions.append(np.argmax(found.logits, axis=1))
                radii.append(found.radius)
                margins.append(margin(found.logits))
                of_method += [] if found.nearest is None else [found.nearest]
        certificate = Certificate(
            prediction=_joined(predictions, np.int64),
            radius=_joined(radii, np.float32),
            margin=_joined(margins, np.float32),
            norm=norm,
            method=method,
            num_classes=self.num_classes,
            nearest=_joined(of_method, np.float32) if of_method else None,
        )
        if not nearest:
            return certificate
        from zoo import attacks

        distances = attacks.nearest(
            self, x, certificate.prediction, norm=norm, batch_size=batch_size, verbose=verbose
        )
        return certificate.with_nearest(distances)

    def require_certifiable(self) -> None:
        """Raise unless the model computes what its certificate is about, in true float32.

        Raises:
            zoo.UnsupportedLayerError: if a subclass, or an assignment to the model or one of its
                layers, replaced a method that the certificate relies on.
            ValueError: if the model or the backend computes in less than float32.
            RuntimeError: in a process that was forked after the backend had been used.
        """
        require_own_process()
        layers = self._flatten_layers()
        require_own_methods(layers)
        _require_own_certificate(type(self), "certified_radius", _LOGITS)
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

    def certified_radius(self, x: Array, norm: str, method: str) -> CertifiedBatch:
        """Logits and radii of one batch; the part of ``certify`` that an approach defines.

        Args:
            x: float32 array ``(n, height, width, channels)``, checked.
            norm, method: a pair listed in ``certificates``.

        Returns:
            :class:`zoo.certificates.CertifiedBatch`.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no certificate")

    def derive(self) -> Any:
        """What the certificate takes from the weights; :meth:`derived` keeps it."""
        raise NotImplementedError(f"{type(self).__name__} derives nothing from its weights")

    def derived(self) -> Any:
        """What :meth:`derive` returns for the settings and weights as they are now.

        It is computed anew when a setting or a weight has changed. During one call of
        :meth:`certify` the weights are looked at once.
        """
        return self._cached(self.derive)

    def weights_state(self) -> Any:
        """What :meth:`derived` depends on, to be compared with an earlier state."""
        return state_of(self)

    def _cached(self, derive: Callable[[], Any]) -> Any:
        current = _DERIVED.get()
        if current is not None and id(self) in current:
            return current[id(self)]
        state = self.weights_state()
        if getattr(self, "_derived", (None, None))[0] != state:
            self._derived = (state, derive())
        found = self._derived[1]
        if current is not None:
            current[id(self)] = found
        return found

    def attack(
        self,
        x: ArrayLike,
        y: ArrayLike | None,
        attack: Any = "pgd",
        *,
        eps: Budget,
        norm: str | None = None,
        **params: Any,
    ) -> Array:
        """Images near ``x`` that the model should get wrong: see :func:`zoo.attacks.attack`."""
        from zoo import attacks

        return attacks.attack(self, x, y, attack, eps=eps, norm=norm, **params)

    def evaluate_robustness(
        self,
        x: ArrayLike,
        y: ArrayLike,
        *,
        eps: Budget | Sequence[Budget] | Array,
        norm: str | None = None,
        attacks: Any = ("fgsm", "pgd"),
        **options: Any,
    ) -> "RobustnessReport":
        """Clean ≥ attacked ≥ certified accuracy: see :func:`zoo.evaluation.evaluate`."""
        from zoo import evaluation

        return evaluation.evaluate(self, x, y, eps=eps, norm=norm, attacks=attacks, **options)

    def logit_certificate(self) -> LogitCertificate:
        """The certificate as a function of logits, where the approach has one.

        Returns:
            :class:`zoo.certificates.LogitCertificate`, which can be saved beside an exported
            program.

        Raises:
            NotImplementedError: if the certificate takes more than logits.
        """
        raise NotImplementedError(
            f"a {type(self).__name__}'s certificate takes more than logits; certify with the model"
        )

    def save(
        self, filepath: Path, overwrite: bool = True, zipped: bool | None = None, **kwargs: Any
    ) -> None:
        """As :meth:`keras.Model.save`, to a ``.keras`` file.

        Raises:
            ValueError: for an HDF5 file, which holds no classes of this package.
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
        """Write an inference program: as :meth:`keras.Model.export`.

        It takes float images in [0, 1], any number at a time, and gives logits. What it computes is
        what the model computes at inference, in operations that a program may hold.

        Args:
            filepath: folder of a SavedModel, or file of another format.
            format: ``"tf_saved_model"``, ``"onnx"`` (needs ``pip install certified-zoo[onnx]``) or
                another that Keras knows.
            verbose: whether Keras says what it wrote.
            input_signature: in place of ``(None, height, width, channels)``; of float32 as well.
            kwargs: passed on to Keras.

        Raises:
            ValueError: for a signature of another type: a program does not scale bytes.

        Example:

        >>> import tempfile, zoo
        >>> model = zoo.load("lc-lmt-digits")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = model.export(folder + "/program", verbose=False)
        ...     model.logit_certificate().save(folder + "/certificate.npz")
        """
        if input_signature is None:
            input_signature = [keras.InputSpec(shape=(None, *self.image_shape), dtype="float32")]
        types = {str(spec.dtype) for spec in input_signature}
        if types != {"float32"}:
            raise ValueError(f"a program takes float32 images in [0, 1], got {', '.join(types)}")
        # Keras's own, of an ordinary model.
        return self.export_model().export(
            filepath, format=format, verbose=verbose, input_signature=input_signature, **kwargs
        )

    def export_model(self) -> Any:
        """The ordinary functional model that an export is made of."""
        inputs = keras.Input(self.image_shape)
        return keras.Model(inputs, self(inputs, training=False))

    @property
    def feature_layers(self) -> list[Any]:
        """The layers under the head. To train the head alone, make each ``trainable = False``."""
        return [layer for layer in self.layers if layer is not self.head_layer]

    def with_new_head(self, num_classes: int) -> "CertifiedModel":
        """The same features under an untrained head, to be fine-tuned.

        Args:
            num_classes: of the new head.

        Returns:
            A new model of the same class; this one is unchanged.
        """
        model = type(self).from_config({**self.get_config(), "num_classes": num_classes})
        for new, old in zip(model.layers, self.layers, strict=True):
            if old is not self.head_layer:
                new.set_weights(old.get_weights())
        return model

    def on_config_override(self, names: Iterable[str]) -> None:
        """Called after loading weights, with the names of arguments that replaced stored ones."""

    def logits(self, x: ArrayLike, *, batch_size: int = 256) -> Array:
        """Logits of checked images as a float32 array ``(n, classes)``."""
        require_own_process()
        self.require_float32_policy()
        outputs = [ops.convert_to_numpy(self(b, training=False)) for b in _batches(x, batch_size)]
        return np.concatenate(outputs) if outputs else np.zeros((0, self.num_classes), np.float32)

    def _pixels(self, inputs: Tensor) -> Tensor:
        """A tensor of images as floats in [0, 1]; of 0 to 255 if they are uint8."""
        if tuple(inputs.shape[1:]) != self.image_shape:
            raise ValueError(f"expected images {self.image_shape}, got {tuple(inputs.shape[1:])}")
        dtype = keras.backend.standardize_dtype(inputs.dtype)
        if dtype != "uint8" and "float" not in dtype:
            raise ValueError(f"images must be floats in [0, 1] or uint8, got dtype {dtype}")
        pixels = ops.cast(inputs, self.compute_dtype)
        return pixels / 255.0 if dtype == "uint8" else pixels

    def _choose_certificate(self, norm: str | None, method: str) -> tuple[str, str]:
        for pair in self.certificates:
            if norm in (pair[0], None) and method in (pair[1], "auto"):
                return pair
        known = ", ".join(map(str, self.certificates)) or "none"
        raise ValueError(
            f"{type(self).__name__} has no certificate for norm={norm!r}, method={method!r}; "
            f"it has (norm, method): {known}"
        )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "image_shape": list(self.image_shape),
            "num_classes": self.num_classes,
        }


def of_this_model(loss: Any) -> Any:
    """Mark a loss as the model's own, which a saved model makes anew when it is loaded.

    A loss that reads variables of its model cannot be stored apart from it.

    Args:
        loss: function, or :class:`keras.losses.Loss`.

    Returns:
        The same loss.
    """
    loss.of_this_model = True
    return loss


def _require_own_certificate(kind: type, certificate: str, methods: Iterable[str]) -> None:
    """Raise if a subclass computes something else, and inherits the certificate.

    Args:
        kind: the class.
        certificate: name of the method that the certificate comes from.
        methods: names of the methods that it is about.
    """

    def owners(name: str) -> list[type]:
        """The classes that define it, the one that counts first."""
        return [c for c in kind.__mro__ if name in vars(c)]

    own = owners(certificate)[0]
    for name in methods:
        if (found := owners(name)) and not issubclass(own, found[0]):
            raise UnsupportedLayerError(
                f"{found[0].__name__} replaces {name}() of its base class but inherits "
                f"{certificate}() from {own.__name__}, which is about another "
                f"function; it needs a {certificate}() of its own"
            )


def _require_exact_type(layer: Any) -> None:
    """Raise if a layer is of a class that was derived from a layer of this package."""
    kind = type(layer)
    bases = [base.__name__ for base in kind.__mro__[1:] if base.__module__.startswith("zoo.layers")]
    if bases and not kind.__module__.startswith("zoo.layers"):
        raise UnsupportedLayerError(
            f"{kind.__name__} {layer.name!r} is derived from {bases[0]}, whose bounds may not hold "
            "for it; certificates know the layers of zoo.layers alone"
        )


@contextlib.contextmanager
def _weights_read_once() -> Iterator[None]:
    """A context in which what was derived from the weights of a model is not checked again."""
    token = _DERIVED.set({})
    try:
        yield
    finally:
        _DERIVED.reset(token)


def _batches(x: Any, batch_size: int) -> list[Any]:
    return [x[i : i + batch_size] for i in range(0, len(x), batch_size)]


def _joined(parts: list[Array], dtype: Any) -> Array:
    return np.concatenate(parts).astype(dtype) if parts else np.zeros(0, dtype)
