"""Models that are not in the catalog, published and loaded again."""

import json

import keras
import numpy as np
import pytest

import zoo
from zoo import cli
from zoo.hub import own_model

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("own_catalog")]

REPO = "someone/mine"


@pytest.fixture
def model():
    return zoo.models.LinfDistNet((8, 8, 1), 10, width=12, depth=2, mean=0.4, std=0.3)


@pytest.fixture
def source(request, model, tmp_path):
    """The same model as an object, a folder or a file."""
    if request.param == "folder":
        zoo.save(model, tmp_path / "mine")
        return tmp_path / "mine"
    if request.param == "file":
        model.save(tmp_path / "mine.keras")
        return str(tmp_path / "mine.keras")
    return model


@pytest.mark.parametrize("source", ["model", "folder", "file"], indirect=True)
def test_a_model_of_ones_own_is_published(server, token, here, model, source, tmp_path, digits):
    published = zoo.publish(source, REPO)
    assert (published["repo_id"], published["pinned"]) == (REPO, False)
    files = server.head(REPO)
    assert set(files) == {"config.json", "model.weights.h5", "README.md"}
    text = files["README.md"].decode()
    assert f'zoo.load("hf://{REPO}")' in text
    assert "accuracy" not in text  # nothing was measured
    loaded = zoo.load(f"hf://{REPO}@{published['revision']}", cache_dir=tmp_path / "cache")
    x = digits.images[:5]
    np.testing.assert_array_equal(loaded.certify(x).radius, model.certify(x).radius)


def test_the_catalog_has_no_pin_of_a_model_of_ones_own(server, token, here, model, own_catalog):
    before = own_catalog.read_bytes()
    zoo.publish(model, REPO)
    assert own_catalog.read_bytes() == before


