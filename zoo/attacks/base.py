"""What an attack is: a frozen dataclass that describes and checks its own parameters."""

import dataclasses


def parameter(default, help, check=None, *, cleverhans=None):
    """A field of an :class:`Attack`: one of its parameters.

    Args:
        default: value that the parameter has unless another one is given. None stands for a value
            that follows from other settings, and only then None may be given.
        help: what the parameter is, in a few words, with its unit; it is printed by the command
            line's ``--help`` and by ``help()``.
        check: function of a value and the parameter's name that returns the value as the attack
            will use it, and raises a :class:`ValueError` for a value that makes no sense, such as
            :func:`zoo.utils.checks.positive_integer`. By default every value is taken as it is.
        cleverhans: the name that the parameter has in cleverhans, under which
            :func:`zoo.attacks.attack` takes it too.

    Returns:
        What :func:`dataclasses.field` returns.
    """
    return dataclasses.field(
        default=default, metadata={"help": help, "check": check, "cleverhans": cleverhans}
    )


@dataclasses.dataclass(frozen=True)
class Attack:
    """An attack with its parameters: the base class of all attacks.

    A subclass is a frozen dataclass. Its fields are the parameters, see :func:`parameter`, and
    :meth:`run` attacks one batch. :func:`zoo.attacks.register_attack` gives it a name.

    Attributes:
        name: the registered name; the name of the class until it is registered.
        norms: the norms that the attack is for, of ``"linf"`` and ``"l2"``.
        targeted: whether :meth:`run` takes a ``target`` beside the labels.
        backends: the Keras backends that the attack runs on, of ``"tensorflow"`` and ``"jax"``.

    Raises:
        ValueError: naming the parameter that is wrong, and what it may be.

    Example:

    >>> import zoo
    >>> zoo.attacks.PGD(steps=50).steps
    50
    >>> zoo.attacks.PGD(steps="3")
    Traceback (most recent call last):
    ...
    ValueError: steps must be a positive integer, got '3'
    """

    name = "Attack"
    norms = ("linf", "l2")
    targeted = False
    backends = ("tensorflow", "jax")

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        # A subclass of a registered attack is not the registered one.
        cls.name = cls.__name__

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value, check = getattr(self, field.name), field.metadata.get("check")
            stands_for_default = value is None and field.default is None
            if check is not None and not stands_for_default:
                # This is how a frozen dataclass sets its own fields.
                object.__setattr__(self, field.name, check(value, field.name))

    def __str__(self):
        """The name, with the parameters that are not the default ones."""
        changed = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != field.default
        ]
        return f"{self.name}({', '.join(changed)})" if changed else self.name

    def check_model(self, model):
        """Raise unless the attack suits a model; by default it suits every model.

        Args:
            model: a :class:`zoo.models.CertifiedModel`.

        Raises:
            ValueError: saying what the attack needs.
        """

    def notes(self, model):
        """What a reader of the attack's results on a model has to know; by default nothing.

        Args:
            model: a :class:`zoo.models.CertifiedModel`.

        Returns:
            List of sentences. :func:`zoo.attacks.attack` gives each as a :class:`UserWarning`, and
            a :class:`zoo.evaluation.RobustnessReport` holds them.
        """
        return []

    def run(self, victim, x, y, eps, norm, random):
        """Attack one batch.

        A class that sets ``targeted`` takes a further argument, ``target=None``: int64 array
        ``(n,)`` of the classes that the images are to be taken for.

        Args:
            victim: :class:`zoo.attacks.victim.Victim`: called with a tensor of images it returns
                their logits, ``victim.gap(x, y)`` says how far each image is from being
                misclassified, and ``victim.model`` is the model.
            x: float32 array ``(n, height, width, channels)`` in [0, 1].
            y: int64 array ``(n,)`` of labels.
            eps: :class:`zoo.epsilon.Epsilon`; ``eps.below`` is the radius of the ball as a float.
            norm: of the ball, one of ``norms``.
            random: :class:`numpy.random.Generator` of this batch. Whatever is random must come
                from it, so that the same seed gives the same images.

        Returns:
            Array of the shape of ``x``. :func:`zoo.attacks.attack` projects it onto the ball and
            onto [0, 1].
        """
        raise NotImplementedError(f"{type(self).__name__} defines no run()")
