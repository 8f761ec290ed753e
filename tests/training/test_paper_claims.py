"""What the pages say about the papers' tables holds for the results.

Each test makes the sentences from the results and looks for them in the page. After a new training,
a test that fails says which sentence has to be written anew.
"""

import itertools
import pathlib
import re

import numpy as np
import pytest

import zoo
from training import recipe as recipes
from training.tables import papers, queue, results
from training.tables.rows import above, first_epoch, tables
from zoo.hub import catalog

DOCS = pathlib.Path(zoo.__file__).parents[1] / "docs"
COUNTS = {1: "one", 2: "two", 3: "three", 4: "four", 10: "ten", 20: "twenty", 30: "thirty"}


class Results:
    """The results of a paper as its rows show them: the mean over the seeds of each number."""

    def __init__(self, name):
        self.paper = papers.load(name)
        found = results.read(self.paper.results)
        self.of = {key: queue.shown(run, found) for key, run in self.paper.runs.items()}

    def values(self, run, *path):
        """The numbers of all seeds."""
        values = self.of[run]
        for key in path:
            values = [value[key] for value in values]
        return values

    def mean(self, run, *path):
        return float(np.mean(self.values(run, *path)))

    def percent(self, run, *path):
        return 100 * self.mean(run, *path)

    def spread(self, run, *path):
        """The mean and the standard deviation over the seeds, in per cent, as text."""
        deviation = 100 * np.std(self.values(run, *path), ddof=1)
        return f"{self.percent(run, *path):.1f} ± {deviation:.1f}"

    def trained(self):
        """The names of the runs that have results."""
        return [name for name, own in self.of.items() if own]

    def is_whole(self, run):
        """Whether the results of a run are of trainings with its present recipe."""
        described = self.paper.runs[run]
        return bool(self.of[run]) and all(
            queue.is_of(result, queue.of_seed(described, result["recipe"]["seed"]))
            for result in self.of[run]
        )

    def epochs(self, *runs):
        """The epochs of these runs, in words if all are equal."""
        found = {epochs for run in runs for epochs in self.values(run, "epochs")}
        assert len(found) == 1, found
        return COUNTS[found.pop()]


@pytest.fixture(scope="module")
def load():
    return {name: Results(name) for name in ("double-backprop", "l2nnn", "lc-lmt", "second-order")}


def says(page, *sentences):
    """Whether a page has these sentences, wherever its lines break."""
    text = " ".join((DOCS / f"{page}.md").read_text("utf-8").split())
    for sentence in sentences:
        assert sentence in text, f"{page}.md does not say: {sentence}"


@pytest.mark.parametrize("name", papers.names())
def test_captions_name_the_attacks_and_the_certificates_that_were_measured(name):
    """The settings of every result, other than the number of images, are those of the file."""
    paper = papers.load(name)
    found = results.read(paper.results)
    for run in paper.runs.values():
        for result in (found[key] for key in run.keys if key in found):
            for key, settings in result["measurements"].items():
                assert without_images(settings) == without_images(run.measurements[key]), run.name
    for table in paper.tables:
        used = {row["run"] for row in table["rows"] if "run" in row}
        measured = [paper.runs[run].measurements for run in used]
        named = {column["measured"] for column in table["columns"] if _is_text(column)}
        for attack in (m[key] for m in measured for key in named & m.keys() if "attack" in m[key]):
            for words in _words(attack):
                assert words in table["caption"], words


def _is_text(column):
    return isinstance(column.get("measured"), str)


def _words(attack):
    """What a caption must say about an attack."""
    name, steps = attack["attack"], attack.get("steps")
    if name == "cw":
        return [f"Carlini–Wagner L2, {steps} iterations, {attack['search_steps']} values"]
    if name == "auto":
        return ['"auto" is the ensemble', "spares certified images"]
    if name == "fgsm":
        return ["FGSM"]
    loss = {"margin": "margin loss", "cross_entropy": "cross-entropy"}[attack["loss"]]
    rescaled = ["on logits rescaled to a mean gap of 1"] if attack.get("rescaled") else []
    return [f"{steps} steps of {attack['step_size']}", loss, *rescaled]


def without_images(settings):
    """Settings of a measurement, without the number of images and the method that auto chose."""
    return {key: settings[key] for key in settings if key not in ("images", "method")}


