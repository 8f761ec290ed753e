"""Reports."""

import json

import numpy as np
import pytest

import zoo


@pytest.fixture(scope="module")
def report(digits_model, digits):
    return digits_model.evaluate_robustness(
        digits.images[:100], digits.labels[:100], eps=["8/255", 0.1, 0.2], attacks=("fgsm", "pgd")
    )


def test_clean_attacked_certified(report):
    for row in report.rows:
        attacked = row["attacked"]
        assert report.clean >= attacked["fgsm"] >= attacked["all"] >= row["certified"]
        assert attacked["pgd"] >= attacked["all"]
    certified = [row["certified"] for row in report.rows]
    assert certified == sorted(certified, reverse=True)


def test_prints_as_a_table(report):
    lines = str(report).splitlines()
    assert "n = 100, linf" in lines[0]
    assert lines[1].split() == ["eps", "clean", "fgsm", "pgd", "all", "certified"]
    assert lines[2].split()[0] == "8/255"
    assert lines[2].split()[-1] == f"{100 * report.rows[0]['certified']:.2f}%"


def test_json(report):
    again = json.loads(report.to_json())
    assert again["clean"] == report.clean
    assert again["rows"] == report.rows


def test_plot(report, tmp_path):
    report.plot(tmp_path / "curve.png")
    content = (tmp_path / "curve.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert len(content) > 5000


def test_a_broken_certificate_is_refused(digits_model, digits, monkeypatch):
    """A model that claims too much is caught, and the image named."""
    honest = type(digits_model).certified_radius

    def boastful(self, x, norm, method):
        logits, radius = honest(self, x, norm, method)
        return logits, radius + np.float32(0.5)

    monkeypatch.setattr(type(digits_model), "certified_radius", boastful)
    with pytest.raises(zoo.SoundnessError, match=r"pgd at linf eps 0\.3 fools image \d+, whose"):
        digits_model.evaluate_robustness(
            digits.images[:50], digits.labels[:50], eps=0.3, attacks="pgd"
        )


def test_params_of_no_attack_are_named(digits_model, digits):
    with pytest.raises(ValueError, match="'pdg'"):
        digits_model.evaluate_robustness(
            digits.images[:2], digits.labels[:2], eps=0.1, params={"pdg": {"steps": 1}}
        )


def test_a_single_attack_and_budget(digits_model, digits):
    report = digits_model.evaluate_robustness(
        digits.images[:20], digits.labels[:20], eps="1/10", attacks="fgsm"
    )
    assert list(report.rows[0]["attacked"]) == ["fgsm"]
