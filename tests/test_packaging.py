"""The wheel holds what a user needs."""

import os
import pathlib
import subprocess
import sys
import zipfile

import pytest

import zoo
from zoo.evaluation.leaderboard.page import page

ROOT = pathlib.Path(zoo.__file__).parent.parent


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    pytest.importorskip("build")
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT],
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_loads_every_embedded_model(unpacked, tmp_path):
    """All checkpoints of the set that ships with scikit-learn: they need no download."""
    program = """
import zoo
names = [record.name for record in zoo.list_models(dataset="digits")]
print(zoo.__file__, *[zoo.load(name, local_files_only=True).name for name in names])
"""
    run = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(unpacked)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.startswith(str(unpacked))


def test_the_wheel_writes_the_leaderboard(unpacked, tmp_path):
    subprocess.run(
        [sys.executable, "-m", "zoo.cli", "leaderboard", "--out", "site"],
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
    assert sum(f.stat().st_size for f in unpacked.rglob("*") if f.is_file()) < 5e6
