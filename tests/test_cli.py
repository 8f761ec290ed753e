"""The command line."""

import ctypes
import dataclasses
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import zoo
from zoo import evaluation
from zoo.cli import main
from zoo.cli._own_output import foreign_output_to_stderr
from zoo.hub import catalog, download, loading


def run(capsys, *arguments):
    code = main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_list_and_info(capsys):
    code, out, _ = run(capsys, "list")
    assert code == 0
    assert "linf-dist-digits" in out
    code, out, _ = run(capsys, "list", "linf-*", "--dataset", "digits", "--json")
    assert [record["name"] for record in json.loads(out)] == ["linf-dist-digits"]
    code, out, err = run(capsys, "list", "nothing")
    assert (code, out) == (1, "")
    assert "no model is called 'nothing'" in err
    code, out, _ = run(capsys, "list", "linf-*", "--norm", "l2")
    assert (code, out) == (0, "no model matches\n")
    code, out, _ = run(capsys, "info", "linf-dist-digits")
    assert "certified" in out


def test_evaluate(capsys, tmp_path):
    plot = tmp_path / "curve.png"
    code, out, _ = run(
        capsys, "evaluate", "linf-dist-digits", "--n", "40", "--eps", "0.05", "8/255", "1/20",
        "--attacks", "fgsm", "--plot", str(plot), "--json", "--quiet",
    )  # fmt: skip
    result = json.loads(out)
    assert code == 0
    assert [row["eps"] for row in result["rows"]] == ["0.05", "8/255"]
    assert result["n"] == 40
    assert plot.stat().st_size > 0


def test_evaluate_by_default_at_the_measured_budgets(capsys):
    code, out, _ = run(
        capsys, "evaluate", "linf-dist-digits", "--n", "10", "--attacks", "fgsm", "--quiet"
    )
    assert code == 0
    measured = dict.fromkeys(e.eps for e in zoo.info("linf-dist-digits").metrics.attacked)
    assert [line.split()[0] for line in out.splitlines()[3:]] == list(measured)


@pytest.mark.integration
def test_evaluate_several(capsys):
    names = ["linf-dist-digits", "lc-lmt-digits"]
    options = ["--n", "10", "--eps", "0.1", "--attacks", "fgsm", "--quiet"]
    code, out, _ = run(capsys, "evaluate", *names, *options, "--json")
    assert code == 0
    together = json.loads(out)
    for name, result in zip(names, together, strict=True):
        code, out, _ = run(capsys, "evaluate", name, *options, "--json")
        assert json.loads(out) == result
    code, out, _ = run(capsys, "evaluate", *names, *options)
    assert [table.split()[0] for table in out.split("\n\n")] == names
    code, _, err = run(capsys, "evaluate", *names, "--plot", "curve.png")
    assert (code, err) == (1, "error: --plot draws the curve of one model; give one name\n")


def test_certify(capsys):
    code, out, _ = run(capsys, "certify", "linf-dist-digits", "--n", "5", "--json", "--quiet")
    assert code == 0
    certificate = zoo.load("linf-dist-digits").certify(zoo.data.load("digits").images[:5])
    assert json.loads(out)["radius"] == certificate.radius.tolist()
    code, out, _ = run(
        capsys, "certify", "linf-dist-digits", "--n", "5", "--method", "lipschitz", "--quiet"
    )
    assert "lipschitz" in out.splitlines()[0]
    assert len(out.splitlines()[out.splitlines().index("") :]) == 7  # a line, a header, the images


@pytest.mark.integration
def test_certify_with_a_timeout(capsys):
    options = ["certify", "double-backprop-digits", "--n", "2", "--norm", "linf", "--quiet"]
    exact = [*options, "--method", "exact", "--timeout", "0.001"]
    code, out, err = run(capsys, *exact, "--json")
    assert code == 0
    # A warning is one line, without the path and the code that Python shows.
    assert re.search("^warning: .* before 2 of 2 images were finished", err, re.MULTILINE)
    assert "certify.py" not in err
    assert json.loads(out)["finished"] == [False, False]
    code, out, err = run(capsys, *exact)
    assert "finished in time: 0 of 2 images" in out
    code, out, _ = run(capsys, *options, "--timeout", "1000", "--json")
    assert json.loads(out)["finished"] == [True, True]


