"""The papers' tables beside the zoo's numbers."""

import json
import pathlib
import re

import numpy as np
import pytest
from matplotlib.figure import Figure

import zoo
from site_tools import tables as site_tables
from training import recipe as recipes
from training.run import build
from training.tables import __main__ as command
from training.tables import manifest, papers, plot, results
from training.tables.rows import tables
from zoo.hub import catalog

DOCS = pathlib.Path(zoo.__file__).parents[1] / "docs"
MEASURED = ("double-backprop", "l2nnn", "lc-lmt", "second-order")


@pytest.mark.parametrize(
    ("dataset", "net", "hybrid"),
    [
        ("mnist", 82.7, 85.3),
        ("fashion-mnist", 82.7, 85.3),
        ("cifar10", 121, 123),
        ("tiny-imagenet", None, 156),
    ],
)
def test_full_recipes_have_the_published_size(dataset, net, hybrid):
    """The paper's FLOPs, in as many digits as it prints."""
    for name, published in (("linf-dist", net), ("linf-dist-mlp", hybrid)):
        if published is None:
            continue
        found = manifest.multiply_adds(recipes.load(f"{name}-{dataset}-full")["model"])
        assert found == pytest.approx(published, abs=0.05 if published < 100 else 0.6)


def test_the_zoos_numbers_are_the_manifests():
    table_1, table_2, table_4 = tables(papers.load("linf-dist"))
    rows = {row["trained"].partition(":")[0]: row for row in table_1["rows"]}
    record = catalog.info("linf-dist-mnist")
    row = rows["linf-dist-mnist"]
    training = record.training
    assert row["trained"] == (
        f"linf-dist-mnist: seed 0, {training.epochs} epochs, {training.seconds:,} s"
    )
    assert row["images"] == "10,000 / 10,000"
    assert row["data set"] == "MNIST (0.3)"
    assert row["our clean"] == pytest.approx(100 * record.metrics.clean, abs=0.005)
    certified = [e.accuracy for e in record.metrics.certified if e.eps == "0.3"]
    assert row["our certified"] == pytest.approx(100 * max(certified), abs=0.005)
    assert row["our attacked"] >= row["our certified"]
    assert len(table_1["rows"]) == 6 + 5 + 8 + 6
    assert len(table_2["rows"]) == 5
    assert len(table_4["rows"]) == 5


def test_rows_without_a_number_say_why():
    for table in tables(papers.load("linf-dist")):
        for row in table["rows"]:
            missing = any(key.startswith("our") and row[key] is None for key in row)
            if missing or not any(key.startswith("our") for key in row):
                assert row["trained"] not in {record.name for record in catalog.list_models()}
                assert row["trained"]


def test_rows_not_trained_name_a_command_that_exists(monkeypatch):
    monkeypatch.setattr(catalog, "list_models", list)
    commands = [
        row["trained"].split("python -m ")[1].split()
        for table in tables(papers.load("linf-dist"), DOCS / "none.json")
        for row in table["rows"]
        if row["trained"].startswith("not trained")
    ]
    assert len(commands) == 8 + 6 + 1
    for module, name, *_ in commands:
        if module == "training":
            assert name in recipes.names()
        else:
            assert (module, name) == ("training.tables", "linf-dist")


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


def test_pages_are_up_to_date():
    """The tables and BibTeX entries of all pages are those of the manifest and the results."""
    found = set()
    for page in DOCS.glob("*.md"):
        text = page.read_text("utf-8")
        assert site_tables.updated(text) == text, f"{page.name}: run python -m site_tools.tables"
        found |= set(re.findall(r"site_tools\.tables: (\S+ \S+)", text))
    approaches = {record.approach for record in catalog.list_models()}
    assert {f"measured {approach}" for approach in approaches} <= found
    named = " ".join(found)
    assert {f"paper {name}" for name in papers.names()} <= found
    assert "bibtex linf-dist" in named


def test_a_measured_table_shows_the_manifest():
    page = "<!-- site_tools.tables: measured l2nnn -->\n<!-- end -->\n"
    table = site_tables.updated(page)
    metrics = catalog.info("l2nnn-digits").metrics
    row = f"| `l2nnn-digits` | {100 * metrics.clean:.1f} | 0.5 |"
    (line,) = [line for line in table.splitlines() if line.startswith(row)]
    (proved,) = [f"{100 * e.accuracy:.1f}" for e in metrics.certified if e.eps == "0.5"]
    attacked = min(e.accuracy for e in metrics.attacked if e.eps == "0.5")
    assert line.startswith(f"{row} {100 * attacked:.1f} | {proved} | 500 |")
    assert site_tables.updated(table.replace(line, line.replace(proved, "99.9"))) == table


