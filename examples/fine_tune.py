"""Compare fine-tuning a pretrained model with training from scratch for the same epochs.

``python examples/fine_tune.py`` fine-tunes two models of MNIST on Fashion-MNIST. With ``--quick``,
models of all ten embedded digits are fine-tuned on the digits 0–4, in seconds and without a
download.
"""

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

import zoo

# One model for ℓ∞ and one for L2. For each: the budget for training and measurement, the learning
# rate, and the number of training images.
FULL = {"linf-dist-mnist": ("0.1", 1e-2, 6000), "crt-mnist": ("0.5", 1e-3, 1000)}
QUICK = {"linf-dist-digits": ("0.1", 2e-2, 600), "crt-digits": ("0.3", 2e-3, 600)}
# The exponent of ℓ∞-distance layers in training. ℓ∞ itself has sparse gradients, so training uses a
# finite exponent; inference always uses ℓ∞.
EXPONENT = 48.0


def fine_tuned(name, num_classes, eps, frozen):
    """A pretrained model with a new head, to be trained for a budget.

    Args:
        name: name of the model.
        num_classes: number of classes of the new head.
        eps: budget that the loss trains for.
        frozen: whether to train only the head.
    """
    model = zoo.load(name, num_classes=num_classes, epsilon=eps)
    for layer in model.feature_layers:
        layer.trainable = not frozen
    return model


def from_scratch(name, num_classes, eps):
    """The same architecture without pretrained weights."""
    return zoo.load(name, num_classes=num_classes, epsilon=eps, weights=False)


def accuracies(model, images, eps):
    """The clean and the certified accuracy of a model on images."""
    certificate = model.certify(images.images)
    clean = float((certificate.prediction == images.labels).mean())
    return clean, certificate.accuracy(images.labels, eps)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--epochs", type=int, default=5, help="epochs of each training (default: %(default)s)"
    )
    parser.add_argument(
        "--images", type=int, help="number of training images (default: a number for each model)"
    )
    parser.add_argument(
        "--test", type=int, default=1000, help="number of test images (default: %(default)s)"
    )
    parser.add_argument("--quick", action="store_true", help="use the embedded digits only")
    options = parser.parse_args(arguments)
    zoo.ops.use_float32_products()
    train, test = (
        zoo.data.load("digits" if options.quick else "fashion-mnist", part)
        for part in ("train", "test")
    )
    num_classes = 5 if options.quick else 10
    train, test = (images_below(images, num_classes) for images in (train, test))
    test = test.take(options.test)
    results = {}
    for name, (eps, learning_rate, own) in (QUICK if options.quick else FULL).items():
        few = train.take(min(options.images or own, len(train)))
        print(f"{name}, {options.epochs} epochs on {len(few)} images of {few.name}")
        print(f"  {'':<18} clean   certified at {eps}")
        ways = {
            "head alone": lambda *of: fine_tuned(*of, frozen=True),
            "all layers": lambda *of: fine_tuned(*of, frozen=False),
            "from scratch": from_scratch,
        }
        for way, build in ways.items():
            keras.utils.set_random_seed(0)
            model = build(name, num_classes, eps)
            if hasattr(model, "p"):
                model.p = EXPONENT
            model.compile(keras.optimizers.Adam(learning_rate))  # with the approach's own loss
            model.fit(few.images, few.labels, batch_size=32, epochs=options.epochs, verbose=0)
            results[name, way] = clean, certified = accuracies(model, test, eps)
            print(f"  {way:<18} {clean:6.2%}  {certified:6.2%}", flush=True)
    return results


def images_below(images, num_classes):
    """The images whose labels are below ``num_classes``."""
    few = np.flatnonzero(images.labels < num_classes)
    return type(images)(images.name, images.images[few], images.labels[few], num_classes)


if __name__ == "__main__":
    main()
