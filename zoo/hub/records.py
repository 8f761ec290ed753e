"""Dataclasses for the entries of ``weights_manifest.json``, and the conversion in both ways."""

import dataclasses
from collections.abc import Iterable
from typing import Any

from zoo.utils.wilson import wilson

# Keys that an entry lacks when their value is None; every other key is always written.
_OPTIONAL = frozenset({"cost", "minutes", "nearest", "seeds"})


@dataclasses.dataclass(frozen=True, kw_only=True)
class File:
    """One file of a checkpoint.

    Attributes:
        path: name of the file in the checkpoint's folder.
        size: in bytes.
        sha256: digest of the content, 64 hexadecimal digits.
    """

    path: str
    size: int
    sha256: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class HubLocation:
    """Where a checkpoint is published on the Hugging Face Hub.

    Attributes:
        repo_id: ``organisation/name``.
        revision: the commit, 40 hexadecimal digits.
    """

    repo_id: str
    revision: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class CertifiedResult:
    """Certified accuracy at one budget.

    Attributes:
        eps: budget as text, such as ``"0.1"`` or ``"8/255"``.
        norm: ``"linf"`` or ``"l2"``.
        method: name of the certificate.
        accuracy: fraction of the images, between 0 and 1.
        n: number of test images.
    """

    eps: str
    norm: str
    method: str
    accuracy: float
    n: int

    @property
    def interval(self) -> tuple[float, float]:
        """Interval of 95 % for the certified accuracy, see :func:`zoo.utils.wilson.wilson`."""
        return wilson(self.accuracy, self.n)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AttackResult:
    """Accuracy under one attack at one budget.

    Attributes:
        eps: budget as text, such as ``"0.1"`` or ``"8/255"``.
        norm: ``"linf"`` or ``"l2"``.
        attack: name of the attack.
        parameters: settings of the attack, by name.
        accuracy: fraction of the images, between 0 and 1.
        n: number of test images.
        spares_certified: whether the attack left out the images that are certified at the budget,
            which no attack can fool.
    """

    eps: str
    norm: str
    attack: str
    parameters: dict[str, Any]
    accuracy: float
    n: int
    spares_certified: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class NearestFlips:
    """How near certified radii are to the nearest images that are known to be classified otherwise.

    Attributes:
        median: of the distance of the nearest known flip over the certified radius, of all images
            with a radius; None if no flip is known for half of them.
        n: number of test images.
    """

    median: float | None
    n: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spread:
    """Mean and standard deviation of an accuracy over trainings that differ in their seed.

    Attributes:
        eps: budget as text; ``"0"`` for clean accuracy.
        mean: between 0 and 1.
        sd: standard deviation of a sample, whose divisor is the number of trainings less one.
    """

    eps: str
    mean: float
    sd: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Seeds:
    """Several trainings by one recipe. The shipped weights are those of the recipe's own seed.

    Attributes:
        seeds: the seeds of the trainings.
        accuracies: clean accuracy, then the certified accuracy at each budget by the tightest
            certificate.
    """

    seeds: list[int]
    accuracies: list[Spread]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cost:
    """The time that a certificate takes.

    Attributes:
        method: name of the certificate.
        milliseconds: wall-clock time per image.
        n: number of images that were timed.
        hardware: the machine that was timed.
    """

    method: str
    milliseconds: float
    n: int
    hardware: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measurement:
    """The accuracies and the cost that were measured for a checkpoint.

    Attributes:
        n: number of test images.
        split: the part of the data set that was measured, ``"test"``.
        clean: accuracy on the unchanged images, between 0 and 1.
        certified: certified accuracies; the first entry's method is the tightest one.
        attacked: accuracies under attack.
        seed: seed of the attacks.
        cost: cost of the certificate that ``certify`` chooses by default; None if not measured.
        nearest: the nearest flips that attacks find; None if not measured.
        seeds: trainings with several seeds; None if there was one.
    """

    n: int
    split: str
    clean: float
    certified: list[CertifiedResult]
    attacked: list[AttackResult]
    seed: int
    cost: Cost | None = None
    nearest: NearestFlips | None = None
    seeds: Seeds | None = None

    @classmethod
    def from_dict(cls, entry: dict[str, Any]) -> "Measurement":
        """A measurement from the ``metrics`` of a manifest entry."""
        cost, nearest, seeds = (entry.get(key) for key in ("cost", "nearest", "seeds"))
        nested = {
            "certified": [CertifiedResult(**result) for result in entry["certified"]],
            "attacked": [AttackResult(**result) for result in entry["attacked"]],
            "cost": None if cost is None else Cost(**cost),
            "nearest": None if nearest is None else NearestFlips(**nearest),
            "seeds": None if seeds is None else _seeds_from(seeds),
        }
        return cls(**{**entry, **nested})

    def best_certified(self) -> list[CertifiedResult]:
        """For each budget, the result of the method with the highest certified accuracy."""
        best: dict[str, CertifiedResult] = {}
        for result in self.certified:
            if result.eps not in best or result.accuracy > best[result.eps].accuracy:
                best[result.eps] = result
        return list(best.values())


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """How a checkpoint was trained.

    Attributes:
        recipe: name of the recipe.
        seed: seed of the run.
        epochs: number of passes over the images.
        minutes: the time limit that the run was given, or None if there was none.
        seconds: wall-clock time of the run.
        hardware: the machine it ran on.
        backend: the Keras backend.
        images: number of training images.
    """

    recipe: str
    seed: int
    epochs: int
    minutes: float | None = None
    seconds: float
    hardware: str
    backend: str
    images: int


