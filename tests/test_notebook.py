"""The notebooks of the examples run in kernels of their own, and show what they should."""

import pathlib
import re

import pytest

import zoo
from tests.backend import BACKEND

pytestmark = pytest.mark.integration

EXAMPLES = pathlib.Path(zoo.__file__).parent.parent / "examples"


def outputs_of(name, folder):
    """The cells' outputs by the last line of the cell, as dictionaries of type to content."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(EXAMPLES / f"{name}.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "stored outputs become outdated"
    NotebookClient(notebook, timeout=280, resources={"metadata": {"path": folder}}).execute()
    return {
        cell.source.splitlines()[-1]: cell.outputs
        for cell in notebook.cells
        if cell.cell_type == "code"
    }


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    return outputs_of("certify", tmp_path_factory.mktemp("notebook"))


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


def printed(outputs):
    return "".join(o["text"] for cell in outputs.values() for o in cell if "text" in o)


@pytest.mark.skipif(BACKEND == "jax", reason="the program is exported by TensorFlow")
def test_road_signs_go_from_a_folder_to_onnx(tmp_path):
    pytest.importorskip("onnxruntime")
    found = outputs_of("road_signs", tmp_path)
    assert len(list(tmp_path.glob("signs/train/*/*.png"))) == 240
    for line in ("test", "certificate", "classes", "classes.confusions(0.25).head(5)"):
        assert shown(found[line], "text/html"), line
    for line in ("ax = classes.plot()", "ax = classes.plot_confusion(0.25)"):
        assert len(shown(found[line], "image/png")) == 1
    text = printed(found)
    assert "of the stop signs never become a speed limit" in text
    for own, within in re.findall(r"certified sign (\d+)%, certified group (\d+)%", text):
        assert int(own) <= int(within)
    medians = re.search(r"median radius ([\d.]+), of the model ([\d.]+)", text)
    assert medians
    assert 0 < float(medians[1]) <= float(medians[2])
    assert (tmp_path / "signs.onnx").is_file()


def test_the_triage_of_xrays_answers_where_it_is_certain(tmp_path):
    found = outputs_of("xray_triage", tmp_path)
    assert shown(found["report"], "text/html")
    (table,) = shown(found["report.by_class(CLASSES).balanced()"], "text/html")
    assert "sensitivity" in table
    assert len(shown(found["ax = certificate.plot_coverage(y_test)"], "image/png")) == 1
    assert "and none of those that were given" in printed(found)
