"""Fixtures for tests that publish."""

import hashlib
import json
import pathlib
import shutil

import pytest

import zoo.hub.audit
from tests.hub.server import HubServer
from zoo.hub import catalog
from zoo.hub.checkpoint import CONFIG, WEIGHTS


@pytest.fixture
def own_catalog(tmp_path, monkeypatch):
    """A manifest that may be written, and a home without the user's token."""
    from huggingface_hub import constants

    manifest = tmp_path / "manifest.json"
    shutil.copy(catalog.MANIFEST, manifest)
    monkeypatch.setattr(catalog, "MANIFEST", manifest)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    return manifest


@pytest.fixture
def token(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", HubServer.token)


@pytest.fixture
def here(monkeypatch):
    """The audit's measurement in this process, and once for equal files and requests."""
    monkeypatch.setattr(zoo.hub.audit, "_in_a_fresh_process", _measured)


_MEASURED = {}


def _measured(request):
    folder = pathlib.Path(request["folder"])
    data = pathlib.Path(request["data"] or "")
    files = [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in (CONFIG, WEIGHTS)]
    files += [hashlib.sha256(data.read_bytes()).hexdigest()] if data.is_file() else []
    key = json.dumps([files, {**request, "folder": None}])
    if key not in _MEASURED:
        _MEASURED[key] = json.dumps(zoo.hub.audit.measure(request))
    return json.loads(_MEASURED[key])
