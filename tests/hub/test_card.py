"""The model cards, as the Hub reads them."""

import dataclasses
import re

import numpy as np
import pytest
from huggingface_hub import ModelCard
from PIL import Image

import zoo
from tests.evaluation.leaderboard.records import changed
from zoo.hub import catalog
from zoo.hub.card import card, write_card
from zoo.papers import paper_of

ROOT = catalog.WEIGHTS.parent
RECORDS = [pytest.param(record, id=record.name) for record in catalog.list_models()]


@pytest.mark.parametrize("record", RECORDS)
def test_the_hub_reads_every_number(record):
    data = ModelCard.load(catalog.WEIGHTS / record.name / "README.md").data
    assert (data.library_name, data.pipeline_tag) == ("keras", "image-classification")
    assert data.license == record.license
    assert data.model_name == record.name
    assert data.metrics == ["accuracy"]
    # The form of the identifiers of data sets that the Hub accepts.
    for name in [*(data.datasets or []), *(r.dataset_type for r in data.eval_results)]:
        assert re.fullmatch(r"(?:[\w-]+/)?[\w.-]+", name)
    shown = {result.metric_name: result.metric_value for result in data.eval_results}
    assert len(shown) == len(data.eval_results)
    method = record.metrics.certified[0].method
    expected = {"clean accuracy": record.metrics.clean}
    expected |= {
        f"certified accuracy, {e.norm} eps {e.eps}": e.accuracy
        for e in record.metrics.certified
        if e.method == method
    }
    expected |= {
        f"accuracy under {e.attack}, {e.norm} eps {e.eps}": e.accuracy
        for e in record.metrics.attacked
    }
    assert shown == expected
    assert all(result.dataset_split == "test" for result in data.eval_results)


@pytest.mark.parametrize("record", RECORDS)
def test_what_a_reader_needs_is_there(record):
    text = card(record)
    command = r"^(?:KERAS_BACKEND=(\w+) )?python -m training (\S+) (--\w+)"
    commands = re.findall(command, text, re.M)
    assert [option for *_, option in commands] == ["--measure", "--certify", "--attacks"]
    # Another backend trains other weights, but measures the same.
    assert (commands[0][0] or "tensorflow") == record.training.backend
    for _, recipe, _ in commands:
        assert (ROOT / "training" / "recipes" / f"{recipe}.toml").is_file()
    paper = paper_of(record.paper)
    assert paper is not None
    assert f"```bibtex\n{paper.bibtex}\n```" in text
    assert f"[paper]({paper.address})" in text
    for title in ("Results", "Intended use and limits", "Reproduce", "Licence and citation"):
        assert f"\n## {title}\n" in text
    assert f'zoo.load("{record.name}")' in text
    for address in re.findall(r"\]\((.+?)\)", text):
        if not address.startswith("https://"):
            assert (catalog.WEIGHTS / record.name / address).is_file()


@pytest.mark.parametrize("record", RECORDS)
def test_the_picture_of_a_stored_curve_is_small(record):
    picture = catalog.WEIGHTS / record.name / "curve.png"
    assert picture.is_file() == (record.curve is not None)
    assert ("(curve.png)" in card(record)) == (record.curve is not None)
    if picture.is_file():
        assert picture.stat().st_size <= 40_000
        with Image.open(picture) as image:
            assert image.format == "PNG"
            assert 500 < image.width < 1000
            assert len(image.convert("RGB").getcolors(10_000)) > 10, "something is drawn"


def test_the_classes_are_those_of_the_curve():
    record = zoo.info("linf-dist-digits")
    counts = record.curve.by_class
    rows = re.findall(r"^\| (\d) \| (\d+) \| ([\d.]+)% \| ([\d.]+)% \|$", card(record), re.M)
    assert len(rows) == 10
    for name, n, clean, certified in rows:
        place = int(name)
        assert int(n) == counts.n[place]
        assert float(clean) == pytest.approx(100 * counts.clean[place] / counts.n[place], abs=0.05)
        share = 100 * counts.certified[place] / counts.n[place]
        assert float(certified) == pytest.approx(share, abs=0.05)
    assert f"certified, eps {counts.eps} |" in card(record)
    mean = re.search(
        r"^\| mean of the classes.* \| 500 \| ([\d.]+)% \| ([\d.]+)% \|$", card(record), re.M
    )
    assert mean is not None
    for shown, numbers in zip(mean.groups(), (counts.clean, counts.certified), strict=True):
        share = 100 * np.mean(np.array(numbers) / counts.n)
        assert float(shown) == pytest.approx(share, abs=0.05)


def test_two_classes_have_sensitivity_and_specificity():
    record = zoo.info("crt-pneumonia-mnist")
    counts, text = record.curve.by_class, card(record)
    assert "accuracy on the images of pneumonia is the sensitivity" in text
    assert "on the images of normal is the specificity" in text
    assert f"| pneumonia | 390 | {counts.clean[1] / 390:.1%} |" in text
    balanced = (counts.clean[0] / 234 + counts.clean[1] / 390) / 2
    assert f"(balanced accuracy) | 624 | {balanced:.1%} |" in text
    assert "sensitivity" not in card(zoo.info("crt-digits"))


def test_a_card_without_a_curve_shows_none_and_removes_the_old_picture(tmp_path):
    record = zoo.info("linf-dist-digits")
    (tmp_path / "curve.png").write_bytes(b"of other weights")
    write_card(record, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert text == card(record, tmp_path)
    assert "curve.png" not in text
    assert "By class" not in text


def test_a_budget_without_an_attack_is_shown_without_one():
    record = zoo.info("linf-dist-digits")
    first, *others = record.metrics.certified
    attacked = [r for r in record.metrics.attacked if r.eps != first.eps]
    metrics = dataclasses.replace(record.metrics, attacked=attacked)
    (row,) = (
        line
        for line in card(dataclasses.replace(record, metrics=metrics)).splitlines()
        if line.startswith(f"| {first.eps} |")
    )
    assert row.startswith(f"| {first.eps} | – |")
    assert f"{first.accuracy:.2%}" in row


def test_a_run_with_a_time_limit_is_reproduced_with_it():
    assert "--measure --minutes 7.5\n" in card(changed(training={"minutes": 7.5}))
    assert "--minutes" not in card(changed())