def test_what_libraries_print_is_not_part_of_the_output(capfd):
    with foreign_output_to_stderr():
        os.write(1, b"noise\n")
        ctypes.CDLL(None).printf(b"noise in C\n")
    print("answer")
    out, errors = capfd.readouterr()
    assert out == "answer\n"
    assert "noise\n" in errors
    assert "noise in C\n" in errors


@pytest.mark.integration
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_closed_standard_stream_is_no_obstacle(closed, tmp_path):
    command = f"{sys.executable} -m zoo certify linf-dist-digits --n 2 --csv {tmp_path}/r.csv"
    run = subprocess.run(f"{command} {closed}", shell=True, capture_output=True, text=True)
    assert "Traceback" not in run.stderr
    assert len((tmp_path / "r.csv").read_text().splitlines()) == 3


def test_attack_saves_images(capsys, tmp_path):
    path = tmp_path / "attacked.npz"
    code, out, _ = run(
        capsys, "attack", "linf-dist-digits", "--n", "8", "--eps", "0.1", "--attack", "pgd",
        "--steps", "3", "--restarts", "2", "--save", str(path), "--quiet", "--json",
    )  # fmt: skip
    assert code == 0
    result = json.loads(out)
    _, text, _ = run(
        capsys, "attack", "linf-dist-digits", "--n", "1", "--attack", "fgsm", "--quiet",
        "--save", str(path.with_name("other")),
    )  # fmt: skip
    assert f"the attacked images are in {path.with_name('other.npz')}" in text
    assert "at eps 0.02" in text  # the smallest budget at which the model was measured
    attacked = zoo.data.load(path, "test")
    assert np.abs(attacked.images - zoo.data.load("digits").images[:8]).max() <= 0.1 + 1e-7
    predicted = np.argmax(zoo.load("linf-dist-digits").logits(attacked.images), axis=1)
    assert result["accuracy"] == np.mean(predicted == attacked.labels)