def certified(dataset, eps):
    """``(accuracy, approach)`` of the checkpoint that certifies most at an L2 budget."""
    return max(
        (entry.accuracy, record.approach)
        for record in catalog.list_models(dataset=dataset, norm="l2")
        for entry in record.metrics.certified
        if entry.eps == eps
    )


def test_what_pages_say_about_the_best_approach_holds():
    """docs/l2nnn.md, lipschitz_margin.md and second_order.md name what certifies most."""
    assert certified("cifar10", "36/255")[1] == "lc-lmt"
    of_cifar10 = {r.name: r.metrics.clean for r in catalog.list_models() if r.dataset == "cifar10"}
    assert max(of_cifar10, key=of_cifar10.get) == "lc-lmt-cifar10"
    for eps in ("72/255", "108/255"):
        assert certified("cifar10", eps)[1] == "l2nnn"
    assert certified("mnist", "1.58")[1] == "crt"
    costs = {r.name: r.metrics.cost.milliseconds for r in catalog.list_models() if r.metrics.cost}
    for name, milliseconds in costs.items():
        if name.startswith(("l2nnn", "lmt", "lc-lmt")):
            assert milliseconds < 3, name


def test_the_page_on_masked_gradients_shows_the_manifest():
    """Every number of a shipped checkpoint but the accuracy under PGD, which is not recorded."""
    text = (DOCS / "masked_gradients.md").read_text("utf-8")
    rows = re.findall(r"^\| (linf-\S+), (\S+) \| (.+) \|$", text, re.MULTILINE)
    assert len(rows) == 5
    for name, eps, shown in rows:
        clean, _, auto, proved, nearest = shown.split(" | ")
        metrics = catalog.info(name).metrics
        (attacked,) = [e for e in metrics.attacked if e.eps == eps and e.attack == "auto"]
        best = max(e.accuracy for e in metrics.certified if e.eps == eps)
        expected = [f"{100 * value:.2f}" for value in (metrics.clean, attacked.accuracy, best)]
        assert [clean, auto, proved] == expected, name
        digits = len(nearest.partition(".")[2])
        assert nearest == f"{metrics.nearest.median:.{digits}f}", name
    metrics = catalog.info("l2nnn-mnist").metrics
    proved = " / ".join(site_tables.percent(e.accuracy, 1000) for e in metrics.certified)
    assert f"{100 * metrics.clean:.1f} % and certifies {proved} %" in text.replace("\n  ", " ")


@pytest.mark.parametrize("name", MEASURED)
def test_every_result_is_of_a_run_and_complete(name):
    """A result that no row asks for, or that lacks a measurement, would never be noticed."""
    paper = papers.load(name)
    found = results.read(paper.results)
    keys = {key: run for run in paper.runs.values() for key in run.keys}
    assert found
    assert found.keys() <= keys.keys()
    for key, result in found.items():
        assert keys[key].measurements.keys() <= result.keys(), key


def test_the_posters_rows_are_the_recipes_that_their_names_say():
    paper = papers.load("l2nnn")
    assert len(paper.runs) == 12
    for name, run in paper.runs.items():
        model = recipes.load(run.recipe, run.overrides)["model"]
        assert name.startswith("resnet" if model["network"] == "resnet20" else "convnet")
        assert f"-w{model['regularization']}-" in name
        assert model["divide_before_convolution"] != name.endswith("-no-dbc")
        assert model["parametrization"] == "free"


@pytest.mark.integration
def test_recipes_of_runs_build():
    """One run for each recipe and set of overridden entries."""

    def places(table, start=()):
        for key, value in table.items():
            yield from places(value, (*start, key)) if isinstance(value, dict) else [(*start, key)]

    different = {}
    for paper in map(papers.load, papers.names()):
        for run in paper.runs.values():
            if run.recipe:
                different[run.recipe, tuple(sorted(places(run.overrides)))] = run
    assert {recipe for recipe, _ in different} == {
        f"tables/{path.stem}" for path in (recipes.RECIPES / "tables").glob("*.toml")
    } | {
        row["checkpoint"][-1]
        for row in papers.load("linf-dist").tables[0]["rows"]
        if "checkpoint" in row
    }
    for run in different.values():
        recipe = recipes.load(run.recipe, run.overrides)
        if "hidden" in recipe["model"].get("network", ()):  # as many layers, but narrow
            recipe["model"]["network"]["hidden"] = [8 for _ in recipe["model"]["network"]["hidden"]]
        if "width" in recipe["model"]:
            recipe["model"]["width"] = 16 if recipe["model"]["width"] > 16 else 0.5
        assert build(recipe).num_classes == 10