def test_every_table_shows_how_it_was_made():
    """Seeds, epochs, seconds, hardware and numbers of images of each row with a number of ours."""
    for paper in map(papers.load, papers.names()):
        for described, table in zip(paper.tables, tables(paper), strict=True):
            own = [column["name"] for column in described["columns"] if "measured" in column]
            rows = [row for row in table["rows"] if any(row[name] is not None for name in own)]
            for row in rows:
                if row["trained"].startswith("earlier weights"):
                    continue
                assert re.search(r"seeds?\b.*\bepochs?\b.*\d s\b", row["trained"]), row["trained"]
                assert not re.search(r"–[\d,]+–", row["trained"]), row["trained"]
                if not table["title"].startswith(("Figure 1", "Table 4: seconds")):
                    assert row["images"], table["title"]
            assert not rows or "Hardware: " in table["caption"] or "our hardware" in own
            assert not rows or re.search(
                "attack|PGD|CROWN|certificate|all classes", table["caption"]
            )


def test_the_row_of_a_checkpoint_names_the_hardware_of_its_training():
    """Its seconds are those of the training, so the hardware beside them must be, too."""
    seen = 0
    for paper in map(papers.load, papers.names()):
        found = results.read(paper.results)
        for run in paper.runs.values():
            if run.checkpoint and run.key(None) in found:
                training = catalog.info(run.checkpoint).training
                result = found[run.key(None)]
                assert (result["seconds"], result["hardware"]) == (
                    training.seconds,
                    training.hardware,
                )
                seen += 1
    assert seen


