"""The images of a recipe.

Files of the user's own are often sorted by class. Their images are therefore shuffled, always in
the same way, wherever a part of them is taken: held-out images, a limited number of training
images, and the test images, of which some measurements take the first ones. The registered sets are
not sorted by class, and keep their order.
"""

import numpy as np

from zoo import data


def splits(recipe, data_file=None):
    """Training and validation images of a recipe; neither are test images.

    The validation images are the first ``data.validation`` ones of the set's own validation split;
    of a set without such a split, they are the last ones of its training images, which are then not
    trained on. If the recipe has the entry ``data.images``, only that many training images are
    used, held-out ones included. Only ``--measure`` and the monitor, which chooses nothing, read
    the test set.

    Args:
        recipe: recipe, as :func:`training.recipe.load` returns it.
        data_file: an ``.npz`` file to use instead of the recipe's image set.
    """
    name = recipe["data"]["name"]
    source = data_file or name
    held_out, limit = recipe["data"].get("validation", 0), recipe["data"].get("images")
    images = data.load(source, "train")
    images.required_labels()
    if held_out or limit:
        images = _shuffled(images, name)
    images = images.take(len(images) if limit is None else limit)
    # A file that stands for a registered set must have the splits of this set.
    if data.has_split(name if name in data.DATASETS else source, "validation"):
        if not held_out:
            return images, images.take(0)
        # The set's own split: its images may not be separable from the others in another way, such
        # as frames of one film.
        validation = _shuffled(data.load(source, "validation"), name)
        validation.required_labels()
        if held_out > len(validation):
            raise ValueError(f"{validation.name} has {len(validation)} images, not {held_out}")
        return images, validation.take(held_out)
    if held_out >= len(images):
        raise ValueError(f"validation holds out {held_out} of only {len(images)} images")
    first_held_out = len(images) - held_out
    return images.take(first_held_out), images.take(first_held_out, len(images))


def load_test(name, data_file=None):
    """The test images, of which the first ones are a fair sample.

    Args:
        name: name of the recipe's image set.
        data_file: an ``.npz`` file to use instead.
    """
    return _shuffled(data.load(data_file or name, "test"), name)


def require_separate(source):
    """Raise if the training images of a file are its test images.

    An ``.npz`` file with the arrays ``x`` and ``y`` alone gives them as each of its splits.

    Args:
        source: path of a file, or the name of an image set, whose images are not compared.

    Raises:
        ValueError: naming the file.
    """
    if not data.is_own(source):
        return
    training, test = data.load(source, "train"), data.load(source, "test")
    if np.array_equal(training.images, test.images):
        raise ValueError(
            f"{test.name} has the same images as {training.name}; an .npz file needs the arrays "
            "x_train, y_train, x_test and y_test"
        )


def _shuffled(images, name):
    return images.shuffled() if data.is_own(name) else images
