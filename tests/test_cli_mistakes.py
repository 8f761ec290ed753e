"""A wrong command fails before a backend is imported, which takes seconds."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import zoo
from zoo.certificates.pairs import PAIRS
from zoo.hub import catalog
from zoo.hub.outline import outline

# Run each command, and print its exit code, its errors and the slow packages it has imported.
_PROGRAM = """
import contextlib, io, json, sys
from zoo.cli import main
found = []
for command in json.loads(sys.stdin.read()):
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        try:
            code = main(command)
        except SystemExit as exit:
            code = exit.code
    slow = {"tensorflow", "jax", "keras", "ray", "tensorflow_datasets", "matplotlib", "sklearn"}
    found.append([code, errors.getvalue(), sorted(slow & set(sys.modules))])
print(json.dumps(found))
"""

_DIGITS = "linf-dist-digits"
_MISTAKES = [
    (["certify", "nothing"], "no model 'nothing'"),
    (["certify", _DIGITS, "--norm", "l1"], "norm must be 'linf' or 'l2'"),
    (["certify", _DIGITS, "--norm", "l2"], "no certificate for norm='l2'"),
    (["certify", _DIGITS, "--method", "magic"], "method='magic'"),
    (["certify", _DIGITS, "--method", "exact"], "has no certificate for method='exact'"),
    (["certify", _DIGITS, "--timeout", "0"], "--timeout must be a positive number, got 0.0"),
    (["certify", _DIGITS, "--n", "0"], "--n must be at least 1"),
    (["certify", _DIGITS, "--batch-size", "0"], "--batch-size must be a positive integer"),
    (["certify", _DIGITS, "--data", "imagenet"], "unknown image set 'imagenet'"),
    (["certify", _DIGITS, "--data", "mnist"], "those of mnist are (28, 28, 1)"),
    (["certify", _DIGITS, "--data", "no.npz"], "no such data file"),
    (["certify", _DIGITS, "--data", "large.npz"], "large.npz: x must have shape (n, 8, 8, 1)"),
    (["certify", _DIGITS, "--data", "bright.npz"], "bright.npz: x must lie in [0, 1]"),
    (["certify", _DIGITS, "--data", "bright.npz", "--resize"], "but bright.npz is an .npz file"),
    (["certify", _DIGITS, "--resize"], "--resize is for image files; give them with --data"),
    (["certify", _DIGITS, "--data", "damaged.npz"], "damaged.npz cannot be read: Error -3"),
    (["certify", _DIGITS, "--nothing"], "usage: zoo certify"),
    (["certify", "./empty", "--data", "digits"], "it has no config.json"),
    (["evaluate", _DIGITS, "--eps", "0.1", "abc"], "--eps: eps must be a finite number"),
    (["certify", "--eps", "0.1", _DIGITS], f"got '{_DIGITS}'; write names before --eps"),
    (["attack", "--eps", _DIGITS], f"got '{_DIGITS}'; write names before --eps"),
    (["publish", "--eps", "0.1", "./empty"], "got './empty'; write names before --eps"),
    (["evaluate", _DIGITS, "--eps", "8/255,2/255"], "separate several budgets by spaces"),
    (["certify", "empty", "--n", "2"], "its name is './empty'"),
    (["certify", "hf:someone/model", "--n", "2"], "a Hub name reads hf://org/repo"),
    (["certify", _DIGITS, "--data", "a.npy"], "an .npy file holds a single array"),
    (["certify", _DIGITS, "--data", "digits/test"], "the image set is 'digits', without a split"),
    (["certify", _DIGITS, "--csv", "-"], "cannot write -: it is no name of a file"),
    (["evaluate", _DIGITS, "--eps", "0.1", "3"], "eps must lie in [0, 1]"),
    (["evaluate", _DIGITS, "--attacks", "fgsm,magic"], "got 'magic'"),
    (["evaluate", "crt-digits", "--attacks", "spsa"], "attack is for norm"),
    (
        ["evaluate", _DIGITS, "lc-lmt-digits", "--norm", "linf", "--eps", "0.1"],
        "no certificate for norm='linf'",
    ),
    (["evaluate", _DIGITS, "--data", "labels.npz"], "labels.npz: y must lie in 0..9"),
    (["certify", _DIGITS, "--data", "labels.npz"], "labels.npz: y must lie in 0..9"),
    (["evaluate", "double-backprop-digits", "--norm", "l2"], "no budget in l2 at which"),
    (["evaluate", _DIGITS, "--plot", "nowhere/a.png"], "no folder nowhere"),
    (["evaluate", _DIGITS, "--plot", "a.xyz"], "the ending must be one of"),
    (["evaluate", _DIGITS, "--ray", "local", "--task-cpus", "-1"], "cpus must be a positive"),
    (["evaluate", _DIGITS, "--task-cpus", "1"], "are for --ray"),
    (["evaluate", _DIGITS, "--ray", ""], "address is empty"),
    (["attack", _DIGITS, "--attack", "magic"], "got 'magic'"),
    (["attack", _DIGITS, "--steps", "many"], "--steps must be a positive integer"),
    (["attack", _DIGITS, "--step-size", "-1"], "--step-size must be a positive number"),
    (["attack", _DIGITS, "--attack", "fgsm", "--steps", "3"], "no parameter '--steps'"),
    (["attack", _DIGITS, "--target", "10"], "--target must lie in 0..9, got 10"),
    (["attack", _DIGITS, "--save", "a.png"], "so a.png must end in .npz"),
    (["attack", _DIGITS, "--save", "a.npz", "--csv", "./a.npz"], "would both write a.npz"),
    (
        ["attack", _DIGITS, "--data", "labels.npz", "--save", "labels"],
        "--save would overwrite labels.npz",
    ),
    (
        ["certify", _DIGITS, "--data", "labels.npz", "--csv", "./labels.npz"],
        "--csv would overwrite",
    ),
    (["attack", _DIGITS, "--attack", "spsa", "--target", "1"], "takes no target"),
    (["attack", _DIGITS, "--save", "nowhere/a"], "no folder nowhere"),
    (["download", "nothing"], "no model 'nothing'"),
    (["download", "./empty"], "it has no config.json"),
    (["download", "./labels.keras"], "labels.keras is a file, not a checkpoint folder"),
    (["download", _DIGITS, "--revision", "main"], "is not on the Hub, so that it has no revision"),
    (["verify", "nothing"], "no model 'nothing'"),
    (["verify", "./empty"], "takes names of the catalog, not './empty'"),
    (["verify", "empty"], "takes names of the catalog, not 'empty'"),
    (["info", "nothing"], "no model 'nothing'"),
    (["info", "labels.keras"], "its name is './labels.keras'"),
    (["card", "labels.keras"], "its name is './labels.keras'"),
    (["card", "./labels.keras"], "labels.keras is a file, not a checkpoint folder"),
    (["card", "nothing"], "no model 'nothing'"),
    (["certify", _DIGITS, "--data", "labels.npz", "--csv=~/labels.npz"], "--csv would overwrite"),
    (["leaderboard"], "nothing to write"),
    (["publish", "nothing", "--to", "someone"], "no model 'nothing'"),
    (["publish", "empty", "--to", "someone"], "its name is './empty'"),
    (["publish", _DIGITS, "--to", "some one"], "to must be"),
    (["publish", _DIGITS], "--to"),
    (["publish", "--to", "someone"], "or --all"),
    (["publish", "--all", _DIGITS, "--to", "someone"], "leave out a name"),
    (["publish", "--all", "--to", "someone/one"], "to must be an organisation"),
    (["publish", "./empty", "--to", "someone"], "it has no config.json"),
    (["publish", "no.keras", "--to", "someone"], "no such file: no.keras"),
    (["publish", "bright.npz/", "--to", "someone"], "no such folder"),
    (["publish", "labels.keras", "--to", "someone"], "is no .keras file"),
    (["publish", _DIGITS, "--to", "someone", "--license", "mit"], "those of the catalog"),
    (["publish", _DIGITS, "--to", "someone", "--sample", "0"], "sample must be a positive"),
    (["publish", _DIGITS, "--to", "someone"], "needs a token"),
    (["info", "./nowhere"], "no such folder"),
    (["info", "hf://one"], "a Hub name reads"),
    (["card", "./empty"], "has no README.md"),
    (["cite", "nothing"], "no model 'nothing'"),
    (["list", "--nothing"], "unrecognized arguments"),
]


@pytest.mark.integration
def test_no_backend_is_imported_for_a_wrong_command(tmp_path, digits):
    def save(name, images, labels):
        np.savez(tmp_path / name, x_test=images, y_test=labels)

    few, labels = digits.images[:3].astype("float32"), digits.labels[:3]
    save("large.npz", np.zeros((3, 9, 9, 1), np.float32), labels)
    save("bright.npz", few + 2, labels)
    save("labels.npz", few, labels + 90)
    np.savez_compressed(tmp_path / "damaged.npz", x_test=few)
    content = bytearray((tmp_path / "damaged.npz").read_bytes())
    content[70:90] = 20 * b"\xff"
    (tmp_path / "damaged.npz").write_bytes(content)
    (tmp_path / "empty").mkdir()
    (tmp_path / "labels.keras").write_text("no archive")
    run = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        input=json.dumps([command for command, _ in _MISTAKES]),
        cwd=tmp_path,
        env={
            **{name: value for name, value in os.environ.items() if name != "HF_TOKEN"},
            "HF_HOME": str(tmp_path / "no-token"),
            "HOME": str(tmp_path),
            "PYTHONPATH": os.pathsep.join(map(str, _paths())),
        },
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    for (command, message), found in zip(_MISTAKES, json.loads(run.stdout), strict=True):
        code, errors, slow = found
        assert code in (1, 2), command
        assert message in errors, (command, errors)
        assert slow == [], command


def _paths():
    return [catalog.MANIFEST.parent, *filter(None, [os.environ.get("PYTHONPATH")])]


@pytest.mark.integration
@pytest.mark.parametrize("name", ["linf-dist-digits", "l2nnn-digits", "lc-lmt-digits"])
@pytest.mark.parametrize("folder", [False, True], ids=["by name", "by folder"])
def test_an_outline_is_what_the_model_is(name, folder):
    model = zoo.load(name)
    found = outline(catalog.WEIGHTS / name if folder else name)
    assert found.kind == type(model).__name__
    assert found.certificates == model.certificates
    assert (found.image_shape, found.num_classes) == (model.image_shape, model.num_classes)


def test_every_checkpoint_has_an_outline():
    for record in zoo.list_models(available=True):
        found = outline(record.name)
        assert found.image_shape == zoo.data.DATASETS[record.dataset].image_shape
        measured = {(result.norm, result.method) for result in record.metrics.certified}
        assert found.certificates is not None
        assert measured <= set(found.certificates)


def test_pairs_that_depend_on_the_network_are_all_named():
    model = zoo.load("double-backprop-digits")
    assert set(model.certificates) <= set(PAIRS["DoubleBackpropNet"])


def test_a_folder_of_a_class_of_ones_own_is_not_refused(tmp_path):
    """The table knows this package's classes alone; what others certify is known once they load."""
    config = {"format": 1, "class": "mine>LinfDistNet", "config": {"image_shape": [8, 8, 1]}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = outline(tmp_path)
    assert (found.certificates, found.image_shape, found.num_classes) == (None, (8, 8, 1), None)
