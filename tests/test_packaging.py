"""The wheel holds what a user needs."""

import json
import os
import pathlib
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile

import pytest

import zoo
from zoo.evaluation.leaderboard.page import page

pytestmark = pytest.mark.integration

ROOT = pathlib.Path(zoo.__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("build")
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT],
        check=True,
        capture_output=True,
    )
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def unpacked(wheel):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(wheel.parent / "site")
    return wheel.parent / "site"


@pytest.fixture(scope="module")
def installed(wheel):
    """A fresh environment with the wheel; its dependencies are those of this environment."""
    folder = wheel.parent / "environment"
    venv.create(folder, with_pip=False)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index"]
    subprocess.run([*install, "--no-deps", wheel], check=True)
    found = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    )
    site = pathlib.Path(found.stdout.strip())
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder, python


def run_installed(installed, folder, *arguments):
    """Run the environment's Python in an empty folder, without network; returns what it prints."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    run = subprocess.run(
        [installed[1], *arguments],
        env={**environment, "HF_HUB_OFFLINE": "1", "TF_CPP_MIN_LOG_LEVEL": "3"},
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_every_listed_model_loads_from_an_installed_wheel(installed, tmp_path):
    listed = json.loads(run_installed(installed, tmp_path, "-m", "zoo", "list", "--json"))
    found = json.loads(run_installed(installed, tmp_path, "-m", "zoo", "verify", "--json"))
    names = [record["name"] for record in listed]
    assert found == {"verified": names, "missing": {}, "damaged": {}}
    assert run_installed(installed, tmp_path, "-c", "import zoo; print(zoo.__file__)").startswith(
        str(installed[0])
    )


@pytest.mark.slow
def test_every_listed_model_certifies_from_an_installed_wheel(installed, tmp_path):
    program = """
import numpy as np, zoo
for record in zoo.list_models(available=True):
    model = zoo.load(record.name)
    print(record.name, len(model.certify(np.full((1, *model.image_shape), 0.5))))
"""
    lines = run_installed(installed, tmp_path, "-c", program).splitlines()
    assert lines == [f"{record.name} 1" for record in zoo.list_models()]


def test_the_wheel_is_small_enough_for_the_index(wheel):
    assert wheel.stat().st_size <= 95e6


def test_the_wheel_writes_the_leaderboard(unpacked, tmp_path):
    subprocess.run(
        [sys.executable, "-m", "zoo", "leaderboard", "--out", "site"],
        env={**os.environ, "PYTHONPATH": str(unpacked)},
        cwd=tmp_path,
        check=True,
    )
    written = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert written == page(zoo.list_models())


def test_the_wheel_has_the_schema_and_no_other_package(unpacked):
    assert (unpacked / "zoo" / "weights_manifest.schema.json").is_file()
    assert (unpacked / "zoo" / "py.typed").is_file()
    assert [path.name for path in unpacked.iterdir() if "dist-info" not in path.name] == ["zoo"]


def test_the_index_shows_readme_without_relative_links(unpacked):
    (metadata,) = unpacked.glob("*.dist-info/METADATA")
    text = metadata.read_text(encoding="utf-8").partition("\n\n")[2]
    assert text.startswith("# certified-zoo")
    targets = re.findall(r"\]\(([^)\s]+)", text) + re.findall(r'(?:src|href)="([^"]*)"', text)
    assert [target for target in targets if not target.startswith(("https://", "#"))] == []
    # Each address within the repository belongs to a file that is there.
    for path in re.findall(r"certified-zoo/(?:blob/)?main/([^)\s\"#]+)", text):
        assert (ROOT / path).exists(), path
