"""The TOML files of the papers."""

import json

import pytest

from training.run import affects_training
from training.tables import papers, queue
from training.tables.rows import tables

PAPER = """
citation = "Somebody, 2020"
seeds = [0, 1]
[measure.clean]
quantity = "accuracy"
[measure.certified]
quantity = "certified_accuracy"
eps = [0.5]
[extra.radius]
quantity = "mean_radius"
images = 5
[runs.small]
recipe = "lc-lmt-digits"
overrides.model = { epsilon = 0.3 }
measure.certified = { eps = [0.7] }
extra = ["radius"]
[[tables]]
title = "Table 1"
caption = "What it shows."
columns = [
  { name = "network", row = "label" },
  { name = "paper: clean", paper = "clean" },
  { name = "our clean", measured = "clean", unit = "%" },
  { name = "certified", measured = ["certified", "0.7"], unit = "%", decimals = 1 },
  { name = "elsewhere" },
  { name = "images", images = ["clean", "radius"] },
  { name = "trained", row = "status" },
]
rows = [
  { label = "small", run = "small", paper = { clean = 98.7 } },
  { label = "large", reason = "too large" },
]
[[plot.panels]]
kind = "bars"
xlabel = "accuracy"
bars = [{ label = "clean", measured = "clean" }]
"""


def write(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", papers.names())
def test_shipped_papers_are_read(name):
    paper = papers.load(name)
    assert paper.name == name
    assert paper.citation
    assert all(row for table in tables(paper) for row in table["rows"])


def test_a_paper_is_read_and_printed(tmp_path):
    paper = papers.load(write(tmp_path, PAPER))
    run = paper.runs["small"]
    assert run.overrides == {"model": {"epsilon": 0.3}}
    assert run.measurements["certified"]["eps"] == [0.7]
    assert run.measurements["radius"] == {"quantity": "mean_radius", "images": 5}
    results = tmp_path / "results.json"
    found = {
        f"small-seed{seed}": {
            "clean": clean,
            "certified": {"0.7": 0.25},
            "epochs": seed + 1,
            "seconds": 10,
            "hardware": "a computer",
            "images": 1000,
            "n": 500,
            "recipe": affects_training(queue.of_seed(run, seed)),
            "measurements": run.measurements,
        }
        for seed, clean in ((0, 0.5), (1, 0.7))
    }
    results.write_text(json.dumps(found), encoding="utf-8")
    (table,) = tables(paper, results)
    assert table["caption"] == "What it shows. Hardware: a computer."
    small, large = table["rows"]
    assert small == {
        "network": "small",
        "paper: clean": 98.7,
        "our clean": "60.00 ± 14.14",
        "certified": "25.0 ± 0.0",
        "elsewhere": None,
        "images": "500 / 5",
        "trained": "2 seeds, 1–2 epochs, 1,000 images, 10 s each",
    }
    assert large["trained"] == "too large"
    assert large["our clean"] is large["paper: clean"] is None


def test_a_paper_without_results_names_the_command(tmp_path):
    ((small, _),) = [
        table["rows"]
        for table in tables(papers.load(write(tmp_path, PAPER)), tmp_path / "none.json")
    ]
    assert small["trained"] == "not trained: python -m training.tables mine --train"
    assert small["our clean"] is None


def test_unknown_paper():
    with pytest.raises(FileNotFoundError, match="no paper 'nothing'; there are: double-backprop,"):
        papers.load("nothing")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('citation = "Somebody, 2020"', "", "the file: 'citation' is a required property"),
        ("seeds = [0, 1]", "seeds = ", "line 3"),
        ("seeds = [0, 1]", "seeds = [-1]", r"seeds\.0: -1 is less than"),
        ('"accuracy"', '"acuracy"', "measurement 'clean': there is no quantity 'acuracy'; there"),
        ("images = 5", "image = 5", "measurement 'radius': mean_radius: got an unexpected keyw"),
        ('"lc-lmt-digits"', '"lc-lmt"', r"runs\.small: no recipe 'lc-lmt'"),
        ("overrides.model", "overrides.data", r"runs\.small: .*overrides: data: Additional prop"),
        ("{ epsilon = 0.3 }", "3", r"runs\.small: .*model: 3 is not of type 'object'"),
        ('recipe = "lc-lmt-digits"', "", "a run has either a recipe or a checkpoint"),
        (
            'recipe = "lc-lmt-digits"',
            'checkpoint = "lc-lmt-digits"',
            "a checkpoint has no overrides",
        ),
        ('extra = ["radius"]', 'extra = ["radii"]', r"no entry of \[extra\] is 'radii'"),
        ("measure.certified =", "measure.certain =", "no measurement has the name 'certain'"),
        ('run = "small"', 'run = "smal"', r"rows\.0\.run: no run has the name 'smal'"),
        ("paper = { clean", "paper = { clan", r"rows\.0\.paper: no column shows 'clan'"),
        (', reason = "too large"', "", "a row has a run, a checkpoint or a reason"),
        ('paper = "clean"', 'paper = "clan"', "no column shows 'clean'"),
        ('measured = "clean", unit', 'measured = "clan", unit', "no row measures 'clan'"),
        ('["clean", "radius"]', '["radii"]', r"columns\.5\.images: no row measures 'radii'"),
        ('unit = "%"', 'unit = "m"', r"columns\.2\.unit: 'm' is not one of"),
        ('row = "label" }', 'row = "label", paper = "x" }', "a column shows row, paper, measu"),
        ('"0.7"]', '"{eps}"]', r"columns\.3\.measured: a row has no eps to stand for {eps}"),
        ('kind = "bars"', 'kind = "shares"', "a panel of shares needs lines"),
        (
            'label = "clean", measured = "clean"',
            'label = "a", measured = "b"',
            "no run measures 'b'",
        ),
        (
            "[[tables]]",
            '[runs.idle]\nrecipe = "lc-lmt-digits"\n[[tables]]',
            "runs: no row names 'idle'",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_named(tmp_path, old, new, message):
    assert old in PAPER
    with pytest.raises(ValueError, match=message) as caught:
        papers.load(write(tmp_path, PAPER.replace(old, new, 1)))
    assert "mine.toml: " in str(caught.value)
