"""Gradients of ℓp distances, and the model that they are taken in place of."""

import concurrent.futures

import keras
import numpy as np
import pytest

import zoo
from zoo.attacks.compiled import logits_of, value_and_gradient
from zoo.attacks.objectives import margin
from zoo.attacks.surrogate import Surrogate, distance_layers, exponents
from zoo.attacks.victim import victim
from zoo.errors import UnsupportedLayerError


def test_exponents_grow_by_the_same_factor():
    np.testing.assert_allclose(exponents(8, 1000, 3), [8, 8000**0.5, 1000])
    assert exponents(8, 1000, 1) == [8]


@pytest.fixture
def surrogate(small_model):
    small_model(np.zeros((1, 4, 4, 1), "float32"))
    return Surrogate(small_model)


def test_it_comes_near_the_model_as_p_grows(small_model, surrogate, small_images):
    logits = small_model.logits(small_images)
    apart = [
        np.abs(logits_of(surrogate.prepare(p), small_images) - logits).max()
        for p in (2.0, 20.0, 1000.0)
    ]
    assert apart[0] > apart[1] > apart[2]
    assert apart[2] < 0.02


def test_its_gradient_is_not_sparse(small_model, surrogate, small_images):
    y = np.argmax(small_model.logits(small_images), axis=1)
    share = [
        np.mean(value_and_gradient(each, margin, small_images, y)[2] != 0)
        for each in (victim(small_model), surrogate.prepare(8.0))
    ]
    assert share[0] < 0.3
    assert share[1] > 0.9


def test_the_model_stays_as_it_is(small_model, small_images):
    small_model.p = 30.0
    before = [small_model.logits(small_images), *small_model.get_weights()]
    certificate = small_model.certify(small_images)
    small_model.attack(small_images, None, "surrogate", eps=0.1, steps=2)
    small_model.attack(small_images, None, "fmn", eps=0.1, steps=2)
    assert small_model.p == 30.0
    for old, new in zip(
        before, [small_model.logits(small_images), *small_model.get_weights()], strict=True
    ):
        np.testing.assert_array_equal(old, new)
    np.testing.assert_array_equal(small_model.certify(small_images).radius, certificate.radius)


def test_changed_weights_are_seen(small_model, small_images):
    y = np.argmax(small_model.logits(small_images), axis=1)
    small_model.attack(small_images, y, "surrogate", eps=0.1, steps=2)
    known = victim(small_model).surrogate
    small_model.set_weights([w[::-1] if w.ndim == 2 else w for w in small_model.get_weights()])
    attacked = small_model.attack(small_images, y, "surrogate", eps=0.1, steps=2)
    assert victim(small_model).surrogate is known
    fresh = zoo.models.LinfDistNet.from_config(small_model.get_config())
    fresh(small_images)
    fresh.set_weights(small_model.get_weights())
    np.testing.assert_array_equal(
        attacked, fresh.attack(small_images, y, "surrogate", eps=0.1, steps=2)
    )


def test_nobody_certifies_it(surrogate, small_images):
    copy = surrogate.prepare(8.0).model
    with pytest.raises(UnsupportedLayerError, match="replaced"):
        copy.certify(small_images)


def test_other_models_are_refused():
    layers = [keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(3)]
    model = zoo.models.LipschitzMarginNet(keras.Sequential(layers))
    assert not distance_layers(model)
    with pytest.raises(ValueError, match="needs a model with layers of ℓ∞ distances"):
        model.attack(np.full((1, 4, 4, 1), 0.5), [0], "surrogate", eps=0.1, norm="l2")


@pytest.mark.integration
def test_threads_take_turns_with_the_copy(small_model, small_images):
    def attacked(seed):
        return small_model.attack(small_images, y, "surrogate", eps=0.1, steps=3, seed=seed)

    y = np.argmax(small_model.logits(small_images), axis=1)
    expected = [attacked(seed) for seed in range(4)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        found = list(pool.map(attacked, range(4)))
    np.testing.assert_array_equal(found, expected)
