"""An attack from outside the package works by its name, with no change in the package."""

import dataclasses
import inspect
import json

import numpy as np
import pytest

import zoo
from tests.backend import BACKEND
from zoo.attacks import ATTACKS, Attack, check_settings, parameter, register_attack
from zoo.attacks.registry import ARGUMENTS
from zoo.cli import main
from zoo.evaluation.outcome import attacks_of
from zoo.utils import checks


@dataclasses.dataclass(frozen=True)
class Noise(Attack):
    """Random noise, the best of some tries."""

    tries: int = parameter(3, "random images", checks.positive_integer)

    def run(self, victim, x, y, eps, norm, random):
        best, best_gap = x.copy(), victim.gap(x, y)
        for _ in range(self.tries):
            step = random.uniform(-eps.below, eps.below, x.shape)
            x_adv = zoo.attacks.project(x + step, x, eps, norm)
            gap = victim.gap(x_adv, y)
            better = gap < best_gap
            best[better], best_gap[better] = x_adv[better], gap[better]
        return best


@pytest.fixture(autouse=True)
def registered():
    """Noise is an attack for as long as a test runs."""
    before = dict(ATTACKS)
    kind = register_attack("noise")(Noise)
    yield kind
    ATTACKS.clear()
    ATTACKS.update(before)


@pytest.fixture(scope="module")
def images(digits):
    return digits.images[:10], digits.labels[:10]


def returning(result):
    """An attack, registered as ``made``, that returns what a function makes of the images."""

    @register_attack("made")
    @dataclasses.dataclass(frozen=True)
    class Made(Attack):
        def run(self, victim, x, y, eps, norm, random):
            return result(x, random)

    return Made


def test_by_name(digits_model, images):
    x, y = images
    x_adv = digits_model.attack(x, y, "noise", eps=0.2, norm="linf", tries=5)
    assert 0 < np.abs(x_adv.astype("float64") - x).max() <= 0.2
    other = digits_model.attack(x, y, Noise(tries=5), eps=0.2, norm="linf")
    np.testing.assert_array_equal(other, x_adv)
    assert (digits_model.attack(x, y, "noise", eps=0.2, norm="linf") != x_adv).any()


def test_in_an_evaluation(digits_model, images):
    report = digits_model.evaluate_robustness(
        *images, eps=0.2, norm="linf", attacks=("fgsm", "noise"), params={"noise": {"tries": 2}}
    )
    attacked = report.rows[0]["attacked"]
    assert list(attacked) == ["fgsm", "noise", "all"]
    assert report.clean >= attacked["noise"] >= attacked["all"]


def test_on_the_command_line(capsys):
    command = ["attack", "linf-dist-digits", "--n", "4", "--eps", "0.2", "--quiet", "--json"]
    assert main([*command, "--attack", "noise", "--tries", "2"]) == 0
    assert json.loads(capsys.readouterr().out)["attack"] == "noise"
    assert main([*command, "--attack", "noise", "--tries", "0"]) == 1
    assert capsys.readouterr().err == "error: --tries must be a positive integer, got 0\n"


def test_its_parameters_are_checked_and_described():
    with pytest.raises(ValueError, match="tries must be a positive integer, got '3'"):
        check_settings("noise", "l2", {"tries": "3"})
    with pytest.raises(TypeError, match="the noise attack has no parameter 'steps'; it has: tries"):
        check_settings("noise", "l2", {"steps": 3})
    assert "tries: random images (default: 3)" in inspect.getdoc(Noise)


def test_what_a_batch_draws_follows_from_the_seed_and_its_place(digits_model, images):
    x, y = images
    drawn = []
    returning(lambda x, random: drawn.append(random.random()) or x)
    digits_model.attack(x, y, "made", eps=0.1, batch_size=4, seed=7)
    digits_model.attack(x[8:], y[8:], "made", eps=0.1, batch_size=4, seed=7, first=8)
    expected = [np.random.default_rng([7, batch]).random() for batch in (0, 1, 2, 2)]
    assert drawn == expected


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_what_leaves_the_ball_is_brought_back(digits_model, images, norm):
    """Even where the attack works in place, and so changes the images that it was given."""
    x, y = images

    def outside(x, random):
        x += 3.0
        x[0, 0] = np.nan
        return x

    returning(outside)
    x_adv = digits_model.attack(x, y, "made", eps=0.1, norm=norm)
    change = (x_adv.astype("float64") - x).reshape(len(x), -1)
    size = np.abs(change).max(axis=1) if norm == "linf" else np.sqrt((change**2).sum(axis=1))
    assert (size <= 0.1).all()
    assert (size > 0.09).all()
    assert x_adv.max() <= 1


def test_another_shape_is_refused(digits_model, images):
    returning(lambda x, random: x[:, :1])
    with pytest.raises(ValueError, match=r"the made attack must return .* \(10, 8, 8, 1\), got"):
        digits_model.attack(*images, "made", eps=0.1)