@dataclasses.dataclass(frozen=True)
class Record:
    """One checkpoint: the manifest's keys as attributes.

    Attributes:
        name: ``<approach>-<dataset>``, with a qualifier in between if needed.
        approach: name of the approach, such as ``"linf-dist"``.
        dataset: name of the image set, a key of ``zoo.data.DATASETS``.
        norm: norm of the certificates, ``"linf"`` or ``"l2"``.
        architecture: a one-line description of the network.
        parameters: number of trainable parameters.
        files: list of :class:`~zoo.hub.records.File`.
        hub: :class:`~zoo.hub.records.HubLocation`, or None before publication.
        metrics: :class:`~zoo.hub.records.Measurement` on the test set.
        training: :class:`~zoo.hub.records.TrainingRun`.
        paper: citation of the approach's paper.
        license: identifier of the licence.
        notes: what a user should know, or an empty string.
        golden: logits for the images of :mod:`zoo.hub.golden`; None if not recorded.

    Example:

    >>> import zoo
    >>> record = zoo.info("linf-dist-digits")
    >>> record.metrics.n, record.metrics.certified[0].eps
    (500, '0.02')
    """

    name: str
    approach: str
    dataset: str
    norm: str
    architecture: str
    parameters: int
    files: list[File]
    hub: HubLocation | None
    metrics: Measurement
    training: TrainingRun
    paper: str
    license: str
    notes: str
    golden: list[list[float]] | None = None

    @classmethod
    def from_dict(cls, entry: dict[str, Any]) -> "Record":
        """A record from an entry of the manifest.

        Args:
            entry: dictionary of JSON's types, as :meth:`to_dict` returns it.

        Raises:
            ValueError: naming the checkpoint and the key that is missing or unknown.
        """
        try:
            hub = entry["hub"]
            nested = {
                "files": [File(**file) for file in entry["files"]],
                "hub": None if hub is None else HubLocation(**hub),
                "metrics": Measurement.from_dict(entry["metrics"]),
                "training": TrainingRun(**entry["training"]),
            }
            return cls(**{**entry, **nested})
        except KeyError as error:
            reason = f"it lacks the key {error}"
        except (AttributeError, TypeError) as error:
            reason = str(error)
        name = entry.get("name") if isinstance(entry, dict) else None
        raise ValueError(f"the manifest's entry of {name!r} is not a record: {reason}")

    @property
    def available(self) -> str:
        """Where the files can be loaded from.

        ``"here"`` if they ship with this installation, ``"hub"`` if they are published on the
        Hugging Face Hub, and ``"train it"`` if the recipe has to be trained first.
        """
        from zoo.hub import catalog

        if (catalog.WEIGHTS / self.name).is_dir():
            return "here"
        return "train it" if self.hub is None else "hub"

    @property
    def size(self) -> int:
        """Total size of all files in bytes."""
        return sum(file.size for file in self.files)

    def to_dict(self) -> dict[str, Any]:
        """The record as a dictionary of JSON's types, as the manifest stores it."""
        return dataclasses.asdict(self, dict_factory=_without_unset)

    def __str__(self) -> str:
        metrics, run = self.metrics, self.training
        measured = [("clean", metrics.clean, f"n = {metrics.n}")]
        for result in metrics.attacked:
            measured.append((_budget("attacked", result), result.accuracy, result.attack))
        for result in metrics.certified:
            measured.append((_budget("certified", result), result.accuracy, result.method))
        lines = [
            self.name,
            f"  {self.architecture}, {self.parameters:,} parameters, {self.size / 1e6:.1f} MB",
            f"  {self.approach} on {self.dataset}, {self.norm}; {self.paper}",
            *(f"  {what:<24}{_percent(value):>7}  {how}" for what, value, how in measured),
            f"  trained: {run.epochs} epochs, {run.seconds} s, {run.hardware}",
        ]
        return "\n".join([*lines, f"  {self.notes}"] if self.notes else lines)


class Records(list[Record]):
    """A list of records that prints as a table of the models and their accuracies."""

    def __str__(self) -> str:
        header = ("name", "available", "dataset", "norm", "MB", "clean", "certified accuracy")
        rows = [
            (
                record.name,
                record.available,
                record.dataset,
                record.norm,
                f"{record.size / 1e6:.1f}",
                _percent(record.metrics.clean),
                ", ".join(
                    f"{_percent(result.accuracy)} at {result.eps}"
                    for result in record.metrics.best_certified()
                ),
            )
            for record in self
        ]
        widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in [header, *rows]
        ]
        return "\n".join(lines)

    __repr__ = __str__


def _seeds_from(entry: dict[str, Any]) -> Seeds:
    return Seeds(
        seeds=entry["seeds"], accuracies=[Spread(**spread) for spread in entry["accuracies"]]
    )


def _without_unset(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    return {key: value for key, value in pairs if value is not None or key not in _OPTIONAL}


def _budget(kind: str, result: CertifiedResult | AttackResult) -> str:
    return f"{kind} {result.norm} {result.eps}"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2f}%"