@pytest.mark.parametrize("form", ["full", "summed"])
def test_the_weight_of_double_backpropagation_is_of_a_mean(form):
    """λ as printed, in the row's label, is for the mean over the entries of the gradients."""
    import keras
    import numpy as np

    from zoo.losses import JacobianL1

    x = np.random.default_rng(0).uniform(size=(1, 28, 28, 1)).astype("float32")
    network = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten()])
    network.add(keras.layers.Dense(10))
    kernel = keras.ops.convert_to_numpy(network.layers[-1].kernel)
    entries = kernel if form == "full" else kernel.sum(axis=1)
    penalty = float(JacobianL1(form)(network, x)[0])
    paper = papers.load("double-backprop")
    rows = [row for table in paper.tables for row in table["rows"]]
    checked = 0
    for row in rows:
        run = paper.runs[row["run"]]
        model = recipes.load(run.recipe, run.overrides)["model"]
        printed = float(row["label"].split("λ ")[1])
        if model["form"] == form:
            found = model["penalty_weight"] * penalty
            assert found == pytest.approx(printed * np.abs(entries).mean(), rel=1e-5)
            checked += 1
    assert checked == (15 if form == "full" else 30)


def test_labels_say_what_is_trained():
    """ε, λ, γ and the number of layers in a label are those of the recipe that the row names."""
    for name in ("double-backprop", "lc-lmt", "second-order"):
        paper = papers.load(name)
        for row in [row for table in paper.tables for row in table["rows"]]:
            if "reason" in row:
                continue
            run = paper.runs[row["run"]]
            if run.checkpoint:
                assert row["label"] == run.checkpoint
                continue
            recipe = recipes.load(run.recipe, run.overrides)
            model = recipe["model"]
            if name == "double-backprop":
                found = re.match(r"ε ([\d.]+)", row["label"])
                assert model.get("epsilon") == (float(found[1]) if found else None)
                attacks = [run.measurements[key]["eps"] for key in ("fgsm", "pgd")]
                assert attacks == [model.get("epsilon", 0.3)] * 2
                assert model["network"]["name"] == row["group"].lower()
                assert run.measurements["certified"]["method"] == "crown"
                assert run.measurements["median radius"]["method"] == "crown"
            elif name == "lc-lmt":
                plain = recipe["training"].get("loss") == "cross_entropy"
                assert row["label"] == (
                    "plain" if plain else f"{model['variant']} ({model['epsilon']:g})"
                )
            else:
                layers, how = row["label"].split(", ", 1)
                shape = model["network"]
                sizes = [*shape.get("hidden", []), "logits"]
                assert layers == (f"{len(sizes)} × 1024" if sizes[1:] else "convolution")
                assert how.startswith(shape["activation"])
                gamma = re.search(r"γ ([\d.]+)", how)
                assert model["penalty_weight"] == (float(gamma[1]) if gamma else 0.0)
                assert ("CRT" in how) == (model["epsilon"] == 0.5)


def test_all_papers_are_printed_without_a_name(capsys):
    assert command.main(["--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert len(shown) == sum(len(papers.load(name).tables) for name in papers.names()) == 16
    assert command.main(["l2nnn"]) == 0
    assert "86.1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["l2nnn", "--train", "--only", "nothing"], "no run 'nothing'; there are: convnet-w0.0"),
    ],
)
def test_what_cannot_be_trained_is_one_error(arguments, message, capsys):
    assert command.main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["second-order", "--plot", "plot.svg"], "no plot for second-order"),
        (["--plot", "plot.svg"], "needs the name of a paper"),
        (["--only", "convnet-w0.0-dbc", "--queue"], "needs the name of a paper"),
        (["l2nnn", "--only", "convnet-w0.0-dbc"], "give --train as well"),
    ],
)
def test_options_that_do_not_fit(arguments, message, capsys):
    with pytest.raises(SystemExit):
        command.main(arguments)
    assert message in capsys.readouterr().err


def test_the_band_of_a_plot_is_the_deviation_in_the_table():
    axes = Figure().subplots()
    panel = {"lines": [{"run": "a", "measured": "loss", "label": "a"}]}
    plot._epochs(axes, panel, {"a": [{"loss": [1.0, 4.0]}, {"loss": [2.0, 8.0]}]})
    (band,) = axes.collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert heights.max() == pytest.approx(6 + np.sqrt(8))
    assert heights.min() == pytest.approx(1.5 - np.sqrt(0.5))
