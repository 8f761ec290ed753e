"""Fetching checkpoints with the real Hub client against a server on the loopback."""

import hashlib
import json
import os
import pathlib
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from huggingface_hub import constants

import zoo
from zoo import cli
from zoo.hub import catalog, download
from zoo.hub.outline import is_here

pytestmark = pytest.mark.integration

REPO = "zoo-tests/small-net"
WEIGHTS = "model.weights.h5"


@pytest.fixture
def folder(small_model, tmp_path):
    zoo.save(small_model, tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


@pytest.fixture
def published(server, folder, monkeypatch, tmp_path):
    """A checkpoint on the server, known to the catalog as ``small-net``."""
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    commit = server.add(REPO, files)
    entry = {
        **zoo.info("linf-dist-digits").to_dict(),
        "name": "small-net",
        "files": [
            {"path": name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in sorted(files.items())
        ],
        "hub": {"repo_id": REPO, "revision": commit},
    }
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps({"models": [entry]}))
    monkeypatch.setattr(catalog, "MANIFEST", manifest)
    monkeypatch.setattr(catalog, "WEIGHTS", tmp_path / "no-weights")
    return commit


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def open_to_all(tmp_path):
    """Other users may read the folder of this test for as long as it runs."""
    modes = {path: path.stat().st_mode for path in [tmp_path, *tmp_path.parents][:4]}
    for path, mode in modes.items():
        path.chmod(mode | 0o055)
    yield
    for path, mode in modes.items():
        path.chmod(mode)


def assert_same(model, other):
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def assert_nothing_wrong_is_cached(cache, server):
    """Whatever lies in the cache under a published name is the published file."""
    true = {name: content for (_, _, name), content in server.files.items()}
    for path in cache.rglob("snapshots/*/*"):
        assert path.read_bytes() == true[path.name], f"{path} is wrong"


def test_pinned_revision_then_cache_without_network(published, server, cache, small_model):
    newer = server.add(REPO, {"config.json": b"{}", WEIGHTS: b"something else"})
    assert newer != published
    model = zoo.load("small-net", cache_dir=cache)
    assert_same(model, small_model)
    assert server.bodies_sent()
    assert all(published in path for path in server.bodies_sent())
    server.close()
    assert_same(zoo.load("small-net", cache_dir=cache), small_model)
    assert_same(zoo.load("small-net", cache_dir=cache, local_files_only=True), small_model)


def test_local_files_only_without_a_copy(published, server, cache):
    with pytest.raises(zoo.DownloadError, match=r"small-net/.* not in the cache .* switched off"):
        zoo.load("small-net", cache_dir=cache, local_files_only=True)
    assert not server.requests


def test_hub_names(published, server, cache, small_model):
    assert_same(zoo.load(f"hf://{REPO}", cache_dir=cache), small_model)
    assert_same(zoo.load(f"hf://{REPO}@{published}", cache_dir=cache), small_model)
    with pytest.raises(zoo.DownloadError, match="no such revision"):
        zoo.load(f"hf://{REPO}@0123", cache_dir=cache)
    with pytest.raises(zoo.DownloadError, match="no such repository"):
        zoo.load("hf://zoo-tests/missing", cache_dir=cache)
    with pytest.raises(ValueError, match="hf://org/repo"):
        zoo.load("hf://just-a-name", cache_dir=cache)


def test_the_command_downloads_a_revision_to_a_folder(published, cache, capsys):
    command = ["download", f"hf://{REPO}", "--revision", published, "--cache-dir", str(cache)]
    assert cli.main([*command, "--json"]) == 0
    folder = pathlib.Path(json.loads(capsys.readouterr().out)["folder"])
    assert folder.is_relative_to(cache)
    assert folder.name == published
    assert (folder / WEIGHTS).is_file()


def test_cut_connection_is_resumed(published, server, cache, small_model, monkeypatch):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1024)  # smaller than the file
    server.faults[WEIGHTS] = "cut once"
    assert_same(zoo.load("small-net", cache_dir=cache), small_model)
    resumed = [r for method, path, r in server.requests if method == "GET" and WEIGHTS in path]
    assert resumed[0] is None
    assert resumed[1].startswith("bytes=")
    assert resumed[1] != "bytes=0-"


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        ("html", (zoo.IntegrityError, zoo.DownloadError), WEIGHTS),
        ("truncated", zoo.DownloadError, WEIGHTS),
        ("flipped", zoo.IntegrityError, "sha256"),
        ("cut", zoo.DownloadError, WEIGHTS),
        (404, zoo.DownloadError, WEIGHTS),
        ("gated", zoo.DownloadError, "request access on its page"),
        (500, zoo.DownloadError, WEIGHTS),
    ],
)
def test_faults_end_in_one_error_and_the_next_call_works(
    published, server, cache, small_model, fault, error, message, monkeypatch
):
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the client waits between retries
    server.faults[WEIGHTS] = fault
    with pytest.raises(error, match=message) as caught:
        zoo.load("small-net", cache_dir=cache)
    assert "\n" not in str(caught.value)
    assert_nothing_wrong_is_cached(cache, server)
    server.faults.clear()
    assert_same(zoo.load("small-net", cache_dir=cache), small_model)


