"""The ensemble: who attacks, in which order, and with which random numbers."""

import dataclasses

import numpy as np
import pytest

import zoo
from zoo.attacks import ATTACKS, AutoAttack
from zoo.attacks.methods import auto

NAMES = ["apgd-ce", "apgd-t", "fab-t", "square", "momentum", "surrogate"]
QUICK = {"steps": 5, "targets": 2, "queries": 20}


def test_members(digits_model):
    members = AutoAttack(steps=50, targets=3, restarts=2, queries=7).members(digits_model)
    assert [member.name for member in members] == NAMES
    assert members[1] == zoo.attacks.APGDT(steps=50, targets=3, restarts=2)
    assert members[3] == zoo.attacks.Square(queries=7)
    lipschitz = AutoAttack().members(zoo.load("lc-lmt-digits"))
    assert [member.name for member in lipschitz] == NAMES[:-1]


@pytest.mark.integration
def test_each_member_attacks_what_is_left(digits, digits_model, monkeypatch):
    x, y = digits.images[:24], digits.labels[:24]
    seen = []
    for name in NAMES:
        kind = ATTACKS[name]

        def run(self, victim, images, labels, eps, norm, random, of_class=kind.run):
            seen.append((self.name, images.copy(), random.bit_generator.seed_seq.entropy))
            return of_class(self, victim, images, labels, eps, norm, random)

        monkeypatch.setattr(kind, "run", run)
    x_adv = digits_model.attack(x, y, "auto", eps=0.2, seed=7, batch_size=12, **QUICK)
    batches = [seen[:6], seen[6:]]
    for number, members in enumerate(batches):
        assert [name for name, *_ in members] == NAMES
        counts = [len(images) for _, images, _ in members]
        assert counts == sorted(counts, reverse=True)
        assert counts[-1] < counts[0]
        assert [entropy for *_, entropy in members] == [[7, number, i] for i in range(6)]
    # An image that was wrong from the beginning is attacked by none.
    right = np.argmax(digits_model.logits(x), axis=1) == y
    assert len(batches[0][0][1]) == right[:12].sum()
    left = np.argmax(digits_model.logits(x_adv), axis=1) == y
    assert left.sum() <= sum(len(members[-1][1]) for members in batches)


@pytest.mark.integration
def test_it_leaves_no_more_than_any_member(digits, digits_model):
    x, y = digits.images[:16], digits.labels[:16]

    def left(attack):
        x_adv = digits_model.attack(x, y, attack, eps=0.25)
        return np.argmax(digits_model.logits(x_adv), axis=1) == y

    ensemble = AutoAttack(**QUICK)
    together = left(ensemble)
    members = ensemble.members(digits_model)
    # The first has the images that the ensemble had; others draw other numbers alone.
    assert not (together & ~left(members[0])).any()
    for member in members:
        assert together.mean() <= left(member).mean()


def test_a_fault_of_one_member_is_made_up_for(digits, digits_model, monkeypatch):
    """Each result is projected and judged by the model itself."""

    @dataclasses.dataclass(frozen=True)
    class Useless(zoo.attacks.Attack):
        def run(self, victim, x, y, eps, norm, random):
            return np.full(x.shape, np.nan)

    x, y = digits.images[:20], digits.labels[:20]
    fgsm = zoo.attacks.FGSM()
    monkeypatch.setattr(auto.AutoAttack, "members", lambda self, model: [fgsm, Useless()])
    found = digits_model.attack(x, y, "auto", eps=0.2)
    assert np.isfinite(found).all()
    expected = digits_model.attack(x, y, fgsm, eps=0.2)
    accuracy = [np.mean(np.argmax(digits_model.logits(a), axis=1) == y) for a in (found, expected)]
    assert accuracy[0] == accuracy[1]


@pytest.mark.integration
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_colour_images(norm):
    model = zoo.models.LinfDistNet((6, 6, 3), 4, width=12, depth=2)
    x = np.random.default_rng(0).uniform(size=(6, 6, 6, 3)).astype("float32")
    x_adv = model.attack(x, None, "auto", eps=0.3, norm=norm, **QUICK)
    assert (np.argmax(model.logits(x_adv), axis=1) != np.argmax(model.logits(x), axis=1)).any()
