"""A checkpoint published on a Hub on the loopback, by the real client, and loaded from there."""

import dataclasses
import json
import pathlib
import shutil

import numpy as np
import pytest

import zoo.hub.audit
from zoo import cli
from zoo.hub import catalog, download, publishing
from zoo.hub.audit import audit
from zoo.hub.card import card
from zoo.hub.records import HubLocation
from zoo.utils import whole_file

NAME = "crt-digits"
REPO = f"someone/{NAME}"


pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("own_catalog")]


def writes(server):
    """Steps of an upload that were asked for."""
    return [path.rsplit("/", 1)[-1] for method, path, _ in server.requests if method != "GET"
            and "resolve" not in path]  # fmt: skip


def publish(name=NAME, **options):
    return publishing.publish(name, "someone", sample=30, **options)


def test_the_whole_round_trip(server, token, tmp_path, digits):
    published = publish()
    assert catalog.info(NAME).hub == HubLocation(repo_id=REPO, revision=published["revision"])
    assert published["audit"]["n"] == 30
    files = server.head(REPO)
    assert set(files) == {
        *("config.json", "model.weights.h5", "README.md"),
        *("curve.json", "curve.png"),
    }
    address = f"hf://{REPO}@{published['revision']}"
    model = zoo.load(address, cache_dir=tmp_path / "cache")
    x = digits.images[:20]
    expected = zoo.load(NAME).certify(x)
    found = model.certify(x)
    np.testing.assert_array_equal(found.prediction, expected.prediction)
    np.testing.assert_array_equal(found.radius, expected.radius)
    # The catalog's own pin leads there as well.
    pinned = zoo.load(NAME, revision=published["revision"], cache_dir=tmp_path / "other")
    np.testing.assert_array_equal(pinned.logits(x), model.logits(x))


def test_publishing_again_changes_nothing(server, token, own_catalog, here):
    first = publish()
    manifest = own_catalog.read_bytes()
    server.requests.clear()
    assert publish()["revision"] == first["revision"]
    assert own_catalog.read_bytes() == manifest
    assert "main" in writes(server)  # asked what is there
    assert not [
        path for method, path, _ in server.requests if method == "PUT" or "/commit/" in path
    ]


def test_uploads_do_not_need_xet(server, token, here, monkeypatch):
    """huggingface_hub takes Xet if its package is there, for which the server has no answers."""
    pytest.importorskip("hf_xet")
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    publish()
    assert not [path for _, path, _ in server.requests if "xet" in path]
    assert constants.HF_HUB_DISABLE_XET is False  # the user's own uploads are as they were


def test_an_installed_catalog_is_not_changed(server, token, here, own_catalog, monkeypatch):
    monkeypatch.setattr(catalog, "_PACKAGE", own_catalog.parent)
    before = own_catalog.read_bytes()
    published = publish()
    assert (published["repo_id"], published["pinned"]) == (REPO, False)
    assert server.head(REPO)
    assert own_catalog.read_bytes() == before


def test_an_entry_that_changes_meanwhile_is_not_pinned(server, token, here, monkeypatch):
    """As when the checkpoint is trained again during its publication."""

    def check_and_train(*args):
        catalog.write(dataclasses.replace(catalog.info(NAME), notes="trained again"))

    monkeypatch.setattr(publishing.upload, "check", check_and_train)
    with pytest.raises(zoo.PublishError, match="changed while"):
        publish()
    assert (catalog.info(NAME).hub, catalog.info(NAME).notes) == (None, "trained again")


def test_an_interrupted_publication_goes_on(server, token, here):
    server.faults["commit"] = 500
    with pytest.raises(zoo.PublishError, match=f"{REPO}.*500"):
        publish()
    assert catalog.info(NAME).hub is None
    assert server.head(REPO) == {}
    del server.faults["commit"]
    sent = len(server.objects)
    publish()
    assert len(server.objects) == sent == 1  # the weights are not sent twice
    assert catalog.info(NAME).hub.repo_id == REPO


def test_a_wrong_copy_on_the_hub_is_not_pinned(server, token, here):
    server.faults["model.weights.h5"] = "flipped"
    with pytest.raises(zoo.IntegrityError, match=r"model\.weights\.h5"):
        publish()
    assert catalog.info(NAME).hub is None