def test_every_parameter_of_an_attack_is_a_flag(capsys):
    with pytest.raises(SystemExit):
        main(["attack", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for name, kind in zoo.attacks.ATTACKS.items():
        assert name in shown
        for field in dataclasses.fields(kind):
            assert f"--{field.name.replace('_', '-')} VALUE" in shown
    assert "pgd, momentum: length of a step in input units" in shown


def test_parameters_reach_the_attack(capsys, monkeypatch):
    given = []
    monkeypatch.setattr(zoo.attacks.PGD, "run", lambda self, victim, x, *_: given.append(self) or x)
    code, *_ = run(
        capsys, "attack", "linf-dist-digits", "--n", "2", "--eps", "0.1", "--steps", "3",
        "--step-size", "1/50", "--loss", "cross_entropy", "--random-init", "false", "--quiet",
    )  # fmt: skip
    assert code == 0
    assert given == [
        zoo.attacks.PGD(steps=3, step_size=0.02, loss="cross_entropy", random_init=False)
    ]


def test_own_data_file(capsys, tmp_path):
    zoo.data.save(tmp_path / "mine.npz", "digits")
    code, out, _ = run(
        capsys, "certify", "linf-dist-digits", "--data", str(tmp_path / "mine.npz"), "--n", "2",
        "--json", "--quiet",
    )  # fmt: skip
    assert code == 0
    assert json.loads(out)["data"] == "mine/test"


def test_download_and_verify(capsys):
    code, out, _ = run(capsys, "download", "linf-dist-digits")
    assert code == 0
    assert out.strip().endswith("linf-dist-digits")
    code, out, _ = run(capsys, "verify", "linf-dist-digits", "--json")
    assert json.loads(out) == {"verified": ["linf-dist-digits"], "missing": {}, "damaged": {}}


def test_a_damaged_model_does_not_hide_the_others(capsys, monkeypatch, tmp_path):
    for name in ("crt-digits", "linf-dist-digits"):
        shutil.copytree(catalog.WEIGHTS / name, tmp_path / name)
    (tmp_path / "crt-digits" / "model.weights.h5").write_bytes(b"damaged")
    monkeypatch.setattr(catalog, "WEIGHTS", tmp_path)
    code, out, err = run(capsys, "verify", "--json")
    found = json.loads(out)
    assert (code, found["verified"]) == (1, ["linf-dist-digits"])
    assert "model.weights.h5" in found["damaged"]["crt-digits"]
    assert err == "error: damaged: crt-digits\n"


def test_without_a_backend_no_model_is_called_damaged(capsys, monkeypatch):
    def absent():
        raise ImportError("Keras cannot be imported")

    monkeypatch.setattr("zoo.utils.backend.require_backend", absent)
    assert run(capsys, "verify") == (1, "", "error: Keras cannot be imported\n")


def test_what_is_not_here_is_said(capsys, monkeypatch, tmp_path):
    """Of an installation with one checkpoint, none of them on the Hub."""
    name = "linf-dist-digits"
    shutil.copytree(catalog.WEIGHTS / name, tmp_path / name)
    monkeypatch.setattr(catalog, "WEIGHTS", tmp_path)
    assert [record.name for record in zoo.list_models(available=True)] == [name]
    assert name not in [record.name for record in zoo.list_models(available=False)]
    assert zoo.info("crt-digits").available == "train it"
    code, out, _ = run(capsys, "list", "*-digits", "--available", "--json")
    assert [entry["name"] for entry in json.loads(out)] == [name]
    code, out, _ = run(capsys, "verify", "--json")
    found = json.loads(out)
    assert (code, found["verified"]) == (0, [name])
    assert "source tree" in found["missing"]["crt-digits"]
    assert len(found["missing"]) == len(zoo.list_models()) - 1
    code, out, err = run(capsys, "verify", "crt-digits")
    assert (code, out) == (1, "")
    assert "run `python -m training crt-digits` in it" in err
    with pytest.raises(TypeError, match="available must be True, False or None, got 'yes'"):
        zoo.list_models(available="yes")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["info", "linf-dist-digit"], "did you mean linf-dist-digits"),
        (["evaluate", "linf-dist-digits", "--n", "0"], "--n must be at least 1"),
        (["attack", "linf-dist-digits", "--attack", "magic"], "attack must be one of"),
        (["certify", "linf-dist-digits", "--data", "no.npz"], "no such data file: no.npz"),
        (["certify", "linf-dist-digits", "--data", "imagenet"], "unknown image set 'imagenet'"),
        (["certify", "linf-dist-digits", "--method", "magic"], "method='magic'"),
        (["certify", "./nowhere", "--data", "digits"], "no such folder"),
        (["certify", "./nowhere"], "no such folder"),
        (["certify", "hf://someone/model"], "give --data"),
        (["verify", "nothing"], "no model 'nothing'"),
    ],
)
def test_errors_are_one_line(capsys, arguments, message):
    code, out, err = run(capsys, *arguments)
    assert code == 1
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert message in err