def test_double_backpropagation(load):
    own = load["double-backprop"]
    adversarial = [name for name in own.trained() if name.startswith("c-eps")]
    alone = [name for name in own.trained() if name.startswith("c-clean")]
    assert all(own.is_whole(name) for name in adversarial + alone)
    assert {len(own.of[name]) for name in adversarial + alone} == {3}
    stopped = [epochs for name in alone for epochs in own.values(name, "epochs")]
    assert all(result.get("stopped") for name in alone for result in own.of[name])
    says(
        "double_backprop",
        "The tables show model C with three seeds. With adversarial training it has "
        f"{own.epochs(*adversarial)} epochs where the paper has a hundred and more. With the "
        "penalty alone, the stopping rule of the paper ended the trainings after "
        f"{min(stopped)} to {max(stopped)} epochs.",
    )
    deeper = [name for name in own.trained() if name[0] in "ab"]
    of_a = ["a-eps0.3-summed-0", "a-eps0.3-summed-10"]
    of_b = ["b-eps0.3-summed-0", "b-eps0.3-summed-10"]
    budgets = ("0.05", "0.1", "0.2", "0.3")
    alone_a = [f"a-eps{eps}-summed-0" for eps in budgets]
    fine_b, next_b = "b-eps0.05-summed-0", "b-eps0.1-summed-0"
    assert all(own.is_whole(name) and len(own.of[name]) == 1 for name in deeper)
    assert [name for name in deeper if "clean" in name] == ["a-clean-full-50"]

    def at(model, weight):
        trained = [eps for eps in budgets if f"{model}-eps{eps}-summed-{weight}" in deeper]
        *first, last = trained
        return f"{', '.join(first)} and {last}" if first else last

    all_of_them = [name for name in own.paper.runs if name[0] in "ab"]
    says(
        "double_backprop",
        f"Of the {len(all_of_them)} networks of models A and B, {len(deeper)} are trained so far, "
        f"with one seed and {own.epochs(*deeper)} epochs: A with the penalty alone and λ 50; "
        f"without the penalty, A at ε {at('a', 0)}, and B at {at('b', 0)}; with both, A at "
        f"{at('a', 10)}, and B at {at('b', 10)}. The seconds of A at 0.1 without the penalty, of "
        "B at 0.1 with both, and of all four at 0.3, include pauses of their training.",
    )

    plain, penalty = "c-eps0.3-summed-0", "c-eps0.3-summed-10"
    fgsm, pgd = (own.percent(plain, key) for key in ("fgsm", "pgd"))
    says(
        "double_backprop",
        f"withstands FGSM on {fgsm:.0f} % of the images, and PGD of the same size on {pgd:.0f} %.",
        "Trained and attacked at 0.1, the two numbers are closer, and at 0.05 they nearly agree.",
    )

    def in_turn(values, digits=1):
        *first, last = (f"{value:.{digits}f}" for value in values)
        return f"{', '.join(first)} and {last}"

    printed = {
        (row["model"], row["training"]): float(row["paper: FGSM"].partition(" ")[0])
        for row in tables(own.paper)[1]["rows"]
    }
    says(
        "double_backprop",
        f"Model A behaves in the same way: after {own.epochs(*alone_a)} epochs without the "
        f"penalty, FGSM leaves {in_turn(own.percent(name, 'fgsm') for name in alone_a)} % at the "
        f"four ε (published: {in_turn(printed['A', f'ε {eps}, λ 0'] for eps in budgets)}), and PGD "
        f"{in_turn(own.percent(name, 'pgd') for name in alone_a)} %.",
    )
    b_fgsm = [own.percent(name, "fgsm") for name in of_b]
    says(
        "double_backprop",
        "Model B shows the extreme. At 0.05 it withstands FGSM on "
        f"{own.percent(fine_b, 'fgsm'):.1f} % and PGD on {own.percent(fine_b, 'pgd'):.1f} %, and "
        f"at 0.1 on {own.percent(next_b, 'fgsm'):.1f} % and {own.percent(next_b, 'pgd'):.1f} %. "
        f"At 0.3 it withstands FGSM on {b_fgsm[0]:.1f} %, as published "
        f"({printed['B', 'ε 0.3, λ 0']:.1f}), and PGD on {own.percent(of_b[0], 'pgd'):.1f} %.",
    )
    for weight in (0, 10):
        runs = [f"c-eps{eps}-summed-{weight}" for eps in budgets]
        gaps = [abs(own.percent(run, "fgsm") - own.percent(run, "pgd")) for run in runs]
        assert gaps[0] < 1 < gaps[1] < min(gaps[2:])

    def slopes(run, form):
        return own.mean(run, "slopes", form)

    heavy, heaviest = "c-eps0.3-summed-100", "c-eps0.3-summed-1000"
    says(
        "double_backprop",
        "For model C at ε = 0.3, the penalty with λ = 10 lowers the summed form from "
        f"{slopes(plain, 'summed'):.0f} to {slopes(penalty, 'summed'):.1f}, but the full form only "
        f"from {slopes(plain, 'full'):.0f} to {slopes(penalty, 'full'):.0f}. With λ = 100 and 1000 "
        f"the full form falls to {slopes(heavy, 'full'):.0f} and {slopes(heaviest, 'full'):.0f}.",
    )
    with_penalty = [n for n in adversarial if n.startswith("c-eps0.3") and n != plain]

    def highest(key):
        best = max(with_penalty, key=lambda name: own.percent(name, key))
        return f"{own.spread(best, key)} with it (λ {best.rpartition('-')[2]})"

    fine = [own.percent(f"c-eps0.1-summed-{weight}", "fgsm") for weight in (0, 10)]
    proof = [own.percent(f"c-eps0.1-summed-{weight}", "pgd") for weight in (0, 10)]
    assert own.percent("c-eps0.3-summed-50", "fgsm") > fgsm > own.percent(heavy, "fgsm")
    assert own.percent(heavy, "fgsm") > own.percent(heaviest, "fgsm")
    published = {
        row["run"]: float(row["paper"]["FGSM"].split()[0]) for row in own.paper.tables[-1]["rows"]
    }
    gains = [published[f"c-eps0.3-summed-{weight}"] - published[plain] for weight in (10, 50)]
    a_fgsm, a_pgd = ([own.percent(name, key) for name in of_a] for key in ("fgsm", "pgd"))
    says(
        "double_backprop",
        f"FGSM leaves {own.spread(plain, 'fgsm')} % without the penalty and at most "
        f"{highest('fgsm')}, but only {own.spread(heaviest, 'fgsm')} with λ 1000. The paper's gain "
        f"is {gains[0]:.1f} points with λ 10 and {gains[1]:.1f} with λ 50; ours is "
        f"{own.percent(penalty, 'fgsm') - fgsm:.1f} and "
        f"{own.percent('c-eps0.3-summed-50', 'fgsm') - fgsm:.1f}. With model A and λ 10 the gain "
        f"is {a_fgsm[1] - a_fgsm[0]:.1f} points (from {a_fgsm[0]:.1f} to {a_fgsm[1]:.1f} %), where "
        f"the paper has {printed['A', 'ε 0.3, λ 10'] - printed['A', 'ε 0.3, λ 0']:.1f}. But PGD "
        f"then leaves less, {a_pgd[1]:.1f} in place of {a_pgd[0]:.1f} %. With model B there is no "
        f"gain: FGSM leaves {b_fgsm[1]:.1f} % with the penalty and {b_fgsm[0]:.1f} without it, "
        f"where the paper has {printed['B', 'ε 0.3, λ 10']:.1f} and "
        f"{printed['B', 'ε 0.3, λ 0']:.1f}. "
        f"With model C, PGD leaves {own.spread(plain, 'pgd')} without and up to "
        f"{highest('pgd')}. At ε = 0.1 the penalty changes little: FGSM leaves {fine[0]:.1f} "
        f"without and {fine[1]:.1f} with it, and PGD {proof[0]:.1f} and {proof[1]:.1f}.",
    )

    def certified(run, eps="0.03"):
        return own.percent(run, "certified", eps)

    weights = [f"c-clean-full-{weight}" for weight in ("0.1", "1", "10", "25", "50")]
    strong, most = max(with_penalty, key=certified), max(weights, key=certified)
    least = weights[0]
    assert strong == heaviest
    lost = own.percent(least, "clean") - own.percent(most, "clean")
    says(
        "double_backprop",
        f"At 0.03 it rises from {certified(plain):.0f} to {certified(strong):.0f} % (Table 4, λ "
        "1000). With the penalty alone, in the full form, it rises from "
        f"{certified(least):.0f} % at λ {least.rpartition('-')[2]} to {certified(most):.0f} % at "
        f"λ {most.rpartition('-')[2]} (Table 2), for {lost:.1f} points of clean accuracy. At 0.1 "
        "neither certifies anything.",
    )
    assert {certified(name, "0.1") for name in own.trained()} == {0.0}
    both_a = [f"a-eps{eps}-summed-10" for eps in budgets]
    shares = [in_turn([certified(n) for n in names], 0) for names in (both_a, alone_a)]
    left = [[own.percent(n, "pgd") for n in names] for names in (both_a, alone_a)]
    says(
        "double_backprop",
        f"Model A, with one seed and λ 10, certifies at 0.03, of 100 images, {shares[0]} % at the "
        f"four ε, and {shares[1]} % without the penalty. PGD leaves {in_turn(left[0])} %, and "
        f"without the penalty {in_turn(left[1])} %: less at 0.3 alone.",
    )
    assert [bool(a < b) for a, b in zip(*left, strict=True)] == [False, False, False, True]
    first, *up, last = (own.percent(name, "fgsm") for name in weights)
    assert first < up[0] < up[1] > up[2] > last
    proof = [own.percent(name, "pgd") for name in weights[1:]]
    assert proof == sorted(proof, reverse=True)
    says(
        "double_backprop",
        f"It rises from {first:.1f} % (λ 0.1) to {up[1]:.1f} (λ 10), and is {last:.1f} with λ 50, "
        f"where the paper has its highest. From λ = 1 on, PGD leaves less the larger λ is: from "
        f"{proof[0]:.1f} % (λ 1) to {proof[-1]:.1f} (λ 50).",
    )


