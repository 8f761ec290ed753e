"""Carlini and Wagner's L2 attack."""

import numpy as np

from zoo.attacks.ball import project
from zoo.attacks.victim import require_tensorflow


def carlini_wagner(
    victim,
    x,
    y,
    eps,
    norm,
    *,
    random,
    steps=100,
    search_steps=5,
    learning_rate=0.01,
    initial_constant=1.0,
    confidence=0.0,
):
    """The smallest L2 perturbation found that fools the model, projected onto the ball.

    Args:
        victim: :class:`zoo.attacks.victim.Victim`.
        x, y: images and labels, checked.
        eps, norm: of the ball that the result is projected onto.
        random: unused, for the common signature.
        steps: iterations per constant.
        search_steps: constants tried per image, by bisection.
        learning_rate: of Adam.
        initial_constant: first weight of the classification term; ten times more while nothing is
            found. (The paper's 0.01 is for logits without a Lipschitz bound, which are larger.)
        confidence: gap between logits to ask for.

    Reference:
        Carlini, Wagner: Towards Evaluating the Robustness of Neural Networks, 2017.
    """
    require_tensorflow("cw")
    attack = _attack_class()(
        victim,
        max_iterations=steps,
        binary_search_steps=search_steps,
        learning_rate=learning_rate,
        initial_const=initial_constant,
        confidence=confidence,
    )
    return project(attack.minimal(x, y), x, eps, norm)


def _attack_class():
    import keras
    import tensorflow as tf
    from cleverhans.tf2.attacks import carlini_wagner_l2 as cleverhans_cw

    class CarliniWagner(cleverhans_cw.CarliniWagnerL2):
        """Their step and loss under a search that treats every image by itself.

        Theirs resets the optimizer by calling a property and, that mended, sets its learning rate
        to 0; shares constants between images; and takes given labels for targets.
        """

        def minimal(self, x, y):
            """Adversarial images of the smallest L2 change found; the image itself if none."""
            count = len(x)
            labels = tf.one_hot(y, self.model_fn.model.num_classes)
            inside = tf.atanh((tf.convert_to_tensor(x) * 2.0 - 1.0) * 0.999999)
            best, best_l2 = np.array(x), np.full(count, np.inf)
            low, high = np.zeros(count), np.full(count, np.inf)
            constant = np.full(count, self.initial_const)
            modifier = tf.Variable(tf.zeros_like(inside))
            for _ in range(self.binary_search_steps):
                modifier.assign(tf.zeros_like(inside))
                self.optimizer = keras.optimizers.Adam(self.learning_rate)
                fooled = np.zeros(count, bool)
                weights = tf.constant(constant, tf.float32)
                for _ in range(self.max_iterations):
                    x_new, _, logits, l2 = self.attack_step(inside, labels, modifier, weights)
                    scores, l2 = logits.numpy(), l2.numpy()
                    scores[np.arange(count), y] += self.confidence
                    now = np.argmax(scores, axis=1) != y
                    fooled |= now
                    better = now & (l2 < best_l2)
                    best[better], best_l2[better] = x_new.numpy()[better], l2[better]
                high = np.where(fooled, np.minimum(high, constant), high)
                low = np.where(fooled, low, np.maximum(low, constant))
                constant = np.where(np.isinf(high), constant * 10.0, (low + high) / 2.0)
            return best

    return CarliniWagner
