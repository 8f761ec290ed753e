"""All checkpoints of a catalog, published by one command that goes on after an interruption."""

import json

import pytest

import zoo
from zoo import cli
from zoo.hub import audit, catalog, publishing

pytestmark = pytest.mark.integration

NAMES = ["crt-digits", "lc-lmt-digits", "linf-dist-digits"]
COMMAND = ["publish", "--all", "--to", "someone", "--sample", "10", "--quiet"]


@pytest.fixture(autouse=True)
def small_catalog(own_catalog):
    manifest = json.loads(own_catalog.read_text(encoding="utf-8"))
    manifest["models"] = [model for model in manifest["models"] if model["name"] in NAMES]
    own_catalog.write_text(json.dumps(manifest), encoding="utf-8")
    return own_catalog


@pytest.fixture
def audited(monkeypatch):
    """Names of the checkpoints that were audited; the audit itself has tests of its own."""
    names = []

    def audit_of(folder, record, **options):
        names.append(record.name)
        return {"n": 10, "clean": 1.0, "certified": {}}

    monkeypatch.setattr(audit, "audit", audit_of)
    return names


def run(capsys, *options):
    code = cli.main([*COMMAND, "--json", *options])
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    return code, {one["name"]: one["status"] for one in result["checkpoints"]}, captured.err


def uploads(server):
    return [path for method, path, _ in server.requests if method == "POST" and "/commit/" in path]


def test_every_checkpoint_is_published_once(server, token, audited, capsys, small_catalog):
    assert run(capsys) == (0, dict.fromkeys(NAMES, "published"), "")
    assert audited == NAMES
    for record in zoo.list_models():
        assert record.hub is not None
        assert record.hub.repo_id == f"someone/{record.name}"
        assert server.branches[record.hub.repo_id, "main"] == record.hub.revision
    pinned = small_catalog.read_bytes()
    assert run(capsys) == (0, dict.fromkeys(NAMES, "unchanged"), "")
    assert (audited, len(uploads(server))) == (NAMES, 3)
    assert small_catalog.read_bytes() == pinned


def test_all_can_be_private(server, token, audited, capsys):
    run(capsys, "--private")
    assert server.private == {f"someone/{name}" for name in NAMES}


def test_a_failure_does_not_stop_the_others(server, token, audited, capsys):
    server.faults["model.weights.h5"] = "flipped"
    check, seen = publishing.upload.check, []

    def fails_once(repo, revision, stage):
        seen.append(repo)
        if len(seen) == 2:
            del server.faults["model.weights.h5"]
        check(repo, revision, stage)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publishing.upload, "check", fails_once)
        code, statuses, errors = run(capsys)
    expected = ["failed", "published", "published"]
    assert (code, list(statuses.values())) == (1, expected)
    assert errors.startswith("error: 1 of 3 checkpoints failed: crt-digits; the same command")
    assert catalog.info("crt-digits").hub is None
    assert run(capsys)[:2] == (0, dict(zip(NAMES, ["published", *["unchanged"] * 2], strict=True)))


def test_an_interruption_leaves_a_report_and_the_pins(server, token, audited, capsys, monkeypatch):
    with monkeypatch.context() as patch:
        send = publishing.upload.send

        def interrupted(stage, repo, **options):
            if repo.endswith(NAMES[1]):
                raise KeyboardInterrupt
            return send(stage, repo, **options)

        patch.setattr(publishing.upload, "send", interrupted)
        assert run(capsys) == (130, {NAMES[0]: "published"}, "interrupted\n")
    assert [record.hub is not None for record in zoo.list_models()] == [True, False, False]
    assert run(capsys)[1] == dict(zip(NAMES, ["unchanged", *["published"] * 2], strict=True))


def test_a_checkpoint_whose_card_has_changed_is_published_again(
    server, token, audited, capsys, monkeypatch
):
    run(capsys)
    card = publishing.card
    monkeypatch.setattr(publishing, "card", lambda *what: card(*what) + "\nOne more line.\n")
    assert set(run(capsys)[1].values()) == {"published"}
    record = catalog.info(NAMES[0])
    assert record.hub is not None
    head = server.head(record.hub.repo_id)
    assert head["README.md"].endswith(b"One more line.\n")
    assert server.branches[record.hub.repo_id, "main"] == record.hub.revision


def test_a_dry_run_audits_everything_and_sends_nothing(server, audited, capsys, small_catalog):
    before = small_catalog.read_bytes()
    assert run(capsys, "--dry-run") == (0, dict.fromkeys(NAMES, "audited"), "")
    assert (server.requests, small_catalog.read_bytes()) == ([], before)


def test_an_installed_package_has_no_catalog_to_pin_in(
    server, token, audited, capsys, small_catalog, monkeypatch
):
    monkeypatch.setattr(catalog, "_PACKAGE", small_catalog.parent)
    assert cli.main(COMMAND) == 1
    assert "from a source tree" in capsys.readouterr().err
    assert (server.requests, audited) == ([], [])


def test_the_report_as_text(server, token, audited, capsys):
    assert cli.main(COMMAND) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("crt-digits: published, hf://someone/crt-digits@")
    assert lines[-1] == "3 published"