def test_second_order_certificates(load):
    own = load["second-order"]
    dense = [n for n in own.trained() if re.match(r"\d-", n)]
    recipes_of = [n for n in own.of if not own.paper.runs[n].checkpoint]
    whole = {name for name in recipes_of if own.is_whole(name)}
    assert all(own.values(name, "epochs") == [30] for name in whole if name[0] in "2c")
    assert all(own.values(name, "epochs") == [10] for name in whole if name[0] in "34")
    assert whole == {*recipes_of}
    says(
        "second_order",
        f"The other {len(recipes_of)} networks are trained for the epochs of their recipes: "
        "thirty, as in the paper, with two layers or a convolution, and ten with three or four "
        "layers.",
    )

    def mean(run, *path):
        return own.mean(run, *(path or ("curvature", "mean")))

    standard, weighted = "{}-sigmoid-images-gamma0", "{}-sigmoid-images-gamma0.01"
    worst = "{}-sigmoid-rho0.5-gamma0.01"
    for layers in (2, 3, 4):
        rising = [mean(name.format(layers)) for name in (standard, weighted, worst)]
        assert rising == sorted(rising)
    assert mean(weighted.format(2)) < mean("2-sigmoid-images-gamma0.03")
    assert mean(weighted.format(3)) < mean("3-sigmoid-images-gamma0.05")
    assert mean(weighted.format(4)) < mean("4-sigmoid-images-gamma0.07")
    assert (
        mean("2-sigmoid-rho0.5-gamma0") < mean(worst.format(2)) < mean("2-sigmoid-rho0.5-gamma0.02")
    )
    lost = [1 - mean(n) / mean(n, "curvature", "mean runner-up") for n in own.trained()]
    points = [
        own.percent(n, "curvature", "certified runner-up")
        - own.percent(n, "curvature", "certified")
        for n in own.trained()
    ]
    says(
        "second_order",
        f"mean radii are {100 * min(lost):.1f} to {100 * max(lost):.1f} % smaller, and certified "
        f"accuracy is up to {max(points):.1f} points lower (at ρ = 0.5,",
    )

    def crown(name):
        return mean(name, "mean crown"), mean(name, "mean of those")

    of_deep = {standard.format(layers) for layers in (3, 4)}
    compared = [crown(name) for name in {*dense} - of_deep]
    assert len(compared) == 12
    assert all(relaxed < curvature for relaxed, curvature in compared)
    relaxed, curvature = crown(weighted.format(4))
    says(
        "second_order",
        f"With four layers and γ = 0.01, the mean radius of CROWN is {relaxed:.2f} and that of CRC "
        f"is {curvature:.2f}.",
        "On networks of three and four layers without a penalty, CROWN is far better.",
    )
    for layers in (3, 4):
        relaxed, curvature = crown(standard.format(layers))
        assert relaxed > 2 * curvature
    penalised = {2: "gamma0.03", 3: "gamma0.05", 4: "gamma0.07"}
    for names in (
        [standard.format(layers) for layers in penalised],
        [f"{layers}-sigmoid-images-{gamma}" for layers, gamma in penalised.items()],
    ):
        tight = [mean(name, "curvature", "tight") for name in names]
        assert tight == sorted(tight, reverse=True)
    of_two, of_three, of_four = (
        own.percent(name, "curvature", "tight")
        for name in ("crt-mnist", "crt-3-mnist", "crt-4-mnist")
    )
    says(
        "second_order",
        f"`crt-mnist` has {of_two:.0f} % exact ones, and those with three and four layers have "
        f"{of_three:.1f} and {of_four:.1f} %.",
        f"Of the first 1,000 certificates, {of_two:.0f} % are `exact` with `crt-mnist`, "
        f"{of_three:.1f} % with `crt-3-mnist` and {of_four:.1f} % with `crt-4-mnist`.",
    )
    convolution = "conv-tanh-rho0.5-gamma0"
    rows = own.paper.tables[-1]["rows"]
    (printed,) = [r["paper"]["certified, runner-up"] for r in rows if r["run"] == convolution]
    says(
        "second_order",
        "The convolutional network that was trained by CRT without a penalty (γ = 0) certifies "
        f"{own.percent(convolution, 'curvature', 'certified'):.0f} % here,** after "
        f"{own.epochs(convolution)} epochs, where the paper prints {printed:.0f}.",
    )
    first = [
        catalog.info(name).metrics.cost.first_seconds
        for name in ("crt-mnist", "crt-3-mnist", "crt-4-mnist", "crt-conv-mnist")
    ]
    says(
        "second_order",
        "The first image takes longer: {:.1f} seconds with `crt-mnist`, {:.1f} with `crt-3-mnist`, "
        "{:.1f} with `crt-4-mnist` and {:.1f} with `crt-conv-mnist`, on two cores.".format(*first),
    )
    at_158 = [
        100 * result.accuracy
        for name in ("crt-3-mnist", "crt-4-mnist")
        for result in catalog.info(name).metrics.certified
        if result.eps == "1.58"
    ]
    says(
        "second_order",
        "With it, the certified accuracy at 1.58 is {:.2f} % for `crt-3-mnist` and {:.2f} % for "
        "`crt-4-mnist`.".format(*at_158),
    )
    gamma = own.mean("crt-mnist", "penalty weight")
    row = own.paper.tables[0]["rows"][0]["paper"]
    says(
        "second_order",
        f"Its {row['certified, runner-up']} % ({row['clean']} % clean) at 1.58 is such a number, "
        f"with γ = {row['γ']} where `crt-mnist` has {gamma}.",
    )


