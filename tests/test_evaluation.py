"""Reports."""

import json

import numpy as np
import pytest

import zoo
from zoo import evaluation


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


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_set_in_parts(digits, norm):
    """Parts cut between batches, measured in any order, are the whole again, bit for bit."""
    model = zoo.load("linf-dist-digits" if norm == "linf" else "crt-digits")
    x, y = digits.images[:50], digits.labels[:50]
    options = {"eps": [0.1, "8/255"], "batch_size": 20, "params": {"pgd": {"restarts": 2}}}
    whole = evaluation.evaluate(model, x, y, **options)
    places = [0, 20, 40]
    outcomes = {
        i: evaluation.measure(model, x[i : i + 20], y[i : i + 20], first=i, **options)
        for i in reversed(places)
    }
    merged = evaluation.report(evaluation.joined([outcomes[i] for i in places]))
    assert merged.to_dict() == whole.to_dict()
    for name in ("prediction", "radius", "margin", "nearest"):
        merged_array, array = (getattr(r.certificate, name) for r in (merged, whole))
        np.testing.assert_array_equal(merged_array, array)


def test_what_is_joined_must_be_sound(digits_model, digits):
    """The whole is looked at once more: a part may come from a machine that computes wrongly."""
    x, y = digits.images[:8], digits.labels[:8]
    parts = [
        evaluation.measure(digits_model, x[i : i + 4], y[i : i + 4], eps=0.01, attacks="fgsm")
        for i in (0, 4)
    ]
    parts[1].fooled[0][1]["fgsm"][2] = True
    with pytest.raises(zoo.SoundnessError, match=r"fgsm at linf eps 0\.01 fools image 6, whose"):
        evaluation.report(evaluation.joined(parts))


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
