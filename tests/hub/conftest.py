"""Fixtures for tests that publish."""

import shutil

import pytest

import zoo.hub.audit
from tests.hub.server import HubServer
from zoo.hub import catalog


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
    """The audit's measurement in this process, which is quicker."""
    monkeypatch.setattr(zoo.hub.audit, "_in_a_fresh_process", zoo.hub.audit.measure)