def test_lipschitz_margin_training(load):
    own = load["lc-lmt"]
    lmt, local = "mnist-lmt-1", "mnist-lc-lmt-1"
    fifth = [np.mean([loss[4] for loss in own.values(run, "loss")]) for run in (local, lmt)]
    says(
        "lc_lmt",
        f"After five epochs the loss of LC-LMT is {fifth[0]:.2f}, where that of LMT is "
        f"{fifth[1]:.2f}.",
    )

    def gain(data, eps, key="test"):
        return own.percent(f"{data}-lc-lmt-{eps}", key) - own.percent(f"{data}-lmt-{eps}", key)

    seeds = {
        data: {len(own.of[run]) for run in own.trained() if run.startswith(data)}
        for data in ("mnist", "cifar10")
    }
    assert seeds == {"mnist": {3}, "cifar10": {3}}
    measured = (
        "This page repeats the measurements of its figures, and those of its table with CIFAR-10"
    )
    says("lc_lmt", f"{measured} in place of SVHN, over three seeds each.")

    # Beyond ε = 1 the networks of LMT predict one class for all images.
    budgets = ["0.2", "0.5", "1"]
    constant = ["mnist-lmt-2", "mnist-lmt-10", "mnist-lc-lmt-10"]
    for run in constant:
        assert all(r["certified"]["1.58"] == r["test"] for r in own.of[run])
    gains = [gain("mnist", eps) for eps in budgets]
    low, high = (f"{limit:.1f}".removesuffix(".0") for limit in (min(gains), max(gains)))
    says(
        "lc_lmt",
        f"On CIFAR-10, LC-LMT is better by {gain('cifar10', '0.2'):.1f} points at ε = 0.2 and by "
        f"{gain('cifar10', '1'):.0f} points at ε = 1. On MNIST it is better by {low} to "
        f"{float(high):.0f} points for ε up to 1. At ε = 2, LC-LMT reaches "
        f"{own.percent('mnist-lc-lmt-2', 'test'):.0f} %, while LMT learns to predict one class",
    )
    differences, spreads = [], []
    for eps, norm in itertools.product(budgets, (0.5, 1.0, 2.0, 3.0)):
        pair = [
            [100 * above(norms, norm) for norms in own.values(f"mnist-{v}-{eps}", "norms")]
            for v in ("lc-lmt", "lmt")
        ]
        differences.append(np.mean(pair[0]) - np.mean(pair[1]))
        spreads.append(2 * np.hypot(*(np.std(values, ddof=1) for values in pair)))
    assert min(differences) >= 0
    within = np.mean(np.array(differences) <= spreads)
    assert 0.35 < within < 0.75, within
    says(
        "lc_lmt",
        f"for ε up to 1 and every norm up to 3, by up to {max(differences):.0f} points. About half "
        "of the differences are within two standard deviations.",
    )
    margin_runs = [n for n in own.trained() if n.startswith("cifar10") and "plain" not in n]
    gaps = [own.percent(n, "train") - own.percent(n, "test") for n in margin_runs]
    plain = own.percent("cifar10-plain-0", "train") - own.percent("cifar10-plain-0", "test")
    says(
        "lc_lmt",
        f"The gap is at most {max(gaps):.1f} points on CIFAR-10, where plain training has "
        f"{plain:.0f}.",
    )
    for run in (lmt, local):
        for result in own.of[run]:
            assert first_epoch(result["margin"], result["required"]) is None
    (epochs,) = {e for run in (lmt, local) for e in own.values(run, "epochs")}
    says("lc_lmt", f"Neither variant reaches it within {epochs} epochs.")
    others = [n for n in own.trained() if n.startswith("mnist") and n != "mnist-lc-lmt-2"]

    def under_attack(run, norm):
        return np.mean([above(norms, norm) for norms in own.values(run, "norms")])

    assert all(under_attack("mnist-lc-lmt-2", 3.0) > under_attack(n, 3.0) for n in others)
    assert any(under_attack("mnist-lc-lmt-2", 2.0) < under_attack(n, 2.0) for n in others)
    lost = own.percent("mnist-lc-lmt-0.5", "test") - own.percent("mnist-lc-lmt-2", "test")
    says(
        "lc_lmt",
        "LC-LMT at ε = 2 leads at the largest norm, 3, but not at 2, and loses "
        f"{lost:.0f} points of clean accuracy against ε = 0.5. At ε = 10, without a slow increase "
        "of ε, both variants learn to predict one class",
    )
    proved = {
        budget: [
            own.percent(f"mnist-lc-lmt-{eps}", "certified", budget)
            - own.percent(f"mnist-lmt-{eps}", "certified", budget)
            for eps in budgets
        ]
        for budget in ("0.5", "1.0", "1.58")
    }
    says(
        "lc_lmt",
        f"At the budget 0.5, LC-LMT certifies up to {max(proved['0.5']):.0f} points more than LMT "
        "(at ε = 0.5 slightly less); at 1.0 about as much or less; and at 1.58 less.",
    )
    assert [eps for eps, more in zip(budgets, proved["0.5"], strict=True) if more < 0] == ["0.5"]
    assert max(proved["1.0"]) < 0.1
    assert max(proved["1.58"]) <= 0


