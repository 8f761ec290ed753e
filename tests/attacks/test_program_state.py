"""An attack leaves the program's random states and settings as they are, and needs none of them."""

import random
import sys

import keras
import numba
import numpy as np
import pytest
from keras.src.backend.common import global_state

import zoo
from tests.attacks.test_attacks import HERE, QUICK
from tests.backend import BACKEND

MODELS = dict.fromkeys(HERE, "linf-dist-digits") | {"second_order": "crt-digits"}
PARAMS = QUICK | {"second_order": {"steps": 3}}


def settings():
    """Random states, types, threads and switches of the whole program."""
    import tensorflow as tf

    generator = global_state.get_global_attribute("global_seed_generator")
    found = {
        "random": random.getstate(),
        "numpy": np.random.get_state()[1].tolist(),
        "error state": np.geterr(),
        "keras seed": None if generator is None else np.asarray(generator.state.value).tolist(),
        "policy": keras.config.dtype_policy().name,
        "floatx": keras.config.floatx(),
        "epsilon": keras.config.epsilon(),
        "data format": keras.config.image_data_format(),
        "numba threads": numba.get_num_threads(),
        "modules": "jax.experimental.stax" in sys.modules,
        "eager": (tf.executing_eagerly(), tf.config.functions_run_eagerly()),
        "threads": (
            tf.config.threading.get_inter_op_parallelism_threads(),
            tf.config.threading.get_intra_op_parallelism_threads(),
        ),
        "precision": tf.config.experimental.tensor_float_32_execution_enabled(),
        "jit": tf.config.optimizer.get_jit(),
    }
    if BACKEND == "jax":
        import jax

        found["jax"] = dict(jax.config.values)
    return found


def drawn():
    """What the backend draws next at random, in the program outside of the attacks."""
    values = [np.asarray(keras.random.normal((3,)))]
    if BACKEND == "tensorflow":
        import tensorflow as tf

        values += [tf.random.normal((3,)).numpy(), tf.function(tf.random.normal)((3,)).numpy()]
    return values


@pytest.mark.integration
@pytest.mark.parametrize("name", MODELS)
def test_the_result_follows_from_the_seed_alone_and_the_program_keeps_its_state(name, digits):
    """Whatever the program's own seeds are, and however often the model was attacked before."""
    x, y = digits.images[:4], digits.labels[:4]
    model = zoo.load(MODELS[name])
    found = []
    for seed in (1, 2):
        keras.utils.set_random_seed(seed)
        expected = drawn()
        keras.utils.set_random_seed(seed)
        before = settings()
        found.append(model.attack(x, y, name, eps=0.2, seed=5, **PARAMS[name]))
        assert settings() == before
        np.testing.assert_array_equal(drawn(), expected)
    found.append(zoo.load(MODELS[name]).attack(x, y, name, eps=0.2, seed=5, **PARAMS[name]))
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])


@pytest.mark.parametrize("name", [name for name in HERE if name in ("pgd", "spsa")])
def test_another_seed_draws_otherwise(name, digits, digits_model):
    x, y = digits.images[:4], digits.labels[:4]
    params = {**PARAMS[name], "steps": 1, **({"random_init": True} if name == "pgd" else {})}
    found = [digits_model.attack(x, y, name, eps=0.01, seed=seed, **params) for seed in (0, 1)]
    assert (found[0] != found[1]).any()
    # And each image by itself.
    twice = digits_model.attack(x[[0, 0]], y[[0, 0]], name, eps=0.01, **params)
    assert (twice[0] != twice[1]).any()
