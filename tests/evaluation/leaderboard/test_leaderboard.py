"""The leaderboard's rows, curves and page, without a browser."""

import dataclasses
import io
import json
import os
import re

import pytest

import zoo
from tests.evaluation.leaderboard.records import changed
from zoo.cli import main
from zoo.epsilon import Epsilon
from zoo.evaluation.curves import curves
from zoo.evaluation.leaderboard import page as leaderboard
from zoo.evaluation.leaderboard.models_page import models_page
from zoo.evaluation.leaderboard.published import published
from zoo.evaluation.leaderboard.rows import best_rows, grouped, rows
from zoo.hub import catalog
from zoo.hub.records import CertifiedResult, Cost
from zoo.project import DOCUMENTATION, REPOSITORY
from zoo.utils.wilson import wilson

NASTY = "</script><script>alert(1)</script><!-- <b>&amp;'\"{{data}}\u2028 |"
EVERYTHING = zoo.list_models()
ROOT = catalog.WEIGHTS.parent


def data_of(page):
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    return json.loads(text)


def test_every_certified_number_has_its_row():
    expected = sorted(
        (record.name, e.norm, e.eps, e.method, e.accuracy, e.n)
        for record in EVERYTHING
        for e in record.metrics.certified
    )
    keys = ("model", "norm", "eps", "method", "certified", "n")
    assert sorted(tuple(row[key] for key in keys) for row in rows(EVERYTHING)) == expected


@pytest.mark.integration
def test_rows_are_what_the_manifest_says():
    for row in rows(EVERYTHING):
        record = zoo.info(row["model"])
        attacked = {
            e.attack: e.accuracy
            for e in record.metrics.attacked
            if (e.eps, e.norm) == (row["eps"], row["norm"])
        }
        assert row["attacked"] == min(attacked.values(), default=None)
        assert row["attack"] is None or attacked[row["attack"]] == row["attacked"]
        assert row["clean"] == record.metrics.clean
        assert row["budget"] == float(Epsilon(row["eps"]))
        assert row["seconds"] == record.training.seconds
        assert row["bytes"] == record.size
        for key in ("approach", "dataset", "architecture", "parameters", "notes", "paper"):
            assert row[key] == getattr(record, key)


def test_no_attack_that_was_measured_is_left_out():
    shown = {(row["model"], row["norm"], row["eps"]) for row in rows(EVERYTHING)}
    measured = {
        (record.name, e.norm, e.eps) for record in EVERYTHING for e in record.metrics.attacked
    }
    assert measured <= shown


def test_the_order_is_by_what_can_be_compared_then_by_accuracy():
    found = rows(EVERYTHING)
    keys = [(r["dataset"], r["norm"], r["budget"], -r["certified"]) for r in found]
    assert keys == sorted(keys)
    assert [row for group in grouped(found).values() for row in group] == found


def test_a_row_says_on_how_many_images_its_attack_was_measured():
    record = changed(metrics={"attacked": []})
    assert {(row["attacked"], row["attack"]) for row in rows([record])} == {(None, None)}
    few = [dataclasses.replace(e, n=7) for e in changed().metrics.attacked]
    assert {row["attacked_n"] for row in rows([changed(metrics={"attacked": few})])} == {7}
    assert "(pgd*)" in models_page([changed(metrics={"attacked": few})])


def test_the_cost_is_of_one_method():
    cost = Cost(method="interval", milliseconds=3.25, n=64, hardware="an abacus", first_seconds=1.5)
    for row in rows([changed(metrics={"cost": cost})]):
        shown = tuple(row[k] for k in ("first_seconds", "milliseconds", "cost_n", "cost_hardware"))
        known = (1.5, 3.25, 64, "an abacus")
        assert shown == (known if row["method"] == "interval" else (None,) * 4)
    without = changed(metrics={"cost": None})
    assert {row["milliseconds"] for row in rows([without])} == {None}