def test_accuracies_are_measured_on_data(server, token, here, capsys, tmp_path):
    zoo.save(zoo.load("linf-dist-digits"), tmp_path / "mine")
    command = ["publish", f"{tmp_path}/mine", "--to", "someone", "--license", "mit"]
    options = ["--data", "digits", "--eps", "0.1", "--sample", "40", "--json"]
    assert cli.main([*command, *options]) == 0
    measured = json.loads(capsys.readouterr().out)["audit"]
    report = zoo.evaluate(
        zoo.load("linf-dist-digits"), *images(40), eps="0.1", attacks=(), verbose=0
    )
    assert measured["clean"] == pytest.approx(report.clean)
    assert measured["certified"] == {"0.1": pytest.approx(report.rows[0]["certified"])}
    assert measured["clean"] >= measured["attacked"]["0.1"] >= measured["certified"]["0.1"]
    text = server.head(REPO)["README.md"].decode()
    assert f"\n40 test images of digits: clean accuracy {report.clean:.2%}" in text

    # What the Hub knows of it.
    assert cli.main(["info", f"hf://{REPO}", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["address"] == f"hf://{REPO}@{server.branches[REPO, 'main']}"
    assert (found["kind"], found["license"]) == ("LinfDistNet", "mit")
    assert found["image_shape"] == [8, 8, 1]
    assert found["results"]["clean accuracy"] == pytest.approx(report.clean)
    assert found["size"] == len(server.head(REPO)["model.weights.h5"])
    assert not [path for path in server.bodies_sent()[3:] if path.endswith(".h5")]
    assert cli.main(["info", f"hf://{REPO}"]) == 0
    assert "according to its card" in capsys.readouterr().out
    assert cli.main(["card", f"hf://{REPO}"]) == 0
    assert capsys.readouterr().out == text + "\n"


def images(count):
    test = zoo.data.load("digits", "test").take(count)
    return test.images, test.labels


def test_the_hub_is_asked_for_a_revision_that_there_is(server, capsys):
    server.add(REPO, {"config.json": b"{}"})
    assert cli.main(["info", f"hf://{REPO}@{'0' * 40}"]) == 1
    assert "no such revision" in capsys.readouterr().err
    assert cli.main(["info", f"hf://{REPO}"]) == 1
    assert "config.json lacks" in capsys.readouterr().err
    assert cli.main(["card", f"hf://{REPO}"]) == 1
    assert "no such file" in capsys.readouterr().err


def test_what_is_in_the_cache_is_described_without_a_network(server, token, here, model, tmp_path):
    zoo.publish(model, REPO)
    cache = {"cache_dir": tmp_path / "cache"}
    zoo.load(f"hf://{REPO}", **cache)
    before = zoo.hub.describe(f"hf://{REPO}", **cache)
    server.close()
    assert zoo.hub.describe(f"hf://{REPO}", local_files_only=True, **cache) == before
    assert before.size is not None


def test_a_card_of_ones_own_is_kept(server, token, here, model, tmp_path, monkeypatch):
    zoo.save(model, tmp_path / "mine")
    own = f"---\nlicense: mit\n---\n# Mine\n\nA larger one is hf://{REPO}-large.\n"
    (tmp_path / "mine" / "README.md").write_text(own)
    zoo.publish(tmp_path / "mine", "someone")
    sent = server.head(REPO)["README.md"].decode()
    assert sent.startswith(own)
    assert f'zoo.load("hf://{REPO}")' in sent
    (tmp_path / "mine" / "README.md").write_text(sent)
    monkeypatch.setenv("HOME", str(tmp_path))
    zoo.publish("~/mine", "someone")
    assert server.head(REPO)["README.md"].decode() == sent
    with pytest.raises(ValueError, match="license is for a new card, but .*mine has a README.md"):
        zoo.publish("~/mine", "someone", license="mit")
    (tmp_path / "mine" / "README.md").write_bytes(b"\xff")
    with pytest.raises(ValueError, match=r"mine/README\.md is not text in UTF-8"):
        zoo.publish("~/mine", "someone")


def test_files_of_the_working_folder_are_not_imported(model, tmp_path, monkeypatch):
    for name in ("zoo.py", "keras.py"):
        (tmp_path / name).write_text("raise ImportError('a file of the user')\n")
    monkeypatch.chdir(tmp_path)
    assert zoo.publish(model, REPO, dry_run=True)["revision"] is None


def test_malformed_metadata_of_a_card_is_no_obstacle(model, tmp_path):
    zoo.save(model, tmp_path)
    (tmp_path / "README.md").write_text("---\nlicense: [1\nmodel-index: 3\n---\n")
    assert zoo.hub.describe(tmp_path).results == {}


def test_a_class_that_others_do_not_have_is_refused(server, token, model):
    """Only this process knows the class, so nobody could load what would be published."""

    @keras.saving.register_keras_serializable("of_this_process")
    class Mine(zoo.models.LinfDistNet):
        pass

    with pytest.raises(zoo.AuditError, match="of_this_process>Mine"):
        zoo.publish(Mine((8, 8, 1), 10, width=12, depth=2), REPO)
    assert server.requests == []


def test_a_model_that_is_not_what_was_stored_is_refused(server, token, here, model, monkeypatch):
    stage = own_model.stage

    def other_logits(source, folder):
        return [[value + 0.1 for value in row] for row in stage(source, folder)]

    monkeypatch.setattr(own_model, "stage", other_logits)
    with pytest.raises(zoo.AuditError, match="other logits"):
        zoo.publish(model, REPO)
    assert server.requests == []


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_model_without_finite_logits_is_refused(model, tmp_path, value, request):
    model.head_layer.set_weights([np.full_like(w, value) for w in model.head_layer.get_weights()])
    zoo.save(model, tmp_path / "mine")
    for source in (model, tmp_path / "mine"):
        # One fresh process is enough to see that NaN gets through.
        if np.isinf(value) or source is not model:
            request.getfixturevalue("here")
        with pytest.raises(zoo.AuditError, match="the model's logits are not finite"):
            zoo.publish(source, REPO, dry_run=True)


def test_an_ordinary_network_is_refused(tmp_path):
    network = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    with pytest.raises(TypeError, match="a model of the zoo, got Sequential"):
        zoo.publish(network, REPO, dry_run=True)
    network.save(tmp_path / "mine.keras")
    with pytest.raises(zoo.CheckpointError, match="holds a Sequential"):
        zoo.publish(tmp_path / "mine.keras", REPO, dry_run=True)


@pytest.mark.parametrize(
    ("to", "options", "message"),
    [
        ("someone", {}, "a model has no name"),
        (REPO, {"eps": 0.1}, "need data"),
        (REPO, {"eps": "much", "data": "digits"}, "eps must be"),
        (REPO, {"data": "imagenet"}, "unknown image set"),
        (REPO, {"private": "yes"}, "private must be"),
        (REPO, {"eps": np.array([0.1])}, "need data"),
        (REPO, {"model": "https://huggingface.co/someone/mine"}, "is on the Hub already"),
    ],
)
def test_wrong_arguments(model, to, options, message):
    options = {"model": model, **options}
    with pytest.raises((TypeError, ValueError), match=message):
        zoo.publish(to=to, dry_run=True, **options)


def test_a_loss_of_ones_own_is_no_part_of_what_is_published(model, tmp_path):
    def squares(labels, logits):
        return keras.ops.mean(keras.ops.square(logits), axis=-1)

    model.compile("sgd", loss=squares)
    model.save(tmp_path / "mine.keras")
    (tmp_path / "staged").mkdir()
    assert own_model.stage(tmp_path / "mine.keras", tmp_path / "staged")