_OWN = ["--data", "digits", "--eps", "0.1"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "linf-dist-digits", "linf-dist-digit"], "no model 'linf-dist-digit'"),
        (["evaluate", "lc-lmt-digits", "./nowhere", *_OWN], "no such folder"),
        (["evaluate", "lc-lmt-digits", "hf://", *_OWN], "a Hub name reads"),
        (["evaluate", "lc-lmt-digits", "hf://someone/model"], "give --eps"),
        (["evaluate", "linf-dist-digits", "--plot", "missing/curve.png"], "no folder missing"),
        (["evaluate", "linf-dist-digits", "--plot", "curve.xyz"], "the ending must be one of"),
        (["evaluate", "linf-dist-digits", "--plot", "."], "it is a folder, not a file"),
        (["evaluate", "linf-dist-digits", "--batch-size", "0"], "--batch-size must be a positive"),
        (["evaluate", "linf-dist-digits", "--data", "no.npz"], "no such data file"),
        (["certify", "linf-dist-digits", "--batch-size", "0"], "--batch-size must be a positive"),
        (["attack", "linf-dist-digits", "--attack", "magic"], "attack must be one of fgsm"),
        (["attack", "linf-dist-digits", "--steps", "many"], "positive integer, got 'many'"),
        (["attack", "linf-dist-digits", "--restarts", "0"], "restarts must be a positive integer"),
        (
            ["attack", "linf-dist-digits", "--attack", "fgsm", "--steps", "3"],
            "the fgsm attack has no parameter '--steps'; it has: loss",
        ),
        (["attack", "linf-dist-digits", "--save", "missing/x.npz"], "no folder missing"),
        (["attack", "linf-dist-digits", "--save", "missing/x"], "cannot write missing/x.npz"),
        (["download", "linf-dist-digits", "--cache-dir", "a-file"], "a-file is a file"),
    ],
)
def test_mistakes_are_noticed_before_anything_is_loaded(
    capsys, monkeypatch, tmp_path, arguments, message
):
    def loaded(*args, **kwargs):
        raise AssertionError("loaded before the arguments were checked")

    for module, name in ((zoo.data, "load"), (loading, "load"), (download, "fetch")):
        monkeypatch.setattr(module, name, loaded)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a-file").touch()
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (1, "")
    assert message in err


def test_nothing_is_written_if_a_page_cannot_be(capsys, tmp_path):
    (tmp_path / "a-file").touch()
    code, _, err = run(
        capsys, "leaderboard", "--out", str(tmp_path / "site"), "--models",
        str(tmp_path / "a-file" / "MODELS.md"),
    )  # fmt: skip
    assert code == 1
    assert "a-file is a file, not a folder" in err
    assert not (tmp_path / "site").exists()


@pytest.mark.parametrize(
    "options",
    [
        ["linf-dist-digits", "lc-lmt-digits", "--norm", "linf", "--eps", "0.1"],
        ["linf-dist-digits", "--attacks", "fgsm,pdg"],
    ],
)
def test_no_image_is_certified_for_arguments_that_do_not_fit(capsys, monkeypatch, options):
    """The second of two models has no certificate of the norm; the second attack is no attack."""

    def certified(self, x, norm, method):
        raise AssertionError("certified before the arguments were checked")

    monkeypatch.setattr(zoo.models.LinfDistNet, "certified_radius", certified)
    code, out, err = run(capsys, "evaluate", *options, "--n", "2", "--quiet")
    assert (code, out) == (1, "")
    assert "no certificate for norm='linf'" in err or "got 'pdg'" in err


@pytest.mark.integration
@pytest.mark.parametrize("failure", [RuntimeError("out of memory"), KeyboardInterrupt()])
def test_what_was_measured_is_printed_when_a_later_model_fails(capsys, monkeypatch, failure):
    command = ["--n", "2", "--eps", "0.1", "--attacks", "fgsm", "--quiet"]
    command = ["evaluate", "linf-dist-digits", "lc-lmt-digits", *command]

    def fails(self, x, norm, method):
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr(type(zoo.load("lc-lmt-digits")), "certified_radius", fails)
        code, out, err = run(capsys, *command, "--json")
        assert code == (130 if isinstance(failure, KeyboardInterrupt) else 1)
        assert err == ("interrupted\n" if code == 130 else "error: out of memory\n")
        measured = json.loads(out)
        _, text, _ = run(capsys, *command)
    _, out, _ = run(capsys, *command, "--json")
    assert measured == json.loads(out)[:1]
    assert text.startswith("linf-dist-digits on digits/test\n")


