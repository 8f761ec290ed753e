"""The papers' tables beside the zoo's numbers."""

import json
import pathlib
import re

import pytest

from training import recipe as recipes
from training.tables import __main__ as command
from training.tables import linf_dist
from zoo.hub import catalog


@pytest.mark.parametrize(
    ("dataset", "net", "hybrid"),
    [("mnist", 82.7, 85.3), ("fashion-mnist", 82.7, 85.3), ("cifar10", 121, 123)],
)
def test_full_recipes_have_the_published_size(dataset, net, hybrid):
    """The paper's FLOPs, in as many digits as it prints."""
    for name, published in (("linf-dist", net), ("linf-dist-mlp", hybrid)):
        found = linf_dist.multiply_adds(f"{name}-{dataset}-full")
        assert found == pytest.approx(published, abs=0.05 if published < 100 else 0.6)


def test_the_zoos_numbers_are_the_manifests():
    table_1, table_2, table_4 = linf_dist.tables()
    rows = {row["checkpoint"]: row for row in table_1["rows"]}
    record = catalog.info("linf-dist-mnist")
    row = rows["linf-dist-mnist"]
    assert row["data set"] == "MNIST (0.3)"
    assert row["our clean"] == pytest.approx(100 * record.metrics.clean, abs=0.005)
    certified = [e.accuracy for e in record.metrics.certified if e.eps == "0.3"]
    assert row["our certified"] == pytest.approx(100 * max(certified), abs=0.005)
    assert row["our PGD"] >= row["our certified"]
    assert len(table_1["rows"]) == 6 + 5 + 8
    assert len(table_2["rows"]) == 5
    assert len(table_4["rows"]) == 5


def test_rows_without_a_number_say_why():
    for table in linf_dist.tables():
        for row in table["rows"]:
            missing = any(key.startswith("our") and row[key] is None for key in row)
            if missing or not any(key.startswith("our") for key in row):
                assert row["checkpoint"] not in {record.name for record in catalog.list_models()}
                assert row["checkpoint"]


def test_rows_not_trained_name_a_command_that_exists(monkeypatch):
    monkeypatch.setattr(linf_dist.catalog, "list_models", list)
    commands = [
        row["checkpoint"].split()
        for table in linf_dist.tables()
        for row in table["rows"]
        if row["checkpoint"].startswith("not trained")
    ]
    assert len(commands) == 8
    for words in commands:
        assert words[words.index("training") + 1] in recipes.names()


def test_command(capsys):
    assert command.main(["linf-dist", "--json"]) == 0
    assert [t["title"][:7] for t in json.loads(capsys.readouterr().out)] == [
        "Table 1",
        "Table 2",
        "Table 4",
    ]
    assert command.main(["linf-dist"]) == 0
    shown = capsys.readouterr().out
    assert "93.09" in shown
    assert "linf-dist-mnist" in shown
    with pytest.raises(SystemExit):
        command.main(["nothing"])
    assert "invalid choice: 'nothing'" in capsys.readouterr().err


def test_the_page_on_double_backpropagation_shows_the_manifest():
    page = pathlib.Path(linf_dist.__file__).parents[2] / "docs" / "double_backprop.md"
    cells = [line.strip("| ").split(" | ") for line in page.read_text("utf-8").splitlines()]
    records = {r.name: r.metrics for r in catalog.list_models(approach="double-backprop")}
    expected = []
    for name, metrics in records.items():
        method = metrics.certified[0].method
        for entry in metrics.certified:
            if entry.method == method:
                attacked = {
                    e.attack: f"{100 * e.accuracy:.1f}"
                    for e in metrics.attacked
                    if e.eps == entry.eps
                }
                row = [name, f"{100 * metrics.clean:.1f}", entry.eps]
                certified = f"{100 * entry.accuracy:.1f} ({method})"
                expected.append([*row, attacked["fgsm"], attacked["pgd"], certified])
    assert [row for row in cells if row[0] in records and len(row) == 6 and row[5][-1] == ")"] == (
        expected
    )


@pytest.mark.parametrize("approach", ["double-backprop", "lc-lmt", "second-order"])
def test_pages_show_the_results(approach):
    page = pathlib.Path(linf_dist.__file__).parents[2] / "docs" / f"{approach.replace('-', '_')}.md"
    text = page.read_text(encoding="utf-8")
    for table in command.APPROACHES[approach].tables():
        assert command.markdown(table) in text, table["title"]


def test_the_page_on_second_order_certificates_shows_the_manifest():
    page = pathlib.Path(linf_dist.__file__).parents[2] / "docs" / "second_order.md"
    _, _, text = page.read_text("utf-8").partition("## What was measured")
    rows = re.findall(r"^\| (crt-\S+) \|[^|]*\| (.+) \|$", text.partition("\n## ")[0], re.MULTILINE)
    assert rows
    for name, shown in rows:
        clean, eps, attacked, certified = shown.split(" | ")
        metrics = catalog.info(name).metrics
        numbers = [metrics.clean] + [
            next(entry.accuracy for entry in results if entry.eps == eps)
            for results in (metrics.attacked, metrics.certified)
        ]
        assert [clean, attacked, certified] == [f"{100 * number:.1f}" for number in numbers]
