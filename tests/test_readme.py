"""README's table of our and of published numbers agrees with the records and the results."""

import pathlib
import re

import pytest

import zoo
from zoo.epsilon import Epsilon
from zoo.evaluation.leaderboard.published import published

README = pathlib.Path(zoo.__file__).parent.parent / "README.md"
DATASETS = {
    "MNIST": "mnist",
    "Fashion-MNIST": "fashion-mnist",
    "CIFAR-10": "cifar10",
    "GTSRB road signs": "gtsrb",
    "PneumoniaMNIST X-rays": "pneumonia-mnist",
}
NORMS = {"L2": "l2", "ℓ∞": "linf"}


def rows():
    """The rows of the table, each a list of its cells without emphasis."""
    text = README.read_text(encoding="utf-8")
    table = text[text.index("| images, perturbation |") :].split("\n\n")[0]
    lines = table.splitlines()[2:]
    return [[re.sub("[*`]", "", cell).strip() for cell in line.split("|")[1:-1]] for line in lines]


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_a_row_agrees(row):
    threat, name, clean, certified, other, other_clean, other_certified = row
    dataset, norm, eps = re.fullmatch("(.*), (.*) (.*)", threat).groups()
    record = zoo.info(name)
    assert (record.dataset, record.norm) == (DATASETS[dataset], NORMS[norm])
    assert clean == f"{100 * record.metrics.clean:.1f}"
    best = max(
        entry.accuracy for entry in record.metrics.certified if Epsilon(entry.eps) == Epsilon(eps)
    )
    assert certified == f"{100 * best:.1f}"
    results = [
        result
        for result in published(DATASETS[dataset], NORMS[norm])
        if Epsilon(result.eps) == Epsilon(eps)
    ]
    if other == "none known to us":
        assert (results, other_clean, other_certified) == ([], "", "")
        return
    what, source = re.fullmatch(r"(.*) \((.*)\)", other).groups()
    (result,) = (result for result in results if result.name == what)
    assert result.source.startswith(source.split(",")[0].removesuffix(" et al."))
    assert result.source.endswith(source.split(", ")[-1])
    assert other_clean == ("" if result.clean is None else f"{result.clean:.1f}")
    assert other_certified == f"{result.certified:.1f}"


def test_the_better_certified_accuracy_is_bold():
    text = README.read_text(encoding="utf-8")
    for row in rows():
        (line,) = (line for line in text.splitlines() if line.startswith(f"| {row[0]} |"))
        assert re.findall(r"\*\*(.*?)\*\*", line) == [max(row[3], row[6] or "0", key=float)]
