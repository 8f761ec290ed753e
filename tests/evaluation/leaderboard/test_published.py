"""Results that papers print."""

import zoo
from zoo.epsilon import Epsilon
from zoo.evaluation.leaderboard.models_page import models_page
from zoo.evaluation.leaderboard.published import published


def test_each_is_of_a_data_set_of_the_zoo_and_can_be_looked_up():
    assert published()
    for result in published():
        assert result.dataset in zoo.data.DATASETS
        assert result.norm in ("linf", "l2")
        assert float(Epsilon(result.eps)) > 0
        assert 0 < result.certified <= (100 if result.clean is None else result.clean)
        assert result.source[-4:].isdigit()  # the year


def test_those_of_a_data_set_and_a_norm():
    found = published("cifar10", "linf")
    assert {(result.dataset, result.norm) for result in found} == {("cifar10", "linf")}
    assert [r.certified for r in found] == sorted((r.certified for r in found), reverse=True)


def test_the_page_of_models_shows_them_with_what_has_to_be_known():
    page = models_page(zoo.list_models(dataset="mnist", norm="l2")).replace("\u00a0", " ")
    for result in published("mnist", "l2"):
        assert f"| {result.name} |" in page
        assert result.source in page
        assert result.caveat in page
    assert "8/255" not in page


def test_a_source_in_a_few_words():
    short = {result.source: result.short_source for result in published()}
    assert {text for source, text in short.items() if source.startswith("Singla")} == {
        "Singla and Feizi, ICML 2020"
    }
    assert {text for source, text in short.items() if source.startswith("Li, Haque")} == {
        "Li et al., NeurIPS 2019"
    }
