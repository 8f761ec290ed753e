"""The accuracies of each class, and which classes may become which."""

import dataclasses
import json

import numpy as np
import pytest
from matplotlib.figure import Figure

import zoo
from zoo import evaluation
from zoo.certificates import Certificate
from zoo.epsilon import Epsilon
from zoo.evaluation import plots
from zoo.evaluation.outcome import Outcome, require_possible

LABELS = np.array([0, 0, 1, 1, 1])
PER_CLASS = np.array(
    [[np.inf, 0.3], [np.inf, 0.1], [0.2, np.inf], [0.4, np.inf], [np.inf, 0.5]], "float32"
)


def report_of(classes=2, per_class=PER_CLASS):
    """Two images of class 0, both right; three of class 1, of which the last is taken for 0."""
    radius = PER_CLASS.min(axis=1)
    certificate = Certificate(
        np.array([0, 0, 1, 1, 0]), radius, radius, "l2", "pairwise", classes, per_class=per_class
    )
    fgsm = np.array([False, True, False, False, True])
    pgd = np.array([False, True, True, False, True])
    fooled = [(Epsilon("1/4"), {"fgsm": fgsm, "pgd": pgd})]
    return evaluation.report_of(Outcome(certificate, LABELS, fooled))


def test_the_accuracies_are_those_of_the_images_of_a_class():
    found = report_of().by_class(["normal", "pneumonia"])
    assert found.counts.tolist() == [2, 3]
    assert found.clean.tolist() == [1, 2 / 3]
    (row,) = found.rows
    assert row["eps"] == "1/4"
    assert row["certified"].tolist() == [0.5, 1 / 3]
    assert {name: a.tolist() for name, a in row["attacked"].items()} == {
        "fgsm": [0.5, 2 / 3],
        "pgd": [0.5, 1 / 3],
        "all": [0.5, 1 / 3],
    }
    whole = report_of()
    weights = found.counts / found.counts.sum()
    assert weights @ found.clean == pytest.approx(whole.clean)
    assert weights @ row["certified"] == pytest.approx(whole.rows[0]["certified"])


def test_two_classes_have_sensitivity_and_specificity():
    table = report_of().by_class().balanced()
    by_name = {column.name: column.plain() for column in table.columns}
    assert by_name["accuracy"] == ["clean", "under fgsm", "under pgd", "under all", "certified"]
    assert by_name["eps"] == [None, "1/4", "1/4", "1/4", "1/4"]
    assert by_name["sensitivity"] == [2 / 3, 2 / 3, 1 / 3, 1 / 3, 1 / 3]
    assert by_name["specificity"] == [1, 0.5, 0.5, 0.5, 0.5]
    assert by_name["balanced"][0] == pytest.approx(5 / 6)
    assert by_name["balanced"][-1] == pytest.approx(5 / 12)


def test_the_confusion_counts_what_is_not_excluded():
    found = report_of().by_class(["normal", "pneumonia"])
    # At 0: the ordinary confusion matrix.
    np.testing.assert_allclose(found.confusion(0), [[1, 0], [1 / 3, 2 / 3]])
    np.testing.assert_allclose(found.confusion("1/4"), [[1, 0.5], [2 / 3, 2 / 3]])
    assert str(found.confusions("1/4")).split("\n")[1].split() == ["pneumonia", "normal", "66.67%"]
    certified = found.rows[0]["certified"]
    np.testing.assert_allclose(1 - found.confusion("1/4")[[0, 1], [1, 0]], certified)


def test_a_class_without_images_has_no_accuracy():
    wide = np.concatenate([PER_CLASS, np.full((5, 1), 0.9, "float32")], axis=1)
    found = report_of(3, wide).by_class()
    assert found.names == ("0", "1", "2")
    assert np.isnan(found.clean[2])
    assert np.isnan(found.confusion(0.1)[2]).all()
    assert str(found.table()).splitlines()[3].split() == ["2", "0", "-", "-", "-", "-", "-"]
    columns = [column.name for column in found.balanced().columns]
    assert columns == ["accuracy", "eps", "balanced"]
    again = json.loads(json.dumps(found.to_dict()))
    assert again["clean"] == [1, 2 / 3, None]
    assert again["confusion"][0]["shares"][0][:2] == [1, 0.5]
    found.plot(Figure().add_subplot())


def test_it_is_shown_like_a_report(tmp_path):
    found = report_of().by_class(["normal", "<b>"])
    assert "normal" in str(found)
    assert "sensitivity" in str(found)
    page = found._repr_html_()
    assert "<b>" not in page
    assert "&lt;b&gt;" in page
    assert page.count("<table>") == 2
    ax = report_of().plot_by_class(["normal", "pneumonia"], Figure().add_subplot())
    assert ax.get_title() == "By class (L2, pairwise), n = 5"
    assert [bar.get_height() for bar in ax.containers[1]] == [50, pytest.approx(100 / 3)]
    ax = found.plot_confusion("1/4", Figure().add_subplot())
    assert ax.get_title() == "Possible within L2 1/4"
    plots.draw(tmp_path / "classes.png", report_of().by_class().plot)
    assert (tmp_path / "classes.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_missing_is_named():
    with pytest.raises(ValueError, match="class_names must be 2 names, got 1"):
        report_of().by_class(["normal"])
    found = report_of(per_class=None).by_class()
    assert "confusion" not in found.to_dict()
    for ask in (found.confusion, found.confusions, found.plot_confusion):
        with pytest.raises(ValueError, match="has no radius for each class"):
            ask(0.1)


def test_no_images():
    model = zoo.models.LinfDistNet((2, 2, 1), 2, width=2, depth=1)
    empty = np.zeros((0, 2, 2, 1))
    report = zoo.evaluate(model, empty, np.zeros(0, int), eps=[0.1], attacks=(), per_class=True)
    assert str(report.by_class())
    assert np.isnan(report.by_class().confusion(0.1)).all()
    report.plot_by_class(ax=Figure().add_subplot())


def test_an_attack_that_reaches_an_excluded_class_is_a_bug():
    certificate = report_of().certificate
    require_possible(certificate, np.array([0, 1, 1, 1, 0]), Epsilon("1/4"), "pgd")
    with pytest.raises(zoo.SoundnessError, match="image 13 one of class 0, .* radius is 0.4"):
        require_possible(certificate, np.array([0, 1, 0, 0, 0]), Epsilon("1/4"), "pgd", 10)


@pytest.mark.integration
def test_the_confusion_of_attacks_is_within_the_certified_one(digits_model, digits, monkeypatch):
    x, y = digits.images[:40], digits.labels[:40]
    report = zoo.evaluate(digits_model, x, y, eps=[0.2], attacks="pgd")
    x_adv = digits_model.attack(x, y, "pgd", eps=0.2)
    predicted = digits_model.logits(x_adv).argmax(axis=1)
    possible = report.certificate.possible(0.2)
    assert possible[np.arange(40), predicted].all()
    assert not possible.all()
    honest = type(digits_model).certified_radius

    def boastful(self, x, norm, method):
        found = honest(self, x, norm, method)
        return dataclasses.replace(found, per_class=found.per_class + np.float32(1))

    monkeypatch.setattr(type(digits_model), "certified_radius", boastful)
    with pytest.raises(zoo.SoundnessError, match="against which its certified radius"):
        zoo.evaluate(digits_model, x, y, eps=[0.3], attacks="pgd")
