"""Carlini and Wagner's L2 attack."""

import dataclasses
import functools
import threading

import numpy as np

from zoo.attacks.base import Attack, parameter
from zoo.attacks.registry import register_attack
from zoo.utils import checks


@register_attack("cw")
@dataclasses.dataclass(frozen=True)
class CarliniWagner(Attack):
    """The smallest L2 perturbation found that fools the model, projected onto the ball.

    The default of ``initial_constant`` is larger than the paper's, 0.01, because networks with a
    small Lipschitz constant have smaller logits.

    Reference:
        Carlini, Wagner: Towards Evaluating the Robustness of Neural Networks, 2017.
    """

    backends = ("tensorflow",)  # cleverhans has it for TensorFlow alone
    targeted = True

    steps: int = parameter(
        100, "iterations per constant", checks.positive_integer, cleverhans="max_iterations"
    )
    search_steps: int = parameter(
        5,
        "constants tried per image, by bisection",
        checks.positive_integer,
        cleverhans="binary_search_steps",
    )
    learning_rate: float = parameter(0.01, "learning rate of Adam", checks.positive_number)
    initial_constant: float = parameter(
        1.0,
        "first weight of the classification term (ten times more while nothing is found)",
        checks.positive_number,
        cleverhans="initial_const",
    )
    confidence: float = parameter(0.0, "gap between logits to ask for", checks.not_negative_number)

    def run(self, victim, x, y, eps, norm, random, target=None):
        attack = victim.compiled(_attack, len(x), target is not None)
        return attack.minimal(
            x,
            y if target is None else target,
            self.steps,
            self.search_steps,
            self.learning_rate,
            self.initial_constant,
            self.confidence,
        )


def _attack(victim, count, targeted):
    return _attack_class()(victim, count, targeted)


@functools.cache
def _attack_class():
    import tensorflow as tf
    from cleverhans.tf2.attacks import carlini_wagner_l2 as cleverhans_cw

    class PerImage(cleverhans_cw.CarliniWagnerL2):
        """The step and loss of cleverhans, in a search of our own that treats images separately.

        We do not use the search of cleverhans: it tries to reset the optimizer by calling a
        property, and without that error would set its learning rate to 0; it shares constants
        between images; and it treats given labels as targets.

        The step is compiled once for each number of images. Values that change from call to call
        are variables.
        """

        def __init__(self, victim, count, targeted):
            super().__init__(victim)
            self.targeted = targeted
            self.confidence = tf.Variable(tf.zeros(()), trainable=False)
            self.modifier = tf.Variable(tf.zeros((count, *victim.model.image_shape)))
            self.optimizer.build([self.modifier])
            self.untouched = [variable.numpy() for variable in self.optimizer.variables]
            # Only one call at a time can use the variables.
            self.lock = threading.Lock()

        def minimal(self, x, y, steps, search_steps, learning_rate, initial_constant, confidence):
            """The nearest misclassified image found for each image; the image itself if none."""
            with self.lock:
                self.confidence.assign(confidence)
                return self._minimal(
                    x, y, steps, search_steps, learning_rate, initial_constant, confidence
                )

        def _minimal(self, x, y, steps, search_steps, learning_rate, initial_constant, confidence):
            count = len(x)
            labels = tf.one_hot(y, self.model_fn.model.num_classes)
            inside = tf.atanh((tf.convert_to_tensor(x) * 2.0 - 1.0) * 0.999999)
            best, best_l2 = np.array(x), np.full(count, np.inf)
            low, high = np.zeros(count), np.full(count, np.inf)
            constant = np.full(count, initial_constant)
            for _ in range(search_steps):
                self._start_anew(learning_rate)
                fooled = np.zeros(count, bool)
                weights = tf.constant(constant, tf.float32)
                for _ in range(steps):
                    x_new, _, logits, l2 = self.attack_step(inside, labels, self.modifier, weights)
                    scores, l2 = logits.numpy(), l2.numpy()
                    # The given class has to lose by as much as is asked for, or a target to win.
                    scores[np.arange(count), y] += -confidence if self.targeted else confidence
                    now = (np.argmax(scores, axis=1) == y) == self.targeted
                    fooled |= now
                    better = now & (l2 < best_l2)
                    best[better], best_l2[better] = x_new.numpy()[better], l2[better]
                high = np.where(fooled, np.minimum(high, constant), high)
                low = np.where(fooled, low, np.maximum(low, constant))
                constant = np.where(np.isinf(high), constant * 10.0, (low + high) / 2.0)
            return best

        def _start_anew(self, learning_rate):
            self.modifier.assign(tf.zeros_like(self.modifier))
            for variable, value in zip(self.optimizer.variables, self.untouched, strict=True):
                variable.assign(value)
            self.optimizer.learning_rate = learning_rate

    return PerImage