@pytest.mark.parametrize("fault", ["html", "flipped"])
def test_hub_names_are_verified_too(published, server, cache, small_model, fault):
    server.faults[WEIGHTS] = fault
    with pytest.raises((zoo.IntegrityError, zoo.DownloadError), match=WEIGHTS):
        zoo.load(f"hf://{REPO}", cache_dir=cache)
    server.faults.clear()
    assert_same(zoo.load(f"hf://{REPO}", cache_dir=cache), small_model)


def test_a_cached_file_that_rots_is_replaced(published, server, cache, small_model):
    zoo.load("small-net", cache_dir=cache)
    (blob,) = [path.resolve() for path in cache.rglob(f"snapshots/*/{WEIGHTS}")]
    content = bytearray(blob.read_bytes())
    content[100] ^= 1
    blob.write_bytes(content)
    with pytest.raises(zoo.IntegrityError, match=r"expected .* found"):
        zoo.load("small-net", cache_dir=cache)
    assert_same(zoo.load("small-net", cache_dir=cache), small_model)


@pytest.fixture
def shared_blob(published, cache):
    """The weights of a cached repository as the client keeps those that repositories share."""
    zoo.load(f"hf://{REPO}", cache_dir=cache)
    (blob,) = [path.resolve() for path in cache.rglob(f"snapshots/*/{WEIGHTS}")]
    name = "ab" * 32  # another hash than sha256, of the same length
    shared = cache / "blobs" / name[:2] / name
    shared.parent.mkdir(parents=True)
    blob.rename(shared)
    blob.symlink_to(os.path.relpath(shared, blob.parent))
    return shared


def test_a_blob_that_repositories_share(shared_blob, cache, small_model):
    assert_same(zoo.load(f"hf://{REPO}", cache_dir=cache), small_model)
    assert shared_blob.is_file()


def test_a_shared_blob_that_rots_is_replaced(shared_blob, cache, small_model):
    content = bytearray(shared_blob.read_bytes())
    sha256 = hashlib.sha256(content).hexdigest()
    content[100] ^= 1
    shared_blob.write_bytes(content)
    with pytest.raises(zoo.IntegrityError, match=f"expected .*{sha256}; found"):
        zoo.load(f"hf://{REPO}", cache_dir=cache)
    assert_same(zoo.load(f"hf://{REPO}", cache_dir=cache), small_model)


def test_cache_folder_that_cannot_be_written(published, tmp_path):
    occupied = tmp_path / "a-file"
    occupied.write_text("not a folder")
    with pytest.raises(zoo.DownloadError, match="could not be fetched"):
        zoo.load("small-net", cache_dir=occupied)


