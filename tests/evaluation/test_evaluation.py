"""Reports."""

import dataclasses
import json

import keras
import numpy as np
import pytest
from matplotlib.figure import Figure

import zoo
from zoo import evaluation
from zoo.evaluation import plots


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
    plots.draw(tmp_path / "curve.png", report.plot)
    content = (tmp_path / "curve.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert len(content) > 5000


def test_plot_draws_the_numbers(report):
    lines = {line.get_label(): line for line in report.plot(Figure().add_subplot()).get_lines()}
    eps, accuracy = report.certificate.curve(report.labels)
    certified = lines[f"certified ({report.method})"]
    np.testing.assert_allclose(certified.get_xdata(), eps)
    np.testing.assert_allclose(certified.get_ydata(), 100 * accuracy)
    np.testing.assert_allclose(lines["clean"].get_ydata(), 100 * report.clean)
    for name in ("fgsm", "pgd"):
        attacked = [100 * row["attacked"][name] for row in report.rows]
        np.testing.assert_allclose(lines[f"under {name}"].get_ydata(), attacked)
        np.testing.assert_allclose(lines[f"under {name}"].get_xdata(), [8 / 255, 0.1, 0.2])


def test_a_broken_certificate_is_refused(digits_model, digits, monkeypatch):
    """A model that claims too much is caught, and the image named."""
    honest = type(digits_model).certified_radius

    def boastful(self, x, norm, method):
        found = honest(self, x, norm, method)
        return dataclasses.replace(found, radius=found.radius + np.float32(0.5))

    monkeypatch.setattr(type(digits_model), "certified_radius", boastful)
    with pytest.raises(zoo.SoundnessError, match=r"pgd at linf eps 0\.3 fools image \d+, whose"):
        digits_model.evaluate_robustness(
            digits.images[:50], digits.labels[:50], eps=0.3, attacks="pgd"
        )


@pytest.mark.integration
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_set_in_parts(digits, norm):
    """Parts cut between batches, measured in any order, are the whole again, bit for bit."""
    model = zoo.load("linf-dist-digits" if norm == "linf" else "crt-digits")
    x, y = digits.images[:50], digits.labels[:50]
    options = {"eps": [0.1, "8/255"], "batch_size": 20}
    options["params"] = {"pgd": {"restarts": 2, "steps": 4}}
    whole = evaluation.evaluate(model, x, y, **options)
    places = [0, 20, 40]
    outcomes = {
        i: evaluation.outcome_of(model, x[i : i + 20], y[i : i + 20], first=i, **options)
        for i in reversed(places)
    }
    merged = evaluation.report_of(evaluation.joined([outcomes[i] for i in places]))
    assert merged.to_dict() == whole.to_dict()
    for name in ("prediction", "radius", "margin", "nearest"):
        merged_array, array = (getattr(r.certificate, name) for r in (merged, whole))
        np.testing.assert_array_equal(merged_array, array)


def test_what_is_joined_must_be_sound(digits_model, digits):
    """The whole is looked at once more: a part may come from a machine that computes wrongly."""
    x, y = digits.images[:8], digits.labels[:8]
    parts = [
        evaluation.outcome_of(digits_model, x[i : i + 4], y[i : i + 4], eps=0.01, attacks="fgsm")
        for i in (0, 4)
    ]
    parts[1].fooled[0][1]["fgsm"][2] = True
    with pytest.raises(zoo.SoundnessError, match=r"fgsm at linf eps 0\.01 fools image 6, whose"):
        evaluation.report_of(evaluation.joined(parts))


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


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"attacks": None}, TypeError, "attacks must be a name or a list of names, got None"),
        ({"attacks": "none"}, ValueError, "got 'none'; an empty list stands for no attack"),
        ({"attacks": "fgsm,pgd"}, ValueError, "got 'fgsm,pgd'; several attacks are a list"),
        ({"attacks": ("fgsm", 3)}, TypeError, "attacks must be a name"),
        ({"attacks": [["fgsm"]]}, TypeError, "attacks must be a name"),
        ({"attacks": ("fgsm", "pdg")}, ValueError, "got 'pdg'"),
        ({"params": {"pgd": {"step": 3}}}, TypeError, "no parameter 'step'"),
        ({"params": {"pgd": {"steps": 0}}}, ValueError, "steps must be"),
        ({"params": {"pgd": {"seed": 1}}}, TypeError, "no parameter 'seed'"),
        ({"params": {"pgd": None}}, TypeError, "params must be like"),
        ({"params": ["pgd"]}, TypeError, "params must be like"),
        ({"eps": None}, ValueError, "eps must be a number"),
        ({"eps": [0.1, "much"]}, ValueError, "eps must be a finite number"),
        ({"eps": np.full((1, 1), 0.1)}, ValueError, "eps must be a number"),
        ({"seed": -1}, ValueError, "seed must be an integer that is not negative"),
        ({"seed": "x"}, ValueError, "seed must be an integer that is not negative"),
        ({"y": None}, TypeError, "y must be"),
    ],
)
def test_arguments_are_checked_before_anything_is_certified(
    digits_model, digits, monkeypatch, arguments, error, message
):
    def certified(*args, **kwargs):
        raise AssertionError("certified before the arguments were checked")

    monkeypatch.setattr(type(digits_model), "certify", certified)
    given = {"x": digits.images[:2], "y": digits.labels[:2], "eps": 0.1, **arguments}
    for call in (evaluation.evaluate, evaluation.check):
        with pytest.raises(error, match=message):
            call(digits_model, **given)


