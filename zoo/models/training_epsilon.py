"""The perturbation budget of a training loss, as a weight that a schedule can change."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from zoo.epsilon import Epsilon, positive_epsilon
from zoo.typing import Budget

# Models inherit from this mixin and from CertifiedModel, whose methods the mixin calls. Type
# checkers see a subclass of keras.Model.
_Model: Any = keras.Model if TYPE_CHECKING else object


class TrainingEpsilon(_Model):
    """Mixin of models whose training budget can grow during training.

    A model inherits from it and from :class:`zoo.models.CertifiedModel`, and calls
    :meth:`add_epsilon` in its constructor.
    """

    def add_epsilon(self, epsilon: Budget) -> None:
        """Set ``epsilon``, and add the weight from which the default loss reads the budget.

        Args:
            epsilon: budget, a positive number or a fraction such as ``"8/255"``.
        """
        self._epsilon = positive_epsilon(epsilon)
        self._training_epsilon = self.add_weight(
            name="training_epsilon",
            shape=(),
            initializer=keras.initializers.Constant(float(self.epsilon)),
            trainable=False,
        )

    @property
    def epsilon(self) -> Epsilon:
        """The budget that the model is trained for; assigning it changes ``training_epsilon``."""
        return self._epsilon

    @epsilon.setter
    def epsilon(self, value: Budget) -> None:
        self._set_epsilon(value)

    def _set_epsilon(self, value: Budget) -> None:
        """What an assignment to ``epsilon`` does; a subclass may do more."""
        self._epsilon = positive_epsilon(value)
        self.inherits_epsilon = False
        self.training_epsilon = float(self._epsilon)

    @property
    def training_epsilon(self) -> float:
        """The budget in the default loss: ``epsilon``, unless a schedule assigns another one."""
        self.sync_jax_state()
        return float(ops.convert_to_numpy(self._training_epsilon))

    @training_epsilon.setter
    def training_epsilon(self, value: float) -> None:
        self.sync_jax_state()
        self._training_epsilon.assign(value)

    def on_config_override(self, names: Iterable[str]) -> None:
        super().on_config_override(names)
        # The budget is a weight too, so loading the weights has overwritten it.
        if "epsilon" in names:
            self.training_epsilon = float(self.epsilon)