def test_linf_distance_networks():
    """The zoo's are narrower, and the caption names the attack of the manifest."""
    rows = tables(papers.load("linf-dist"))[0]["rows"]
    ours = [row for row in rows if row["our FLOPs M"] is not None]
    printed = {row["method"]: row["FLOPs M"] for row in rows if row["FLOPs M"] is not None}
    for row in ours:
        assert row["our FLOPs M"] < printed[row["method"].partition(",")[0]] / 4
    for row in papers.load("linf-dist").tables[0]["rows"]:
        shipped = [name for name in row.get("checkpoint", ()) if name in catalog_names()]
        for name in shipped[:1]:
            tried = [r for r in catalog.info(name).metrics.attacked if r.eps == row["eps"]]
            strongest = min(tried, key=lambda result: result.accuracy)
            (shown,) = [r for r in rows if r["trained"].startswith(f"{name}:")]
            assert shown["attack"] == strongest.attack
            if strongest.attack == "auto":
                assert strongest.spares_certified
            else:
                expected = {"steps": 20, "restarts": 3, "loss": "margin"}
                assert expected.items() <= strongest.parameters.items()
    says("linf_dist", "The zoo's networks are much narrower (see the columns with FLOPs)")

    by_label = {(row["data set"], row["method"]): row for row in rows}
    wider = [row for row in ours if row["method"].endswith("twice the width")]
    assert {row["method"] for row in wider} == {"ℓ∞-dist Net+MLP, twice the width"}
    says("linf_dist", f"of which {COUNTS[len(wider)]} are trained so far, both ℓ∞-dist Net+MLP")
    for checkpoint, data_set, eps in (
        ("linf-dist-mlp-cifar10", "CIFAR-10", "8/255"),
        ("linf-dist-mlp-mnist", "MNIST", "0.3"),
    ):
        narrow = by_label[f"{data_set} ({eps})", "ℓ∞-dist Net+MLP"]
        wide = by_label[f"{data_set} ({eps})", "ℓ∞-dist Net+MLP, twice the width"]
        epochs = recipes.load(checkpoint)["training"]["epochs"]
        for row in (narrow, wide):
            assert f"seed 0, {epochs} epochs, " in row["trained"]
        times = float(wide["our FLOPs M"]) / float(narrow["our FLOPs M"])
        assert wide["our certified"] <= narrow["our certified"], "nothing is gained"
        says(
            "linf_dist",
            f"The network for {data_set} has {times:.1f} times the multiply-adds of "
            f"`{checkpoint}`; after the same {epochs} epochs it certifies "
            f"{wide['our certified']:.1f} % at {eps}, and the shipped one "
            f"{narrow['our certified']:.1f} %",
        )