def test_limits_of_norm_model_and_backend(digits_model, monkeypatch):
    monkeypatch.setattr(Noise, "norms", ("l2",))
    with pytest.raises(ValueError, match="the noise attack is for norm 'l2', got 'linf'"):
        check_settings("noise", "linf")
    others = {"tensorflow": "jax", "jax": "tensorflow"}
    monkeypatch.setattr(Noise, "backends", (others[BACKEND],))
    with pytest.raises(NotImplementedError, match=f"no 'noise' attack for the {BACKEND} backend"):
        check_settings("noise", "l2")
    monkeypatch.undo()

    def refuse(self, model):
        raise ValueError("not for this model")

    monkeypatch.setattr(Noise, "check_model", refuse)
    check_settings("noise", "l2")
    with pytest.raises(ValueError, match="not for this model"):
        check_settings("noise", "l2", model=digits_model)


def test_attacks_in_place_of_names(digits_model, images):
    x, y = images
    few, many = zoo.attacks.PGD(steps=1), zoo.attacks.PGD(steps=3)
    report = digits_model.evaluate_robustness(x, y, eps=0.2, norm="linf", attacks=[few, many])
    assert list(report.rows[0]["attacked"]) == ["pgd(steps=1)", "pgd(steps=3)", "all"]
    report = digits_model.evaluate_robustness(x, y, eps=0.2, norm="linf", attacks=many)
    assert list(report.rows[0]["attacked"]) == ["pgd"]
    with pytest.raises(TypeError, match="holds its own parameters, so that steps cannot be given"):
        digits_model.attack(x, y, many, eps=0.2, steps=4)
    with pytest.raises(ValueError, match=r"params for \['pgd'\], which are not among the attacks"):
        digits_model.evaluate_robustness(
            x, y, eps=0.2, attacks=[many], params={"pgd": {"steps": 4}}
        )


def test_an_attack_travels_without_its_registration(images):
    """As to a worker of a cluster, which knows none of the names that a program registered."""
    pickle = pytest.importorskip("ray.cloudpickle")
    made = returning(lambda x, random: x)
    (sent,) = attacks_of("made")
    packed = pickle.dumps(sent)
    del ATTACKS["made"]
    received = pickle.loads(packed)
    assert received.name == made.name == "made"


def test_names_of_parameters_do_not_clash():
    assert set(ARGUMENTS) == set(inspect.signature(zoo.attacks.attack).parameters) - {"params"}


def test_a_definition_that_is_run_again_replaces_the_first():
    first, second = (returning(lambda x, random: x) for _ in range(2))
    assert first is not second
    assert ATTACKS["made"] is second


def dataclass(name, base=Attack, frozen=True, **members):
    """A dataclass with a run() and these fields, or other members."""
    members = {"run": Noise.run, **members}
    members["__annotations__"] = {k: int for k in members if k not in ("run", "norms")}
    return dataclasses.dataclass(frozen=frozen)(type(name, (base,), members))


@pytest.mark.parametrize(
    ("name", "make", "error", "message"),
    [
        ("all", lambda: Noise, ValueError, "an identifier other than 'all', got 'all'"),
        ("a,b", lambda: Noise, ValueError, "an identifier"),
        ("-a", lambda: Noise, ValueError, "an identifier"),
        (3, lambda: Noise, ValueError, "an identifier"),
        ("pgd", lambda: Noise, ValueError, "there is an attack 'pgd' already, the class zoo"),
        ("mine", lambda: Noise(), TypeError, "must be a subclass of zoo.attacks.Attack"),
        ("mine", lambda: dict, TypeError, "must be a subclass of zoo.attacks.Attack"),
        (
            "mine",
            lambda: type("Bare", (Attack,), {"run": Noise.run}),
            TypeError,
            r"Bare must be decorated with @dataclasses.dataclass\(frozen=True\)",
        ),
        (
            "mine",
            lambda: dataclass("Idle", run=Attack.run),
            TypeError,
            r"Idle must define run\(\)",
        ),
        (
            "mine",
            lambda: dataclass("NoDefault", tries=dataclasses.field()),
            ValueError,
            "parameter 'tries' of NoDefault needs a default",
        ),
        (
            "mine",
            lambda: dataclass("Seeded", seed=parameter(0, "")),
            ValueError,
            "parameter 'seed' of Seeded has the name of an argument",
        ),
        ("mine", lambda: dataclass("Other", norms=("l1",)), ValueError, r"norms of Other .*'l1'"),
    ],
)
def test_what_is_no_attack_is_refused(name, make, error, message):
    kind = make()
    with pytest.raises(error, match=message):
        register_attack(name)(kind)
    assert "mine" not in ATTACKS
