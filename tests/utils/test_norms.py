"""Norms are read in one place, so every function takes what another one takes."""

import numpy as np
import pytest

import zoo
from zoo.utils.norms import norm_of

SPELLINGS = {
    "linf": [np.inf, float("inf"), np.float32("inf"), "Linf", "LINF", "inf", " linf ", "ℓ∞"],
    "l2": [2, 2.0, np.int64(2), "L2", "l_2", "2", "ℓ2"],
}


@pytest.mark.parametrize(("norm", "spelling"), [(n, s) for n in SPELLINGS for s in SPELLINGS[n]])
def test_spellings(norm, spelling):
    assert norm_of(spelling) == norm


@pytest.mark.parametrize("value", [1, "l1", None, True, -np.inf, 2.5, 2.0000001, [2], "", np.nan])
def test_anything_else_is_refused(value):
    with pytest.raises(ValueError, match="norm must be 'linf' or 'l2', got"):
        norm_of(value)


def test_every_function_takes_them(digits, digits_model):
    x, y = digits.images[:3], digits.labels[:3]
    assert digits_model.certify(x, norm=np.inf).norm == "linf"
    assert zoo.certify(digits_model, x, norm="Linf").norm == "linf"
    report = zoo.evaluate(digits_model, x, y, eps=0.1, norm="LINF", attacks="fgsm")
    assert report.norm == "linf"
    assert zoo.attacks.attack(digits_model, x, y, "fgsm", eps=0.1, norm=np.inf).shape == x.shape
    zoo.attacks.check_settings("fgsm", np.inf, model=digits_model)
    moved = zoo.attacks.project(x + 1.0, x, 0.1, 2)
    np.testing.assert_array_equal(moved, zoo.attacks.project(x + 1.0, x, 0.1, "l2"))
    assert (moved != zoo.attacks.project(x + 1.0, x, 0.1, np.inf)).any()
    assert zoo.callbacks.CertifiedAccuracy((x, y), 0.1, norm=np.inf).norm == "linf"
    assert zoo.certificates.LogitCertificate(2, (8, 8, 1), 1.0).norm == "l2"
