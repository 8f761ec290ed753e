"""The command line."""

import json
import subprocess
import sys

import numpy as np
import pytest

import zoo
from zoo import catalog
from zoo.cli import main


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
    code, out, _ = run(capsys, "list", "nothing")
    assert (code, out) == (0, "no model matches\n")
    code, out, _ = run(capsys, "info", "linf-dist-digits")
    assert "certified" in out


def test_evaluate(capsys, tmp_path):
    plot = tmp_path / "curve.png"
    code, out, _ = run(
        capsys, "evaluate", "linf-dist-digits", "--n", "40", "--eps", "0.05", "8/255",
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
    measured = [e["eps"] for e in zoo.info("linf-dist-digits").metrics["attacked"]]
    assert [line.split()[0] for line in out.splitlines()[3:]] == measured


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
    assert len(out.splitlines()) == 6


def test_attack_saves_images(capsys, tmp_path):
    path = tmp_path / "attacked.npz"
    code, out, _ = run(
        capsys, "attack", "linf-dist-digits", "--n", "8", "--eps", "0.1", "--attack", "pgd",
        "--steps", "3", "--restarts", "2", "--save", str(path), "--quiet", "--json",
    )  # fmt: skip
    assert code == 0
    result = json.loads(out)
    attacked = zoo.data.load(path, "test")
    assert np.abs(attacked.images - zoo.data.load("digits").images[:8]).max() <= 0.1 + 1e-7
    predicted = np.argmax(zoo.load("linf-dist-digits").logits(attacked.images), axis=1)
    assert result["accuracy"] == np.mean(predicted == attacked.labels)


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
    assert json.loads(out) == {"verified": ["linf-dist-digits"]}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["info", "linf-dist-digit"], "did you mean linf-dist-digits"),
        (["evaluate", "linf-dist-digits", "--eps", "much"], "eps must be a finite number"),
        (["evaluate", "linf-dist-digits", "--n", "0"], "--n must be at least 1"),
        (["attack", "linf-dist-digits", "--attack", "magic"], "attack must be one of"),
        (["certify", "linf-dist-digits", "--data", "no.npz"], "no such data file: no.npz"),
        (["certify", "linf-dist-digits", "--data", "imagenet"], "unknown image set 'imagenet'"),
        (["certify", "linf-dist-digits", "--method", "magic"], "method='magic'"),
        (["certify", "./nowhere", "--data", "digits"], "no such folder"),
        (["certify", "./nowhere"], "give --data"),
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


def test_usage_errors():
    with pytest.raises(SystemExit) as caught:
        main(["evaluate"])
    assert caught.value.code == 2


def test_the_installed_command():
    result = subprocess.run(
        [sys.executable, "-m", "zoo.cli", "list", "--json"],
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