def test_curves_are_below_what_is_certified():
    """At each measured budget, no more than the best that is proven there; and they never rise."""
    drawn = curves(EVERYTHING)
    assert {curve["model"] for curve in drawn} == {record.name for record in EVERYTHING}
    for curve in drawn:
        entries = zoo.info(curve["model"]).metrics.certified
        budgets = [point["budget"] for point in curve["points"]]
        accuracies = [curve["clean"], *(point["accuracy"] for point in curve["points"])]
        assert budgets == sorted(set(budgets))
        assert accuracies == sorted(accuracies, reverse=True)
        for point in curve["points"]:
            assert point["accuracy"] == max(
                e.accuracy for e in entries if float(Epsilon(e.eps)) >= point["budget"]
            )


def test_a_curve_takes_the_best_from_any_method_and_any_larger_budget():
    certified = [
        CertifiedResult(norm="linf", n=500, eps="0.1", method="loose", accuracy=0.5),
        CertifiedResult(norm="linf", n=500, eps="2/10", method="tight", accuracy=0.6),
        CertifiedResult(norm="linf", n=500, eps="0.2", method="loose", accuracy=0.4),
        CertifiedResult(norm="linf", n=10, eps="0.1", method="slow", accuracy=0.8),
    ]
    drawn = curves([changed(metrics={"certified": certified})])
    assert [(c["n"], c["clean"] is None) for c in drawn] == [(500, False), (10, True)]
    assert [(p["budget"], p["accuracy"], p["method"]) for p in drawn[0]["points"]] == [
        (0.1, 0.6, "tight"),
        (0.2, 0.6, "tight"),
    ]


def test_the_page_holds_all_data_and_asks_for_nothing():
    page = leaderboard.page(EVERYTHING)
    data = data_of(page)
    assert data["rows"] == rows(EVERYTHING)
    assert data["curves"] == curves(EVERYTHING)
    assert "{{" not in page.replace(NASTY, "")
    without_data = page.replace(leaderboard._json_in_html(data), "")
    assert f'<a href="{DOCUMENTATION}">Documentation of the zoo</a>' in without_data
    outside = set(re.findall(r"\w+://[^\s\"'`)]+", without_data)) - {DOCUMENTATION}
    assert outside == {"http://www.w3.org/2000/svg"}, "only SVG's name, which is no address"
    assert not re.search(r"<(link|script|img)[^>]*(src|href)=\"(?!data:)", page)


def test_the_page_has_what_papers_print_as_fractions():
    found = data_of(leaderboard.page(zoo.list_models(dataset="cifar10")))["published"]
    expected = [*published("cifar10", "l2"), *published("cifar10", "linf")]
    assert len(found) == len(expected) > 0
    for entry, result in zip(found, expected, strict=True):
        assert entry["name"] == result.name
        assert entry["certified"] == pytest.approx(result.certified / 100)
        assert entry["clean"] is None or entry["clean"] == pytest.approx(result.clean / 100)
        assert entry["budget"] == float(Epsilon(result.eps))


def test_every_row_leads_to_pages_that_exist():
    """The files in the repository, and the pages that the documentation is built from."""
    for row in rows(EVERYTHING):
        for key in ("card", "recipe"):
            assert (ROOT / row[key].removeprefix(f"{REPOSITORY}/blob/main/")).is_file()
        page = row["docs"].removeprefix(DOCUMENTATION).rstrip("/")
        assert page, f"{row['approach']} has no page"
        assert (ROOT / "docs" / f"{page}.md").is_file()
        assert row["paper_address"].startswith("https://")
    assert {row["paper_address"] for row in rows([changed(paper="mine")])} == {None}
    assert {row["docs"] for row in rows([changed(approach="mine")])} == {DOCUMENTATION}