@pytest.mark.parametrize("private", [True, False])
def test_private(server, token, private, monkeypatch, tmp_path, here):
    publish(private=private)
    assert (REPO in server.private) == private
    monkeypatch.delenv("HF_TOKEN")
    if private:
        with pytest.raises(zoo.DownloadError, match="private"):
            zoo.load(f"hf://{REPO}", cache_dir=tmp_path / "cache")
    else:
        zoo.load(f"hf://{REPO}", cache_dir=tmp_path / "cache")


def test_the_command_publishes_privately(server, token, here, capsys):
    command = ["publish", NAME, "--to", "someone", "--sample", "30", "--quiet", "--private"]
    assert cli.main(command) == 0
    assert server.private == {REPO}


def test_a_wrong_card_on_the_hub_is_not_pinned(server, token, here):
    server.faults["README.md"] = "flipped"
    with pytest.raises(zoo.IntegrityError, match=r"README\.md"):
        publish()
    assert catalog.info(NAME).hub is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"to": None}, "to must be an organisation"),
        ({"to": 3}, "to must be an organisation"),
        ({"name": 3}, "takes a catalog name"),
        ({"sample": 0}, "sample must be a positive integer"),
        ({"data": "no.npz"}, r"no such data file: no\.npz"),
        ({"data": 3}, "name must be that of an image set"),
    ],
)
def test_wrong_arguments_are_noticed_before_anything_is_staged(monkeypatch, arguments, message):
    def staged(*args, **kwargs):
        raise AssertionError("staged before the arguments were checked")

    monkeypatch.setattr(download, "fetch", staged)
    arguments = {"name": NAME, "to": "someone", "dry_run": True, **arguments}
    with pytest.raises((TypeError, ValueError, FileNotFoundError), match=message):
        publishing.publish(arguments.pop("name"), **arguments)


def test_an_audit_without_images_is_refused(here, tmp_path, digits):
    path = tmp_path / "none.npz"
    np.savez(path, x_test=digits.images[:0], y_test=digits.labels[:0])
    with pytest.raises(zoo.AuditError, match="no test images"):
        publish(dry_run=True, data=path)


def test_an_unwritable_catalog_is_noticed_first(server, token, monkeypatch):
    monkeypatch.setattr(whole_file.os, "access", lambda *_: False)
    with pytest.raises(OSError, match=r"cannot write .*manifest\.json"):
        publish()
    assert server.requests == []


@pytest.mark.parametrize("sample", [0, -5, 1.5])
def test_samples_are_counted(sample):
    with pytest.raises((TypeError, ValueError), match="sample"):
        publishing.publish(NAME, "someone", dry_run=True, sample=sample)


def test_without_a_token_nothing_is_sent(server):
    with pytest.raises(zoo.PublishError, match="token.*HF_TOKEN"):
        publish()
    assert server.requests == []


def test_a_refused_token_is_named(server, monkeypatch, here):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(zoo.PublishError, match=f"{REPO} could not be published.*401"):
        publish()


def test_a_dry_run_needs_neither_token_nor_network(server, own_catalog, here):
    before = own_catalog.read_bytes()
    result = publish(dry_run=True)
    assert result["revision"] is None
    assert server.requests == []
    assert own_catalog.read_bytes() == before


def changed(**values):
    record = catalog.info(NAME)
    metrics = dataclasses.replace(record.metrics, **values.pop("metrics", {}))
    return dataclasses.replace(record, metrics=metrics, **values)


@pytest.fixture
def stage(tmp_path):
    folder = tmp_path / "stage"
    shutil.copytree(catalog.WEIGHTS / NAME, folder)
    return folder


def overstated():
    """The certified accuracies of the checkpoint, with another first one."""
    first, *others = catalog.info(NAME).metrics.certified
    return [dataclasses.replace(first, accuracy=first.accuracy + 0.1), *others]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"metrics": {"clean": 0.99}}, "clean accuracy is 0.9"),
        ({"metrics": {"certified": overstated()}}, "certified accuracy at .*the catalog says"),
        ({"golden": [[0.0] * 10, [0.0] * 10]}, "other logits"),
        ({"golden": [[0.0], [0.0]]}, "other logits"),
        ({"golden": None}, "no golden logits.*--cost"),
    ],
)
def test_the_audit_refuses_other_numbers(stage, change, complaint, here):
    record = changed(**change)
    (stage / "README.md").write_text(card(record), encoding="utf-8")
    with pytest.raises(zoo.AuditError, match=complaint):
        audit(stage, record, sample=500 if "metrics" in change else 30)


