"""MODELS.md and its tables."""

import pathlib

import zoo
from tests.evaluation.leaderboard.records import changed
from zoo.evaluation.leaderboard.models_page import models_page
from zoo.evaluation.leaderboard.rows import rows
from zoo.hub.records import Cost

ROOT = pathlib.Path(zoo.__file__).parent.parent


def cells(page):
    lines = [line for line in page.splitlines() if line.startswith("| ")]
    return [line[2:-2].split(" | ") for line in lines]


def test_the_committed_page_is_current():
    committed = (ROOT / "MODELS.md").read_text(encoding="utf-8")
    assert committed == models_page(zoo.list_models()), (
        "MODELS.md is not what weights_manifest.json says; "
        "`zoo leaderboard --models MODELS.md` renews it"
    )


def test_every_row_is_there_and_every_link_leads_to_a_card():
    page = models_page(zoo.list_models())
    body = [line for line in cells(page) if line[1].startswith("[")]
    assert len(body) == len(rows(zoo.list_models()))
    for line in body:
        card = line[1].split("](")[1].rstrip(")")
        assert (ROOT / card).is_file()


def test_a_line():
    cost = Cost(method="interval", milliseconds=3.25, n=64, hardware="an abacus")
    record = changed(metrics={"cost": cost}, training={"hardware": "2 | 3\ncores"}, notes="a\nb")
    page = models_page([record])
    interval, lipschitz = (line for line in cells(page) if line[0] == "0.1")
    assert interval[0] == "0.1"
    assert interval[2:4] == ["88.40%", "80.20% (auto)"]
    assert interval[4:7] == ["80.00% (76.3% to 83.3%)", "interval", "500"]
    assert interval[7:] == ["85 s, 200 epochs", r"2 \| 3 cores", "3.2 ms (an abacus, n = 64)"]
    assert lipschitz[5:7] + lipschitz[9:] == ["lipschitz", "500", "–"]
    assert "* `linf-dist-digits`: a b\n" in page
    assert "| – | 80.00% (" in models_page([changed(metrics={"attacked": []})])