def catalog_names():
    return {record.name for record in catalog.list_models()}


def test_the_choice_of_a_model():
    def certified(name, eps):
        best = catalog.info(name).metrics.best_certified()
        return next(result.accuracy for result in best if result.eps == eps)

    share = 100 * certified("linf-dist-mnist", "0.3")
    says("choose", f"`linf-dist-mnist`, which certifies {share:.1f} %.")
    for eps in ("0.3", "0.5", "0.8"):
        ahead = certified("l2nnn-digits", eps) > certified("crt-digits", eps)
        assert ahead == (eps in ("0.3", "0.5"))
    says("choose", "on the digits `l2nnn` certifies more at 0.3 and 0.5.")


def test_captions_of_lipschitz_margin_training_name_the_recipe():
    mnist, cifar10 = (recipes.load(f"tables/lc-lmt-{name}") for name in ("mnist", "cifar10"))
    figure, _, table = papers.load("lc-lmt").tables
    assert f"the first {mnist['monitor']['images']:,} test images" in figure["caption"]
    network = cifar10["model"]["network"]
    dense = COUNTS[len(network["hidden"]) + 1]
    assert f"{COUNTS[len(network['filters'])]} convolutions of stride 2" in table["caption"]
    assert f"under {dense} dense layers" in table["caption"]
    reasons = [row["reason"] for row in table["rows"] if "reason" in row]
    assert all("could not be downloaded" in reason for reason in reasons)


