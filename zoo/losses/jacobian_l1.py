"""The L1 norm of a classifier's input gradients as a penalty."""

from collections.abc import Callable
from typing import Literal

from keras import ops

from zoo.ops.gradients import input_gradient, input_jacobian
from zoo.typing import Tensor
from zoo.utils import checks

#: ``"full"`` takes the gradient of each output; ``"summed"`` that of the sum of all outputs.
FORMS = ("full", "summed")
#: The functions whose gradients may be penalised.
OUTPUTS = ("logits", "probabilities")


class JacobianL1:
    """The sum of the absolute derivatives of a classifier's outputs with respect to the pixels.

    ``"full"`` is ``Σ_i Σ_j |∂f_i/∂x_j|``, the entry-wise L1 norm of the Jacobian, which takes one
    backward pass that is vectorised over the outputs. ``"summed"`` is ``Σ_j |Σ_i ∂f_i/∂x_j|``,
    which takes an ordinary backward pass for the sum of the outputs. It is cheaper but says little:
    adding the same function to all logits changes no probability, but can make this penalty zero.
    For probabilities, which add up to 1, it is always zero.

    Args:
        form: ``"full"`` or ``"summed"``.
        outputs: ``"logits"``, or ``"probabilities"`` for their softmax.

    Call arguments:
        function: function from images to logits.
        images: tensor ``(batch, height, width, channels)``.

    Returns:
        Tensor ``(batch,)``; differentiable with respect to the weights of ``function``.

    Raises:
        ValueError: if an argument is unknown, or the penalty would always be zero.

    Examples:
        >>> import numpy as np, zoo
        >>> kernel = np.array([[1.0, -1.0], [3.0, -4.0]])
        >>> images = np.ones((1, 1, 2, 1))
        >>> logits = lambda x: x[:, 0, :, 0] @ kernel
        >>> [float(zoo.losses.JacobianL1(form)(logits, images)[0]) for form in ("full", "summed")]
        [9.0, 1.0]

    Reference:
        Seck, Loosli, Canu: L1-norm double backpropagation adversarial defense, ESANN 2019,
        equation 3 and section 4.2.
    """

    def __init__(
        self,
        form: Literal["full", "summed"] = "full",
        outputs: Literal["logits", "probabilities"] = "logits",
    ) -> None:
        checks.one_of(FORMS)(form, "form")
        checks.one_of(OUTPUTS)(outputs, "outputs")
        if (form, outputs) == ("summed", "probabilities"):
            raise ValueError(
                "probabilities add up to 1, so the summed form of their gradients is always zero; "
                "take form='full' or outputs='logits'"
            )
        self.form, self.outputs = form, outputs

    def __call__(self, function: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        images = ops.convert_to_tensor(images)
        if self.form == "summed":
            return _absolute_sum(input_gradient(function, images))

        def outputs(x: Tensor) -> Tensor:
            return ops.softmax(function(x)) if self.outputs == "probabilities" else function(x)

        return _absolute_sum(input_jacobian(outputs, images)[1])


def _absolute_sum(tensor: Tensor) -> Tensor:
    return ops.sum(ops.abs(tensor), axis=tuple(range(1, len(tensor.shape))))