def test_check_measures_nothing(digits_model, digits, monkeypatch):
    def measured(*args, **kwargs):
        raise AssertionError("measured")

    monkeypatch.setattr(type(digits_model), "certified_radius", measured)
    given = digits_model, digits.images[:2], digits.labels[:2]
    evaluation.check(*given, eps=[0.1, "8/255"], params={"pgd": {"steps": 3}})
    for wrong in ({"norm": "l2"}, {"method": "magic"}, {"batch_size": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            evaluation.check(*given, eps=0.1, **wrong)
    with pytest.raises(ValueError, match="x must have shape"):
        evaluation.check(digits_model, digits.images[:2, 1:], digits.labels[:2], eps=0.1)


def test_an_array_without_dimensions_is_one_budget(digits_model, digits):
    reports = [
        digits_model.evaluate_robustness(
            digits.images[:4], digits.labels[:4], eps=eps, attacks=()
        ).to_dict()
        for eps in (0.1, np.array(0.1), np.float32(0.1), np.array([0.1]))
    ]
    assert all(report == reports[0] for report in reports)


def test_what_is_no_keras_model_is_refused(digits):
    for call in (evaluation.evaluate, evaluation.outcome_of, evaluation.check):
        with pytest.raises(TypeError, match="model of the zoo.*CertifiedModel.*, got function"):
            call(lambda x: x, digits.images[:2], digits.labels[:2], eps=0.1)


@pytest.mark.integration
def test_another_keras_model_is_measured(digits):
    layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]
    model = keras.Sequential([*layers, keras.layers.Softmax()])
    x, y = digits.images[:20], digits.labels[:20]
    evaluation.check(model, x, y, eps=0.01)
    report = zoo.evaluate(model, x, y, eps=0.01, norm="l2")
    assert report.method == "crown"
    assert report.clean == np.mean(np.argmax(model.predict(x, verbose=0), axis=1) == y)
    assert report.clean >= report.rows[0]["attacked"]["all"] >= report.rows[0]["certified"]


def test_a_budget_that_is_out_of_range_is_named(digits_model, digits):
    for eps in (8, ["8/255", 1.5]):
        with pytest.raises(ValueError, match=r"eps must lie in \[0, 1\] for norm 'linf'"):
            evaluation.check(digits_model, digits.images[:2], digits.labels[:2], eps=eps)


def test_a_report_of_no_images_is_json(digits_model, digits):
    report = evaluation.evaluate(digits_model, digits.images[:0], digits.labels[:0], eps=0.1)
    assert np.isnan(report.clean)
    strict = json.loads(report.to_json(), parse_constant=pytest.fail)
    assert strict == report.to_dict()
    assert strict["clean"] is None


def test_an_attack_may_leave_out_what_is_certified(digits_model, digits):
    """The attack sees the other images only; an image that is certified keeps its accuracy."""
    seen = []

    @dataclasses.dataclass(frozen=True)
    class Watch(zoo.attacks.Attack):
        def run(self, victim, x, y, eps, norm, random):
            seen.append(x)
            return x

    images, labels = digits.images[:40], digits.labels[:40]
    settings = {"eps": 0.1, "attacks": Watch(), "batch_size": 16}
    report = zoo.evaluate(digits_model, images, labels, **settings, spare_certified=["Watch"])
    certified = report.certificate.certified(0.1)
    assert 0 < certified.sum() < len(certified)
    np.testing.assert_array_equal(np.concatenate(seen), images[~certified].astype("float32"))
    assert report.rows[0]["attacked"]["Watch"] == report.clean
    assert report.notes == ("Watch left out the certified images",)
    with pytest.raises(ValueError, match="spare_certified names .'pgd'., which are not among"):
        zoo.evaluate(digits_model, images, labels, **settings, spare_certified="pgd")
    with pytest.raises(TypeError, match="spare_certified must be names of attacks, got True"):
        zoo.evaluate(digits_model, images, labels, **settings, spare_certified=True)


def test_a_report_in_other_forms(report):
    assert r"8/255 & " in report.to_latex()
    assert report._repr_html_().count("<tr>") == 4
    assert repr(report) == str(report)
    table = report.per_image()
    columns = {column.name: column.values for column in table.columns}
    for row in report.rows:
        fooled = columns[f"fooled by pgd at {row['eps']}"]
        assert 1 - np.mean(fooled) == pytest.approx(row["attacked"]["pgd"])
    assert len(table) == 100


def test_a_comparison(report):
    from matplotlib.figure import Figure

    weaker = dataclasses.replace(
        report,
        certificate=dataclasses.replace(
            report.certificate, radius=report.certificate.radius / np.float32(2)
        ),
        rows=[{**row, "certified": row["certified"] / 2} for row in report.rows],
    )
    compared = evaluation.Comparison({"weaker": weaker, "own": report})
    table = compared.table()
    assert list(table.columns[0].values) == ["own", "weaker"]
    assert [c.name for c in table.columns][-2:] == ["attacked 0.2", "certified 0.2"]
    ax = compared.plot(Figure().add_subplot())
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["weaker", "own"]
    for change, message in (
        ({"norm": "l2"}, "different norms cannot be compared: own has linf, other has l2"),
        ({"rows": report.rows[:1]}, "different budgets"),
        ({"labels": report.labels[::-1]}, "different images"),
    ):
        other = dataclasses.replace(report, **change)
        with pytest.raises(ValueError, match=message):
            evaluation.Comparison({"own": report, "other": other})
    with pytest.raises(ValueError, match="no report"):
        evaluation.Comparison({})


def test_a_comparison_ranks_by_the_largest_budget(report):
    """In whatever order the budgets were given."""
    small, large = report.rows[0], report.rows[-1]
    better = [{**large, "certified": 0.5}, {**small, "certified": 0.6}]
    worse = [{**large, "certified": 0.4}, {**small, "certified": 0.7}]
    reports = {
        name: dataclasses.replace(report, rows=rows)
        for name, rows in (("worse", worse), ("better", better))
    }
    table = evaluation.Comparison(reports).table()
    assert list(table.columns[0].values) == ["better", "worse"]


def test_a_comparison_shows_what_any_of_the_models_has(report):
    """The most robust one was not attacked, and the other one has no radii."""
    certificate = dataclasses.replace(report.certificate, decided_at=("8/255", "0.1", "0.2"))
    decided = [{**row, "certified": 0.0} for row in report.rows]
    quiet = [{**row, "attacked": {}} for row in report.rows]
    reports = {
        "decided": dataclasses.replace(report, certificate=certificate, rows=decided),
        "quiet": dataclasses.replace(report, rows=quiet),
    }
    columns = {c.name: c.values for c in evaluation.Comparison(reports).table().columns}
    assert list(columns["model"]) == ["quiet", "decided"]
    assert columns["median radius"][0] > 0
    assert columns["median radius"][1] is None
    attacked = columns["attacked 0.2"]
    assert attacked[0] is None
    assert attacked[1] == report.rows[-1]["attacked"]["all"]
