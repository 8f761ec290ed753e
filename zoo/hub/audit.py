"""Audit a checkpoint folder, in a process of its own, before it is published."""

import json
import math
import os
import pathlib
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from zoo.data import as_text, is_own
from zoo.errors import AuditError
from zoo.hub import download
from zoo.hub.checkpoint import CARD, CONFIG, CURVE, PICTURE, WEIGHTS
from zoo.hub.golden import TOLERANCE
from zoo.hub.records import Record
from zoo.typing import Path
from zoo.utils import checks

# By how many standard deviations the accuracy on a sample may differ from that on all images.
_SIGMAS = 4.0


def audit(
    folder: Path, record: Record, *, sample: int = 100, data: Path | None = None
) -> dict[str, Any]:
    """Check that a staged folder agrees with its record in the catalog.

    The audit compares the size and sha256 of every file, the model card, and the card's metadata.
    Then it loads the folder in a fresh process and compares the golden logits, the clean accuracy,
    and the certified accuracies of the first certificate. The accuracies are measured on the first
    of the recorded test images, and may differ from the recorded ones by as much as such a sample
    can. FGSM and a short PGD must not break a certificate.

    Args:
        folder: holds ``config.json``, ``model.weights.h5`` and ``README.md``, perhaps
            ``curve.json`` and ``curve.png``, and nothing else.
        record: :class:`zoo.hub.records.Record` of the checkpoint.
        sample: number of test images to measure again.
        data: an ``.npz`` file to use instead of the record's image set.

    Returns:
        What was measured: a dictionary ready for JSON.

    Raises:
        zoo.AuditError, zoo.IntegrityError: naming what does not agree.
    """
    folder = pathlib.Path(folder)
    sample = checks.positive_integer(sample, "sample")
    names = {path.name for path in folder.iterdir()}
    if names - {CURVE, PICTURE} != {CONFIG, WEIGHTS, CARD}:
        raise AuditError(
            f"{folder} holds {sorted(names)}; a checkpoint is {CONFIG}, {WEIGHTS}, {CARD}"
        )
    for file in record.files:
        download.check_file(folder / file.path, file.size, file.sha256)
    _check_card(folder / CARD, record)
    measured = _in_a_fresh_process(_request(folder, record, sample, data))
    _check_numbers(measured, record)
    return measured


def audit_own(
    folder: Path,
    *,
    golden: list[list[float]] | None = None,
    sample: int = 100,
    data: Path | None = None,
    eps: Sequence[str] = (),
) -> dict[str, Any]:
    """Check that a staged model that is not in the catalog loads, and measure it.

    The folder is loaded in a fresh process, which knows nothing of this one: a class or a layer
    that only this process defines is noticed. There the model certifies two images. With ``data``,
    its accuracies are measured, and FGSM and a short PGD must not break a certificate.

    Args:
        folder: holds ``config.json`` and ``model.weights.h5``.
        golden: logits (:mod:`zoo.hub.golden`) that the model must have; None skips this check.
        sample: number of test images to measure.
        data: name of an image set, or an ``.npz`` file; None measures no accuracy.
        eps: budgets of the certified and attacked accuracies.

    Returns:
        What was found: a dictionary ready for JSON. ``model`` describes the model; with ``data``
        there are ``n``, ``clean``, ``certified``, ``attacked``, ``norm``, ``method`` and ``data``.

    Raises:
        zoo.AuditError: naming what is wrong.
    """
    folder = pathlib.Path(folder)
    measured = _in_a_fresh_process(
        {
            "folder": str(folder.resolve()),
            "data": None if data is None else as_text(data),
            "sample": checks.positive_integer(sample, "sample"),
            "shuffled": data is not None and is_own(data),
            "norm": None,
            "method": None,
            "eps": list(eps),
            "golden": golden,
        }
    )
    difference = measured["golden difference"]
    if difference is not None and not difference <= TOLERANCE:
        raise AuditError(
            f"the stored model has other logits than the given one; they differ by {difference:g}"
        )
    if data is not None and not measured["n"]:
        raise AuditError(f"{data} has no test images to measure the model on")
    return measured


def _check_card(path: pathlib.Path, record: Record) -> None:
    """Raise unless the card is that of the record, and its metadata has the clean accuracy.

    The Hub shows the numbers in the metadata.
    """
    from huggingface_hub import ModelCard

    from zoo.hub.card import card

    text = path.read_text(encoding="utf-8")
    if text != card(record, path.parent):
        raise AuditError(f"{path} is not the card of {record.name} as the catalog has it")
    if PICTURE in text and not (path.parent / PICTURE).is_file():
        raise AuditError(f"{path} shows {PICTURE}, which is missing")
    results = getattr(ModelCard(text).data, "eval_results", None) or []
    shown = {result.metric_name: result.metric_value for result in results}
    if shown.get("clean accuracy") != record.metrics.clean:
        raise AuditError(f"{path}: its metadata lacks the clean accuracy")


