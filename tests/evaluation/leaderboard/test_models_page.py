"""MODELS.md and its tables."""

import pathlib
import re

import zoo
from tests.evaluation.leaderboard.records import changed
from zoo.evaluation.leaderboard.models_page import models_page
from zoo.evaluation.leaderboard.rows import rows
from zoo.hub.records import Cost

ROOT = pathlib.Path(zoo.__file__).parent.parent


def cells(page):
    """The cells of the tables, with plain spaces."""
    lines = [line for line in page.splitlines() if line.startswith("| ")]
    return [line[2:-2].replace("\u00a0", " ").split(" | ") for line in lines]


def test_the_committed_page_is_current():
    committed = (ROOT / "MODELS.md").read_text(encoding="utf-8")
    assert committed == models_page(zoo.list_models()), (
        "MODELS.md is not what weights_manifest.json says; "
        "`zoo leaderboard --models MODELS.md` renews it"
    )


def test_every_model_is_there_at_every_budget_and_every_link_leads_to_a_card():
    page = models_page(zoo.list_models())
    found = [(line[0], line[1]) for line in cells(page) if line[1].startswith("[")]
    linked = {
        (row["eps"], f"[{row['model']}](weights/{row['model']}/README.md)")
        for row in rows(zoo.list_models())
    }
    assert len(found) == len(set(found))
    assert set(found) == linked
    for _, link in found:
        assert (ROOT / link.split("](")[1].rstrip(")")).is_file()


def test_each_row_stays_on_one_line():
    """Nothing in a cell can be broken at a space, and a row is as wide as a page at most."""
    lines = [line for line in models_page(zoo.list_models()).splitlines() if line.startswith("| ")]
    for line in lines:
        shown = re.sub(r"\[(.+?)\]\(.+?\)", r"\1", line).strip("| ").split(" | ")
        if not set("".join(shown)) <= set("-: "):
            assert sum(map(len, shown)) <= 100, line
        if any("%" in cell for cell in shown):
            assert not any(" " in cell for cell in shown)


def test_a_line():
    cost = Cost(
        method="interval", milliseconds=3.25, n=64, hardware="an abacus", first_seconds=1.26
    )
    record = changed(metrics={"cost": cost}, training={"hardware": "2 | 3\ncores"}, notes="a\nb")
    page = models_page([record])
    (line,) = (line for line in cells(page) if line[0] == "0.1")
    assert line[2:] == ["80.00% (76.3–83.3)", "80.20% (auto)", "88.40%", "500"]
    (trained,) = (line for line in cells(page) if line[0].startswith("[linf-dist-digits]"))
    assert trained[1:4] == ["interval", "1.3", "3.2"]
    assert trained[5:] == ["200", "85 s", r"2 \| 3 cores"]
    assert "* `linf-dist-digits`: a b\n" in page
    (bare,) = (c for c in cells(models_page([changed(metrics={"attacked": []})])) if c[0] == "0.1")
    assert bare[3] == "–"
