"""The budget that a loss trains for, as a weight that a schedule can change."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from zoo.epsilon import Epsilon
from zoo.typing import Budget

# A model has this class beside CertifiedModel, whose methods it calls.
_Model: Any = keras.Model if TYPE_CHECKING else object


class TrainingEpsilon(_Model):
    """What models share that grow their budget while training.

    A base class beside :class:`zoo.models.CertifiedModel`; a model calls :meth:`add_epsilon` in
    its constructor.
    """

    def add_epsilon(self, epsilon: Budget) -> None:
        """Set ``epsilon``, and the weight that the default loss reads.

        Args:
            epsilon: positive, or a fraction such as ``"8/255"``.
        """
        self.epsilon = Epsilon(epsilon)
        self._training_epsilon = self.add_weight(
            name="training_epsilon",
            shape=(),
            initializer=keras.initializers.Constant(float(self.epsilon)),
            trainable=False,
        )

    @property
    def training_epsilon(self) -> float:
        """Budget in the default loss, ``epsilon`` unless a schedule assigns another."""
        self.sync_jax_state()
        return float(ops.convert_to_numpy(self._training_epsilon))

    @training_epsilon.setter
    def training_epsilon(self, value: float) -> None:
        self.sync_jax_state()
        self._training_epsilon.assign(value)

    def on_config_override(self, names: Iterable[str]) -> None:
        super().on_config_override(names)
        # Also a weight, for a schedule to change, and came with the others.
        if "epsilon" in names:
            self.training_epsilon = float(self.epsilon)
