"""The base class of attacks: a frozen dataclass that describes and checks its parameters."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from zoo.typing import Array

if TYPE_CHECKING:
    import numpy as np

    from zoo.attacks.victim import Victim
    from zoo.epsilon import Epsilon
    from zoo.models.base import CertifiedModel


def parameter(
    default: Any,
    help: str,
    check: Callable[[Any, str], Any] | None = None,
    *,
    cleverhans: str | None = None,
) -> Any:
    """Declare a field of an :class:`Attack`, which is one of its parameters.

    Args:
        default: default value of the parameter. None stands for a value that the attack computes
            from other settings; only such a parameter accepts None.
        help: a short description of the parameter with its unit, which the command line's
            ``--help`` and ``help()`` print.
        check: function of a value and the parameter's name, such as
            :func:`zoo.utils.checks.positive_integer`. It returns the value that the attack uses,
            and raises a :class:`ValueError` for an invalid one. Without it, any value is accepted.
        cleverhans: the name of the parameter in cleverhans, under which
            :func:`zoo.attacks.attack` accepts it too.

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
        norms: the norms that the attack supports, a tuple of ``"linf"``, ``"l2"`` or both.
        backends: the Keras backends that the attack runs on, a tuple of ``"tensorflow"``, ``"jax"``
            or both.
        targeted: whether :meth:`run` takes a ``target`` beside the labels.

    Raises:
        ValueError: naming the parameter that is wrong, and the values that are allowed.

    Examples:
        >>> import zoo
        >>> zoo.attacks.PGD(steps=50).steps
        50
        >>> zoo.attacks.PGD(steps="3")
        Traceback (most recent call last):
        ...
        ValueError: steps must be a positive integer, got '3'
    """

    name: ClassVar[str] = "Attack"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2")
    backends: ClassVar[tuple[str, ...]] = ("tensorflow", "jax")
    targeted: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # A subclass of a registered attack does not inherit the registered name.
        cls.name = cls.__name__

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value, check = getattr(self, field.name), field.metadata.get("check")
            stands_for_default = value is None and field.default is None
            if check is not None and not stands_for_default:
                # A frozen dataclass can set its own fields only in this way.
                object.__setattr__(self, field.name, check(value, field.name))

    def __str__(self) -> str:
        """The name of the attack, with those parameters that differ from their defaults."""
        changed = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != field.default
        ]
        return f"{self.name}({', '.join(changed)})" if changed else self.name

    def check_model(self, model: "CertifiedModel") -> None:
        """Raise unless the attack can be run on a model; by default, it can be run on all.

        Args:
            model: a :class:`zoo.models.CertifiedModel`.

        Raises:
            ValueError: naming what the attack needs from a model.
        """

    def notes(self, model: "CertifiedModel") -> list[str]:
        """What a reader of the attack's results on a model has to know; by default nothing.

        Args:
            model: a :class:`zoo.models.CertifiedModel`.

        Returns:
            List of sentences. :func:`zoo.attacks.attack` gives each as a :class:`UserWarning`, and
            a :class:`zoo.evaluation.RobustnessReport` holds them.
        """
        return []

    def run(
        self,
        victim: "Victim",
        x: Array,
        y: Array,
        eps: "Epsilon",
        norm: str,
        random: "np.random.Generator",
    ) -> Any:
        """Attack one batch.

        A class that sets ``targeted`` takes a further argument, ``target=None``: int64 array
        ``(n,)`` of the classes that the images are to be taken for.

        Args:
            victim: :class:`zoo.attacks.victim.Victim`. ``victim(images)`` returns the logits of a
                tensor of images, ``victim.gap(x, y)`` the label's logit minus the largest other one
                for each image, and ``victim.model`` is the model.
            x: float32 array ``(n, height, width, channels)`` in [0, 1].
            y: int64 array ``(n,)`` of labels.
            eps: :class:`zoo.epsilon.Epsilon`; ``eps.below`` is the radius of the ball as a float.
            norm: norm of the ball, one of ``norms``.
            random: :class:`numpy.random.Generator` of this batch. All random numbers must come from
                it, so that the same seed gives the same images.

        Returns:
            Array of the shape of ``x``. :func:`zoo.attacks.attack` projects it onto the ball and
            onto [0, 1].
        """
        raise NotImplementedError(f"{type(self).__name__} defines no run()")