def _request(
    folder: pathlib.Path, record: Record, sample: int, data: Path | None
) -> dict[str, Any]:
    method = record.metrics.certified[0].method
    return {
        "folder": str(folder.resolve()),
        "data": record.dataset if data is None else as_text(data),
        "sample": min(sample, record.metrics.n),
        "shuffled": is_own(record.dataset),
        "norm": record.norm,
        "method": method,
        "eps": [result.eps for result in record.metrics.certified if result.method == method],
        "golden": record.golden,
    }


def _in_a_fresh_process(request: dict[str, Any]) -> dict[str, Any]:
    package = str(pathlib.Path(__file__).resolve().parents[2])
    path = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", "zoo.hub.audit"],
        input=json.dumps(request),
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        # A file of the working folder that is called like a module must not be imported.
        env={
            **os.environ,
            "PYTHONPATH": path,
            "PYTHONSAFEPATH": "1",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        },
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        folder = request["folder"]
        raise AuditError(f"{folder} could not be measured in a fresh process: {last}")
    return json.loads(done.stdout.splitlines()[-1])


def _check_numbers(measured: dict[str, Any], record: Record) -> None:
    name, metrics, n = record.name, record.metrics, measured["n"]
    if n == 0:
        raise AuditError(f"there are no test images to measure {name} on")
    if measured["golden difference"] is None:
        raise AuditError(f"the catalog has no golden logits of {name}; `python -m training "
                         f"{name} --cost` writes them")  # fmt: skip
    if not (difference := measured["golden difference"]) <= TOLERANCE:
        raise AuditError(
            f"{name} has other logits than when it was measured; they differ by {difference:g}"
        )
    whole = n >= metrics.n

    def compare(what: str, found: float, recorded: float) -> None:
        spread = _SIGMAS * math.sqrt(recorded * (1 - recorded) / n) + 1 / n
        allowed = 0.0005 if whole else spread
        if abs(found - recorded) > allowed + 1e-9:
            raise AuditError(
                f"{name}: {what} is {found:.4f} on {n} test images; the catalog says "
                f"{recorded:.4f} on {metrics.n}"
            )

    compare("clean accuracy", measured["clean"], metrics.clean)
    method = metrics.certified[0].method
    for result in metrics.certified:
        if result.method == method:
            found = measured["certified"][result.eps]
            compare(f"certified accuracy at {result.eps}", found, result.accuracy)


def measure(request: dict[str, Any]) -> dict[str, Any]:
    """Load a checkpoint folder and measure it; the request is all that this process is given.

    Raises:
        zoo.AuditError: if a logit is NaN or infinite.
    """
    from zoo import data
    from zoo.evaluation import evaluate
    from zoo.hub import checkpoint, golden
    from zoo.utils.backend import start_in_float32

    start_in_float32()
    model = checkpoint.load(request["folder"])
    if not all(math.isfinite(value) for row in golden.logits(model) for value in row):
        raise AuditError("the model's logits are not finite, so it classifies nothing")
    expected = request["golden"]
    measured = {
        "golden difference": None if expected is None else golden.difference(model, expected),
        "model": {
            "class": type(model).__name__,
            "architecture": model.architecture,
            "parameters": int(sum(math.prod(w.shape) for w in model.trainable_weights)),
            "image_shape": list(model.image_shape),
            "num_classes": model.num_classes,
            "certificates": [list(pair) for pair in model.certificates],
            "paper": model.paper,
        },
    }
    if request["data"] is None:
        model.certify(golden.images(model.image_shape))
        return measured
    images = data.load(request["data"], "test")
    if request["shuffled"]:  # a user's own files may be sorted by class
        images = images.shuffled()
    images = images.take(request["sample"])
    # `evaluate` raises an error if an attack breaks a certificate.
    report = evaluate(
        model,
        images.images,
        images.required_labels(),
        eps=request["eps"],
        norm=request["norm"],
        attacks=("fgsm", "pgd"),
        params={"pgd": {"steps": 10, "restarts": 1}},
    )
    found = report.certificate
    if request["method"] not in (None, report.method):
        found = model.certify(images.images, norm=request["norm"], method=request["method"])
    return {
        **measured,
        "data": images.name.partition("/")[0],
        "norm": report.norm,
        "method": found.method,
        "n": report.n,
        "clean": report.clean,
        "certified": {eps: found.accuracy(images.required_labels(), eps) for eps in request["eps"]},
        "attacked": {row["eps"]: row["attacked"]["all"] for row in report.rows},
    }


if __name__ == "__main__":
    # Used by `audit` and `audit_own` alone. A command line would be too short for the golden logits
    # of a model with many classes.
    request = json.load(sys.stdin)
    # Unlike standard JSON, this keeps NaN and infinity, which the checks have to see.
    print(json.dumps(measure(request)))