def test_the_audit_of_a_few_images_allows_for_chance_alone(stage, here):
    """Of 100 images, 93 in place of 96 may be chance; 50 are not."""
    clean = catalog.info(NAME).metrics.clean
    for change, refused in ((-0.03, False), (-0.5, True)):
        record = changed(metrics={"clean": clean + change})
        (stage / "README.md").write_text(card(record), encoding="utf-8")
        if refused:
            with pytest.raises(zoo.AuditError, match="clean accuracy is"):
                audit(stage, record, sample=100)
        else:
            assert audit(stage, record, sample=100)["n"] == 100


def test_the_audit_refuses_other_files(stage):
    record = catalog.info(NAME)
    (stage / "notes.txt").write_text("left over")
    with pytest.raises(zoo.AuditError, match=r"notes\.txt"):
        audit(stage, record)
    (stage / "notes.txt").unlink()
    text = (stage / "README.md").read_text()
    (stage / "README.md").write_text(text.replace("0.906", "0.999"))
    with pytest.raises(zoo.AuditError, match=r"README\.md"):
        audit(stage, record)
    (stage / "README.md").write_text(text)
    picture = (stage / "curve.png").read_bytes()
    (stage / "curve.png").unlink()
    with pytest.raises(zoo.AuditError, match=r"shows curve\.png, which is missing"):
        audit(stage, record)
    (stage / "curve.png").write_bytes(picture)
    with open(stage / "model.weights.h5", "ab") as file:
        file.write(b"x")
    with pytest.raises(zoo.IntegrityError, match=r"model\.weights\.h5"):
        audit(stage, record)


def test_a_sample_of_a_sorted_file_has_all_classes(stage, tmp_path, digits):
    order = np.argsort(digits.labels, kind="stable")
    images, labels = digits.images[order], digits.labels[order]
    np.savez(tmp_path / "sorted.npz", x_test=images, y_test=labels)
    measured = zoo.hub.audit.audit_own(stage, sample=50, data=tmp_path / "sorted.npz")
    chosen = zoo.data.load(tmp_path / "sorted.npz").shuffled().take(50)
    assert len(set(chosen.labels)) == 10
    prediction = zoo.load(NAME).certify(chosen).prediction
    assert (measured["n"], measured["clean"]) == (50, np.mean(prediction == chosen.labels))


def test_no_more_images_are_audited_than_were_measured():
    record = catalog.info("double-backprop-a-mnist")
    request = zoo.hub.audit._request(pathlib.Path(), record, 10**6, None)
    assert request["sample"] == record.metrics.n < 10_000


def test_a_request_may_be_longer_than_a_command_line(tmp_path):
    request = {"folder": str(tmp_path), "golden": [0.0] * 50_000}
    with pytest.raises(zoo.AuditError, match="could not be measured in a fresh process"):
        zoo.hub.audit._in_a_fresh_process(request)


def test_what_the_fresh_process_says_is_passed_on(stage):
    with pytest.raises(zoo.AuditError, match=r"fresh process.*nowhere\.npz"):
        audit(stage, catalog.info(NAME), data="nowhere.npz")


@pytest.mark.parametrize("to", ["", "a/", "a/b/c", "../x"])
def test_organisations(to):
    with pytest.raises(ValueError, match="organisation"):
        publishing.publish(NAME, to, dry_run=True)


def test_the_command(capsys, here):
    options = ["publish", NAME, "--to", "someone", "--dry-run", "--sample", "20"]
    assert cli.main([*options, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["repo_id"] == REPO
    assert cli.main(options) == 0
    assert f"would be published as {REPO}" in capsys.readouterr().out
    assert cli.main(["publish", "crt-digit", "--to", "someone"]) == 1
    assert "did you mean crt-digits" in capsys.readouterr().err
