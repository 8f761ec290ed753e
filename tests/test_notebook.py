"""The notebook of the examples runs in a kernel of its own, and shows what it should."""

import pathlib

import pytest

import zoo

NOTEBOOK = pathlib.Path(zoo.__file__).parent.parent / "examples" / "certify.ipynb"


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """The cells' outputs by the last line of the cell, as dictionaries of type to content."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "stored outputs become outdated"
    folder = tmp_path_factory.mktemp("notebook")
    NotebookClient(notebook, timeout=280, resources={"metadata": {"path": folder}}).execute()
    return {
        cell.source.splitlines()[-1]: cell.outputs
        for cell in notebook.cells
        if cell.cell_type == "code"
    }


def shown(outputs, kind):
    return [output.data[kind] for output in outputs if kind in output.get("data", {})]


def test_nothing_is_shown_as_pages_of_numbers(outputs):
    for line in ("test", "certificate", "report", "comparison", 'zoo.info("linf-dist-digits")'):
        assert shown(outputs[line], "text/html"), line
    (sheet,) = shown(outputs["test"], "text/html")
    assert sheet.count("data:image/png;base64,") == 40
    assert "60 more images" in sheet
    for cell in outputs.values():
        for text in shown(cell, "text/plain"):
            assert len(text) < 3000


def test_plots_are_shown_in_the_cell(outputs):
    plots = [cell for line, cell in outputs.items() if line.startswith("ax = ")]
    assert len(plots) == 3
    for cell in plots:
        assert len(shown(cell, "image/png")) == 1


def test_progress_needs_no_widgets(outputs):
    bars = [
        html for html in shown(outputs["certificate"], "text/html") if html.startswith("<progress")
    ]
    assert len(bars) == 1
    assert "certifying 1/1" in bars[0]
    texts = [str(output) for cell in outputs.values() for output in cell]
    assert not any("ipywidgets" in text for text in texts)


def test_a_frame_is_a_table(outputs):
    (html,) = shown(outputs["report.to_frame()"], "text/html")
    assert "<th>certified</th>" in html
