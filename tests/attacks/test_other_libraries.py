"""Attacks of other libraries take the models of the zoo as they are."""

import importlib.util
import pathlib
import re

import keras
import numpy as np
import pytest

import zoo
from tests.backend import BACKEND

PAGE = pathlib.Path(zoo.__file__).parent.parent / "docs" / "other_attacks.md"
# Blocks without prompts: those of libraries that may not be installed.
SNIPPETS = [
    block
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    if ">>>" not in block
]
pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="the snippets are for TensorFlow")


def library_of(snippet):
    names = re.findall(r"^(?:import|from) (\w+)", snippet, re.MULTILINE)
    (name,) = set(names) & {"foolbox", "art"}
    return name


def test_the_page_has_a_snippet_for_each():
    assert [library_of(snippet) for snippet in SNIPPETS] == ["foolbox", "art", "art"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("snippet", SNIPPETS, ids=["foolbox", "tensorflow_v2", "keras"])
def test_snippets(snippet, digits):
    name = library_of(snippet)
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    import tensorflow as tf

    model, x, y = zoo.load("linf-dist-digits"), digits.images[:20], digits.labels[:20]
    left = []

    def accuracy_left(x_adv):
        x_adv = zoo.attacks.project(x_adv, x, 0.2, "linf")
        left.append(np.mean(np.argmax(model.logits(x_adv), axis=1) == y))

    exec(snippet, {"model": model, "x": x, "y": y, "tf": tf, "accuracy_left": accuracy_left})
    clean = np.mean(np.argmax(model.logits(x), axis=1) == y)
    assert model.certify(x).accuracy(y, 0.2) <= left[0] < clean


def test_what_a_functional_model_says_of_itself(digits_model):
    functional = digits_model.export_model()
    for name in ("input_shape", "output_shape"):
        assert getattr(digits_model, name) == getattr(functional, name)
    for name in ("inputs", "outputs"):
        (ours,), (theirs,) = getattr(digits_model, name), getattr(functional, name)
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
    x = np.full((2, 8, 8, 1), 0.5, "float32")
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(digits_model(x, batch_size=1, verbose=0)),
        keras.ops.convert_to_numpy(digits_model(x)),
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_no_weaker_than_art(digits, norm):
    """Auto-PGD and Square at equal budgets; what ART returns is brought back into the ball."""
    pytest.importorskip("art")
    from art.attacks.evasion import AutoProjectedGradientDescent, SquareAttack
    from art.estimators.classification import TensorFlowV2Classifier

    name, eps = ("linf-dist-digits", 0.2) if norm == "linf" else ("l2nnn-digits", 0.5)
    model, x, y = zoo.load(name), digits.images, digits.labels
    classifier = TensorFlowV2Classifier(
        model=model,
        nb_classes=10,
        input_shape=model.image_shape,
        clip_values=(0, 1),
        loss_object=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    common = {"norm": np.inf if norm == "linf" else 2, "eps": eps, "batch_size": 500}
    pairs = [
        (
            AutoProjectedGradientDescent(
                classifier, **common, eps_step=2 * eps, max_iter=20, nb_random_init=1, verbose=False
            ),
            zoo.attacks.APGDCE(steps=20),
        ),
    ]
    if norm == "linf":  # the other one gives NaN at 8 × 8 pixels
        theirs = SquareAttack(classifier, **common, max_iter=1000, nb_restarts=1, verbose=False)
        pairs.append((theirs, zoo.attacks.Square(queries=1000)))

    def left(x_adv):
        x_adv = zoo.attacks.project(x_adv, x, eps, norm)
        return np.mean(np.argmax(model.logits(x_adv), axis=1) == y)

    for theirs, ours in pairs:
        plain = left(theirs.generate(x, np.eye(10)[y]))
        assert left(model.attack(x, y, ours, eps=eps, norm=norm)) <= plain + 0.004