@pytest.mark.integration
def test_the_intervals_of_a_row():
    for row in rows(EVERYTHING):
        for key, n in (("certified", row["n"]), ("clean", zoo.info(row["model"]).metrics.n)):
            assert (row[f"{key}_low"], row[f"{key}_high"]) == wilson(row[key], n)


@pytest.mark.integration
def test_the_best_row_of_each_budget():
    found = best_rows(rows(EVERYTHING))
    assert len(found) == len({(r["model"], r["norm"], r["budget"]) for r in rows(EVERYTHING)})
    for row in found:
        assert row["certified"] == max(
            e.accuracy for e in zoo.info(row["model"]).metrics.certified if e.eps == row["eps"]
        )


def test_a_stored_curve_goes_with_its_points():
    record = zoo.info("linf-dist-digits")
    (curve,) = curves([record])
    assert curve["certified"] == record.curve.certified
    assert curve["budgets"] == [float(Epsilon(eps)) for eps in record.curve.budgets]
    (without,) = curves([changed(name="not-stored-digits")])
    assert (without["budgets"], without["certified"]) == (None, None)


def test_data_cannot_leave_its_element():
    plain, nasty = (
        leaderboard.page([changed(**dict.fromkeys(("notes", "architecture", "paper"), text))])
        for text in ("plain", NASTY)
    )
    assert data_of(nasty)["rows"][0]["notes"] == NASTY
    assert nasty.count("<script") == plain.count("<script")
    assert nasty.count("</script") == plain.count("</script")
    assert nasty.count("<!--") == plain.count("<!--") == 0


def test_what_is_no_number_is_refused():
    with pytest.raises(ValueError, match="JSON"):
        leaderboard.page([changed(training={"seconds": float("nan")})])


def test_the_command(capsys, tmp_path):
    site, models = tmp_path / "new" / "site", tmp_path / "MODELS.md"
    arguments = ["leaderboard", "--out", str(site), "--models", str(models)]
    assert main(arguments) == 0
    written = [str(site / "index.html"), str(models)]
    assert capsys.readouterr().out.split() == written
    assert [path.name for path in site.iterdir()] == ["index.html"]
    (site / "CNAME").write_text("kept")
    assert main([*arguments, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result == {"written": written, "rows": rows(EVERYTHING)}
    assert {path.name for path in site.iterdir()} == {"index.html", "CNAME"}
    assert (site / "index.html").read_text(encoding="utf-8") == leaderboard.page(EVERYTHING)


def test_bad_targets_are_one_error(capsys, tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    for arguments, message in (
        ([], "nothing to write; give --out FOLDER, --models FILE or both"),
        (["--out", str(tmp_path / "file")], "file is a file, not a folder"),
        (["--out", str(tmp_path / "file" / "site")], "file is a file, not a folder"),
        (["--out", "/proc/site"], "cannot write /proc/site/index.html"),
        (["--models", str(tmp_path / "folder")], "folder: it is a folder, not a file"),
    ):
        assert main(["leaderboard", *arguments]) == 1
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert err.startswith("error: ")
        assert message in err
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("failing", ["write", "replace"])
def test_a_failed_write_leaves_nothing_new(tmp_path, monkeypatch, failing):
    kept = tmp_path / "kept"
    leaderboard.write(kept, EVERYTHING[:1])
    before = (kept / "index.html").read_bytes()

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    class OnFullDisk(io.FileIO):
        write = full

    with monkeypatch.context() as patched:
        if failing == "replace":
            patched.setattr("pathlib.Path.replace", full)
        else:
            patched.setattr("zoo.utils.whole_file.open", OnFullDisk, raising=False)
        for folder in (kept, tmp_path / "new" / "site"):
            with pytest.raises(OSError, match=r"index.html: No space left on device"):
                leaderboard.write(folder, EVERYTHING)
    assert (kept / "index.html").read_bytes() == before
    assert os.listdir(kept) == ["index.html"]
    assert os.listdir(tmp_path) == ["kept"]
