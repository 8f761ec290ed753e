"""Whatever is wrong with an attack's arguments is named before anything is computed."""

import numpy as np
import pytest

import zoo
from zoo.attacks import check_settings

WRONG_PARAMS = [
    ("pgd", "steps", "3"),
    ("pgd", "steps", True),
    ("pgd", "steps", 2.0),
    ("pgd", "steps", None),
    ("pgd", "restarts", 0),
    ("pgd", "loss", 5),
    ("pgd", "loss", ["margin"]),
    ("pgd", "random_init", "no"),
    ("pgd", "step_size", -0.1),
    ("pgd", "step_size", float("nan")),
    ("momentum", "decay", "1"),
    ("momentum", "decay", -1.0),
    ("cw", "confidence", float("inf")),
    ("cw", "confidence", None),
    ("cw", "learning_rate", None),
    ("cw", "initial_constant", 0),
    ("cw", "search_steps", 1.5),
    ("spsa", "samples", 3),
    ("spsa", "delta", "0.1"),
    ("apgd-ce", "restarts", 0),
    ("apgd-t", "targets", "9"),
    ("fab-t", "steps", -1),
    ("square", "queries", None),
    ("square", "share", 1.5),
    ("surrogate", "first_p", 1.0),
    ("fmn", "step_size", 0),
    ("auto", "queries", 0),
    ("second_order", "steps", 0),
]


@pytest.fixture
def untouched(digits_model, monkeypatch):
    """The shipped model, which computes nothing."""

    def computed(*args, **kwargs):
        pytest.fail("something was computed before the arguments were checked")

    monkeypatch.setattr(type(digits_model), "call", computed)
    return digits_model


@pytest.mark.parametrize(("attack", "name", "value"), WRONG_PARAMS)
def test_a_wrong_parameter_is_named(attack, name, value):
    with pytest.raises(ValueError, match=f"^{name} must be .*got {value!r}".replace("[", r"\[")):
        check_settings(attack, params={name: value})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attack": None}, "attack must be one of .*got None"),
        ({"attack": ["pgd"]}, "attack must be one of"),
        ({"norm": 3}, "norm must be 'linf' or 'l2', got 3"),
        ({"norm": np.array(["l2", "linf"])}, "norm must be"),
        ({"steps": "3"}, "steps must be"),
        ({"seed": -1}, "seed must be an integer that is not negative, got -1"),
        ({"seed": 1.5}, "seed must be"),
        ({"seed": None}, "seed must be"),
        ({"batch_size": True}, "batch_size must be"),
        ({"first": -256}, "first must be"),
        ({"first": "0"}, "first must be"),
        ({"eps": np.array([0.1])}, "eps must be"),
        ({"attack": "second_order", "norm": "l2"}, "needs a model with curvature bounds"),
        ({"y": np.zeros(3, int)}, r"y must have shape \(2,\)"),
    ],
)
def test_a_wrong_argument_is_named(untouched, options, message):
    options = {"y": [0, 1], "attack": "pgd", "eps": 0.1, **options}
    with pytest.raises(ValueError, match=message):
        untouched.attack(np.full((2, 8, 8, 1), 0.5), **options)


@pytest.mark.parametrize("name", ["x", "y"])
def test_what_is_no_array_is_named(untouched, name):
    arguments = {"x": np.full((2, 8, 8, 1), 0.5), "y": [0, 1], name: object()}
    with pytest.raises(TypeError, match=f"^{name} must be"):
        untouched.attack(**arguments, eps=0.1)


def test_only_keras_models_are_attacked():
    x, y = np.full((2, 8, 8, 1), 0.5, "float32"), np.array([0, 1])
    for other in (None, "linf-dist-digits", lambda x: x):
        with pytest.raises(TypeError, match="a model of the zoo, .* or another Keras model"):
            zoo.attacks.attack(other, x, y, "fgsm", eps=0.1, norm="linf")


def test_a_model_without_certificates_needs_a_norm(digits_model, monkeypatch):
    monkeypatch.setattr(type(digits_model), "certificates", ())
    x = np.full((1, 8, 8, 1), 0.5)
    with pytest.raises(ValueError, match="norm must be given"):
        digits_model.attack(x, None, "fgsm", eps=0.1)
    assert digits_model.attack(x, None, "fgsm", eps=0.1, norm="linf").shape == x.shape


def test_settings_that_are_right_pass(digits_model):
    check_settings("pgd", "l2", {"steps": np.int64(3), "step_size": None}, model=digits_model)
    check_settings("fgsm")
    labels = [3, 4]
    x = np.full((2, 8, 8, 1), 0.5)
    expected = digits_model.attack(x, np.array(labels), "fgsm", eps=0.1)
    found = digits_model.attack(x, labels, "fgsm", eps=np.float32(0.1), seed=np.int64(2))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_norm_that_the_attack_is_not_for():
    with pytest.raises(ValueError, match="for norm 'linf', got 'l2'; attacks for 'l2': fgsm, pgd,"):
        check_settings("spsa", "l2")
    with pytest.raises(ValueError, match="the second_order attack is for norm 'l2', got 'linf'"):
        check_settings("second_order", "linf")
