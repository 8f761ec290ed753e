"""Tables in every form."""

import csv
import io
import sys

import numpy as np
import pytest

from zoo.utils.table import Column, Table, floor_text, percent

TABLE = Table(
    [
        Column("name_1", ["a & b", "<c>"], left=True),
        Column("radius", np.array([0.1, 0.2], "float32"), floor_text),
        Column("share", [0.5, None], percent),
    ]
)


def test_text_is_aligned():
    assert str(TABLE).splitlines() == [
        "name_1    radius   share",
        "a & b   0.100000  50.00%",
        "<c>     0.200000       -",
    ]
    assert TABLE.width == 24
    assert len(TABLE.head(1)) == 1


def test_csv_has_every_digit():
    header, first, second = csv.reader(io.StringIO(TABLE.to_csv()))
    assert header == ["name_1", "radius", "share"]
    assert np.float64(first[1]) == np.float64(np.float32(0.1))
    assert second == ["<c>", str(float(np.float32(0.2))), ""]


def test_html_and_latex_are_escaped():
    page = TABLE.to_html()
    assert "&lt;c&gt;" in page
    assert "a &amp; b" in page
    latex = TABLE.to_latex()
    assert r"name\_1 & radius & share \\" in latex
    assert r"a \& b & 0.100000 & 50.00\% \\" in latex
    assert r"\begin{tabular}{lrr}" in latex


def test_a_frame_has_numbers():
    pandas = pytest.importorskip("pandas")
    frame = TABLE.to_frame()
    assert isinstance(frame, pandas.DataFrame)
    assert frame["radius"].iloc[0] == float(np.float32(0.1))
    assert np.isnan(frame["share"].iloc[1])


def test_without_pandas_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="pip install pandas"):
        TABLE.to_frame()


@pytest.mark.parametrize("value", [0.1, 0.3, 1e-9, 0.9999999, 5e-7, 3.0, 0.0])
def test_a_bound_never_grows_in_print(value):
    assert float(floor_text(value)) <= value < float(floor_text(value)) + 1.1e-6
