"""An attack compiles once per model and keeps no more than a few compiled functions."""

import gc
import weakref

import keras
import numpy as np
import pytest

import zoo
from tests.attacks.test_attacks import HERE, tensorflow_only
from tests.backend import BACKEND
from zoo.attacks.victim import victim

QUICK = {
    "fgsm": {},
    "pgd": {"steps": 1},
    "momentum": {"steps": 1},
    "cw": {"steps": 2, "search_steps": 1},
    "spsa": {"steps": 1, "samples": 2},
    "apgd-ce": {"steps": 1},
    "apgd-dlr": {"steps": 1},
    "apgd-t": {"steps": 1, "targets": 2},
    "fab-t": {"steps": 1, "targets": 2},
    "square": {"queries": 3},
    "surrogate": {"steps": 1, "stages": 2},
    "fmn": {"steps": 2},
    "auto": {"steps": 1, "targets": 2, "queries": 3},
}
# What may differ from call to call without compiling again.
FREE = {
    "fgsm": {},
    "pgd": {"step_size": 0.01},
    "momentum": {"decay": 0.5, "step_size": 0.01},
    "cw": {"learning_rate": 0.1, "initial_constant": 2.0, "confidence": 0.1, "steps": 3},
    "spsa": {"learning_rate": 0.1, "delta": 0.02},
    "apgd-ce": {"steps": 2, "restarts": 2},
    "apgd-dlr": {"steps": 2, "restarts": 2},
    "apgd-t": {"targets": 3, "restarts": 2},
    "fab-t": {"targets": 3, "restarts": 2},
    "square": {"queries": 5},
    "surrogate": {"stages": 3, "first_p": 20.0, "restarts": 2},
    "fmn": {"steps": 3, "step_size": 0.5},
}


@pytest.fixture
def jax_traces(monkeypatch):
    """A list that grows whenever JAX traces a model, which it calls in this way only then."""
    found, original = [], keras.Model.stateless_call

    def stateless_call(self, *arguments, **options):
        found.append(type(self).__name__)
        return original(self, *arguments, **options)

    monkeypatch.setattr(keras.Model, "stateless_call", stateless_call)
    return found


def traces(model):
    """How often TensorFlow traced anything for attacks on a model."""
    compiled = list(victim(model)._compiled.values())
    functions = [getattr(found, "gradient", found) for found in compiled]
    return sum(function.experimental_get_tracing_count() for function in functions)


# auto runs others of these, as many as it takes until all images are fooled.
@pytest.mark.integration
@pytest.mark.parametrize("name", [name for name in HERE if name != "auto"])
def test_compiled_once_for_a_model_that_is_then_let_go(name, digits, jax_traces):
    def count(model):
        return len(jax_traces) if BACKEND == "jax" else traces(model)

    # In a function of its own: AutoGraph looks at the frames below it, which then keep their names.
    def attacked():
        model = zoo.load("linf-dist-digits")
        x, y = digits.images[:2], digits.labels[:2]
        model.attack(x, y, name, eps=0.1, **QUICK[name])
        before = count(model)
        assert before > 0
        for seed in range(3):
            params = {**QUICK[name], **FREE[name]}
            model.attack(x, y, name, eps=0.1 + seed / 10, seed=seed, **params)
        assert count(model) == before
        return weakref.ref(model)

    gone = attacked()
    gc.collect()
    assert gone() is None


@tensorflow_only
@pytest.mark.parametrize("name", ["pgd", "momentum"])
def test_not_for_every_number_of_images(name, digits):
    model = zoo.load("linf-dist-digits")
    for count in range(1, 6):
        x, y = digits.images[:count], digits.labels[:count]
        model.attack(x, y, name, eps=0.1, **QUICK[name])
    functions = 3 if name == "pgd" else 1  # two losses and the logits
    assert traces(model) <= 2 * functions


@pytest.mark.integration
def test_a_model_that_the_ensemble_attacked_is_let_go(digits):
    def attacked():
        model = zoo.load("linf-dist-digits")
        model.attack(digits.images[:2], digits.labels[:2], "auto", eps=0.1, **QUICK["auto"])
        return weakref.ref(model)

    gone = attacked()
    gc.collect()
    assert gone() is None


def test_other_frozen_weights_make_other_programs():
    """On JAX, programs take trainable weights apart from the others, each by its place."""
    model = zoo.load("lc-lmt-digits")
    before = victim(model)
    assert victim(model) is before
    model.head_layer.trainable = False
    assert victim(model) is not before


@pytest.mark.integration
@tensorflow_only
def test_few_compiled_functions_are_kept(digits):
    model = zoo.load("linf-dist-digits")
    for count in range(1, 12):
        model.attack(digits.images[:count], None, "cw", eps=0.1, steps=1, search_steps=1)
    assert len(victim(model)._compiled) == 8


@tensorflow_only
def test_carlini_wagner_starts_anew_each_time(digits, digits_model):
    """Its variables are used again, with nothing left in them of the call before."""
    x, y = digits.images[:3], digits.labels[:3]
    options = {"eps": 5, "norm": "l2", "steps": 15, "search_steps": 2}
    first = digits_model.attack(x, y, "cw", learning_rate=0.05, **options)
    digits_model.attack(x[::-1], y[::-1], "cw", learning_rate=0.2, confidence=0.5, **options)
    again = digits_model.attack(x, y, "cw", learning_rate=0.05, **options)
    np.testing.assert_array_equal(again, first)


def test_changed_weights_are_seen(digits):
    """A compiled step holds no weights of its own."""
    model = zoo.load("linf-dist-digits")
    x, y = digits.images[:8], digits.labels[:8]
    before = model.attack(x, y, "fgsm", eps=0.1)
    changed = [w[::-1] if w.ndim == 2 else w for w in model.get_weights()]
    model.set_weights(changed)
    after = model.attack(x, y, "fgsm", eps=0.1)
    fresh = zoo.load("linf-dist-digits")
    fresh.set_weights(changed)
    np.testing.assert_array_equal(after, fresh.attack(x, y, "fgsm", eps=0.1))
    assert (after != before).any()


@pytest.mark.parametrize("attack", ["fgsm", "pgd"])
def test_an_attack_is_on_the_model_as_it_is_now(attack):
    layers = [keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.ReLU()]
    network = keras.Sequential([*layers, keras.layers.Dense(3)])
    model = zoo.models.LipschitzMarginNet(network)
    x = np.random.default_rng(0).uniform(0.2, 0.8, size=(6, 4, 4, 1)).astype("float32")
    y = np.arange(6) % 3
    model.attack(x, y, attack, eps=0.1, norm="l2")
    # At once the gradient is zero wherever a pixel is above this.
    network.layers[1].max_value = 0.3
    attacked = model.attack(x, y, attack, eps=0.1, norm="l2")
    other = zoo.models.LipschitzMarginNet(network).attack(x, y, attack, eps=0.1, norm="l2")
    np.testing.assert_array_equal(attacked, other)