def test_masked_gradients(load):
    own = load["l2nnn"]

    def attacked(*names):
        return [100 * own.mean(name, "pgd") for name in names]

    def rescaled(*names):
        return [100 * own.mean(name, "pgd rescaled") for name in names]

    masked = ("convnet-w0.0-no-dbc", "convnet-w0.0-dbc", "convnet-w0.1-no-dbc")
    first, second, third = attacked(*masked)
    gaps = [own.mean(name, "gap") for name in masked]
    natural = [own.percent(name, "natural") for name in masked]
    says(
        "masked_gradients",
        f"The printed attack leaves {first:.0f}, {second:.0f} and {third:.0f} %. With rescaled "
        f"logits, the same steps leave at most {max(rescaled(*masked)):.2f} %.",
        "So the gaps grow as long as the training goes on. After twenty epochs they lie between "
        f"{min(gaps) / 1e7:.1f}·10⁷ and {max(gaps) / 1e9:.1f}·10⁹ in these three networks, and",
        "after twenty epochs the accuracy under FGSM and under the printed PGD is exactly the "
        f"natural one, {natural[0]:.2f}, {natural[1]:.2f} and {natural[2]:.2f} %.",
    )
    for name in masked:
        (twenty,) = own.of[name]
        assert twenty["epochs"] == 20
        assert twenty["natural"] == twenty["fgsm"] == twenty["pgd"]
    regularised = ["convnet-w0.1-dbc", "convnet-w0.5-no-dbc", "convnet-w0.5-dbc"]
    epochs = [result["epochs"] for name in regularised for result in own.of[name]]
    assert epochs == [20, 20, 20]
    resnets = [name for name in own.of if name.startswith("resnet")]
    assert {*masked, *regularised, *resnets} == {*own.of}
    names = [*regularised, *resnets]
    pairs = list(zip(attacked(*names), rescaled(*names), strict=True))
    assert max(abs(a - b) for a, b in pairs) < 5
    best = max(own.percent(name, "certified", "0.5") for name in regularised)
    says(
        "masked_gradients",
        f"Both attacks agree to within a few points, at {max(map(max, pairs)):.0f} % or less.",
        f"There these ConvNets do have a proof: up to {best:.0f} % at 0.5.",
    )
    divided = ("convnet-w0.1-dbc", "convnet-w0.5-dbc")
    ours = [f"{value:.1f}" for value in attacked(*divided)]
    rows = [row for table in own.paper.tables for row in table["rows"]]
    theirs = [
        f"{row['paper']['PGD']:.1f}" for name in divided for row in rows if row["run"] == name
    ]
    says(
        "masked_gradients",
        "With the regulariser and the division, PGD as printed leaves "
        f"{' and '.join(ours)} %, where the poster prints {' and '.join(theirs)}.",
    )
    assert {own.percent(name, "certified", "0.5") for name in resnets} == {0}
    tight = ("resnet-w0.1-dbc", "resnet-w0.5-dbc")
    loose = min(own.mean(name, "lipschitz") for name in resnets if name not in tight)
    largest = max(own.mean(name, "lipschitz") for name in tight)
    says(
        "masked_gradients",
        f"Without division, or without the regulariser, their Lipschitz constants are {loose:.0f} "
        f"and more. With both they are at most {largest:.2f}, as they should be, but",
        f"are at most {max(own.mean(name, 'gap') for name in tight):.2f} on average.",
    )
    rows = [row for table in own.paper.tables for row in table["rows"]]
    printed = {row["run"]: row["paper"]["PGD"] for row in rows}
    clean = {
        row["run"]: row["paper"]["natural"] for row in rows if row["run"].startswith("convnet")
    }
    tamed = [value for name, value in clean.items() if name in regularised and "-no-" not in name]
    loose = [value for value in clean.values() if value not in tamed]
    says(
        "masked_gradients",
        f"The poster prints {min(loose):.0f} to {max(loose):.0f} % for these kinds of networks, "
        f"and {min(tamed):.0f} to {max(tamed):.0f} % for those with the regulariser and the "
        "division.",
    )
    heavy = "convnet-w0.5-no-dbc"
    (twenty,) = own.of[heavy]
    assert "train_scale" in twenty["recipe"]["model"]
    says(
        "masked_gradients",
        f"the mean gap of `{heavy}` is {own.mean(heavy, 'gap'):.0f}, and its natural accuracy is "
        f"{own.percent(heavy, 'natural'):.2f} %, where the poster prints {clean[heavy]:.2f}.",
    )
    for name in ("convnet-w0.0-no-dbc", "convnet-w0.0-dbc"):
        (older,) = own.of[name]
        assert older["recipe"]["model"].get("train_scale", True)
    assert recipes.load("tables/l2nnn-convnet")["model"]["train_scale"] is False
    strong = [name for name in printed if printed[name] >= 50]
    limits = [printed[name] for name in strong]
    says(
        "masked_gradients",
        f"The rows for which the poster prints {round(min(limits))} to {round(max(limits))} % keep "
        f"at most {max(rescaled(*strong)):.1f} % here under the rescaled attack.",
    )
    scale = recipes.load("tables/l2nnn-resnet")["model"]["scale"]
    says("masked_gradients", f"with scales of {scale:.0f}")