_CHILD = textwrap.dedent("""
    import resource, signal, sys
    import pathlib
    from huggingface_hub import constants, errors, hf_hub_download
    from zoo.hub import catalog
    from zoo.hub import download
    manifest, cache, limit, user = sys.argv[1:]
    catalog.MANIFEST = pathlib.Path(manifest)
    catalog.WEIGHTS = pathlib.Path(manifest).parent / "no-weights"
    if int(user):
        import os
        os.setgroups([])
        os.setuid(int(user))
    if int(limit):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    try:
        print(download.fetch("small-net", cache_dir=cache))
    except download.DownloadError as error:
        print("DownloadError:", error)
""")


def start_child(cache, limit=0, user=0):
    return subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(catalog.MANIFEST), str(cache), str(limit), str(user)],
        env={**os.environ, "HF_ENDPOINT": constants.ENDPOINT},
        cwd=pathlib.Path(zoo.__file__).parent.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_full_disk(published, server, cache, small_model):
    """A limit on file sizes fails a write half-way, as a full disk does."""
    out, err = start_child(cache, limit=2000).communicate(timeout=120)
    assert out.startswith("DownloadError:"), out + err
    assert WEIGHTS in out
    assert_nothing_wrong_is_cached(cache, server)
    assert_same(zoo.load("small-net", cache_dir=cache), small_model)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become a user without write access")
def test_read_only_cache(published, server, cache, open_to_all):
    cache.mkdir(mode=0o555)
    out, err = start_child(cache, user=65534).communicate(timeout=120)
    assert out.startswith("DownloadError:"), out + err
    assert not list(cache.rglob("*"))


def test_two_processes_at_once(published, server, cache, small_model):
    server.faults[WEIGHTS] = "slow"
    children = [start_child(cache), start_child(cache)]
    outputs = [child.communicate(timeout=120) for child in children]
    folders = {out.strip() for out, _ in outputs}
    assert len(folders) == 1, outputs
    assert_nothing_wrong_is_cached(cache, server)
    assert_same(zoo.load("small-net", cache_dir=cache, local_files_only=True), small_model)


def test_unpublished_model_says_how_to_make_it(published, monkeypatch):
    models = json.loads(catalog.MANIFEST.read_text())
    models["models"][0]["hub"] = None
    catalog.MANIFEST.write_text(json.dumps(models))
    with pytest.raises(zoo.DownloadError, match="python -m training small-net"):
        zoo.load("small-net")


def test_shipped_weights_are_verified(published, folder, monkeypatch, tmp_path, small_model):
    shipped = tmp_path / "weights"
    (shipped / "small-net").mkdir(parents=True)
    for path in folder.iterdir():
        (shipped / "small-net" / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(catalog, "WEIGHTS", shipped)
    assert_same(zoo.load("small-net"), small_model)
    config = shipped / "small-net" / "config.json"
    config.write_text(config.read_text() + " ")
    with pytest.raises(zoo.IntegrityError, match=r"config\.json is not the published file"):
        zoo.load("small-net")
    assert download.fetch("small-net", verify=False) == shipped / "small-net"


def test_a_checkpoint_is_described_by_every_name_that_loads_it(
    published, folder, cache, monkeypatch
):
    expected = zoo.hub.describe(f"hf://{REPO}", cache_dir=cache)
    address = f"https://huggingface.co/{REPO}"
    assert zoo.hub.describe(address, cache_dir=cache) == expected
    monkeypatch.setenv("HOME", str(folder.parent))
    assert zoo.hub.describe(f"~/{folder.name}").kind == expected.kind
    assert not is_here(address)
    assert is_here(f"~/{folder.name}")


def test_a_description_has_no_commands_for_a_terminal(folder):
    (folder / "README.md").write_text('---\nlicense: "mit\\e]0;owned\\a"\n---\n', encoding="utf-8")
    description = zoo.hub.describe(folder)
    assert description.license == "mit\x1b]0;owned\x07"
    assert str(description).splitlines()[-2].endswith("licence: mit?]0;owned?")