def test_numbers_are_printed_when_a_file_cannot_be_written(capsys, monkeypatch, tmp_path):
    def full(*args, **kwargs):
        raise OSError("no space left on device")

    monkeypatch.setattr(evaluation.RobustnessReport, "plot", full)
    monkeypatch.setattr(np, "savez_compressed", full)
    common = ["linf-dist-digits", "--n", "2", "--eps", "0.1", "--quiet", "--json"]
    plot = ["--attacks", "fgsm", "--plot", str(tmp_path / "curve.png")]
    saved = tmp_path / "x.npz"
    for command, where in (
        (["evaluate", *common, *plot], ""),
        (["attack", *common, "--attack", "fgsm", "--save", str(saved)], f"cannot write {saved}: "),
    ):
        code, out, err = run(capsys, *command)
        assert (code, err) == (1, f"error: {where}no space left on device\n")
        assert json.loads(out)["n"] == 2


def test_json_of_no_images_has_no_nan(capsys, tmp_path, digits):
    path = tmp_path / "none.npz"
    np.savez(path, x_test=digits.images[:0], y_test=digits.labels[:0])
    code, out, _ = run(
        capsys, "evaluate", "linf-dist-digits", "--data", str(path), "--eps", "0.1", "--json",
        "--quiet",
    )  # fmt: skip
    assert code == 0
    assert "NaN" not in out
    assert json.loads(out)["rows"] == [
        {"eps": "0.1", "attacked": {"fgsm": None, "pgd": None, "all": None}, "certified": None}
    ]
    code, out, _ = run(
        capsys, "evaluate", "linf-dist-digits", "--data", str(path), "--eps", "0.1", "--quiet"
    )
    assert code == 0
    assert "nan" not in out


def test_usage_errors():
    with pytest.raises(SystemExit) as caught:
        main(["evaluate"])
    assert caught.value.code == 2


def test_the_installed_command():
    result = subprocess.run(
        [sys.executable, "-m", "zoo", "list", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(result.stdout)
    assert result.stderr == ""


def test_card_prints_what_is_shipped(capsys):
    code, out, _ = run(capsys, "card", "linf-dist-digits")
    assert code == 0
    shipped = catalog.WEIGHTS / "linf-dist-digits" / "README.md"
    assert out == shipped.read_text(encoding="utf-8") + "\n"


def test_the_page_shows_what_the_command_prints(capsys):
    page = pathlib.Path(__file__).parent.parent / "docs" / "command_line.md"
    command = "$ zoo list --dataset digits\n"
    _, found, shown = page.read_text("utf-8").partition(command)
    assert found
    _, out, _ = run(capsys, *command.split()[2:])
    assert shown.partition("```")[0].strip() == out.strip()


@pytest.fixture
def interruptible():
    """A shell that starts the tests in the background makes them ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Interrupting:
    """Python ignores what a destructor raises, as it does in a callback of the collector."""

    def __del__(self):
        raise KeyboardInterrupt


def test_an_interruption_that_python_ignores_is_not_lost(capsys, monkeypatch, interruptible):
    def work(options):
        Interrupting()
        for _ in range(200):
            time.sleep(0.05)
        return None, "finished"

    monkeypatch.setattr("zoo.cli.list_.run", work)
    hook = sys.unraisablehook
    code, out, err = run(capsys, "list")
    assert (code, out, err) == (130, "", "interrupted\n")
    assert sys.unraisablehook is hook


def test_an_interruption_that_is_lost_at_the_end_does_not_come_later(
    capsys, monkeypatch, interruptible
):
    def work(options):
        Interrupting()
        return None, "finished"

    monkeypatch.setattr("zoo.cli.list_.run", work)
    # Long enough for the command to end before.
    monkeypatch.setattr("zoo.cli._interruptions._DELAY", 0.4)
    assert run(capsys, "list") == (130, "finished\n", "interrupted\n")
    time.sleep(0.8)
