"""Dataclasses for the entries of ``weights_manifest.json``, and the conversion in both ways."""

import dataclasses
import html
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from zoo.epsilon import Epsilon
from zoo.utils.table import Column, Table, percent
from zoo.utils.wilson import wilson

if TYPE_CHECKING:
    from zoo.hub.curve import Curve

# A terminal of the usual width.
_COLUMNS = 80
# Keys that an entry lacks when their value is None; every other key is always written.
_OPTIONAL = frozenset({"cost", "first_seconds", "minutes", "nearest", "seeds"})


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
        median: the median, over all images with a positive radius, of the distance of the nearest
            known image with another answer divided by the radius; None if no such image is known
            for half of them.
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
        milliseconds: wall-clock time for each further image.
        n: number of images that were timed.
        hardware: the machine that was timed.
        first_seconds: wall-clock time for the first image after the model was loaded. Functions are
            compiled and the weights are analysed meanwhile. None if not measured.
    """

    method: str
    milliseconds: float
    n: int
    hardware: str
    first_seconds: float | None = None

    def __str__(self) -> str:
        if self.first_seconds is None:
            return f"{self.milliseconds} ms an image, {self.hardware}"
        first = f"{self.first_seconds} s for the first image"
        return f"{first}, {self.milliseconds} ms for each further one, {self.hardware}"


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
        """For each norm and budget, the result of the method with the highest accuracy."""
        best: dict[tuple[str, str], CertifiedResult] = {}
        for result in self.certified:
            key = result.norm, result.eps
            if key not in best or result.accuracy > best[key].accuracy:
                best[key] = result
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


@dataclasses.dataclass(frozen=True, repr=False)
class Record:
    """One checkpoint: the manifest's keys as attributes.

    Attributes:
        name: ``<approach>-<dataset>``, with a qualifier in between or at the end if needed.
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

    Examples:
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
    def curve(self) -> "Curve | None":
        """The certified-accuracy curve, see :class:`zoo.hub.curve.Curve`; None if not stored."""
        from zoo.hub.curve import curve_of

        return curve_of(self)

    @property
    def size(self) -> int:
        """Total size of all files in bytes."""
        return sum(file.size for file in self.files)

    def __repr__(self) -> str:
        return f"Record({self.name!r})"

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
            *(f"  {what:<24}{percent(value):>7}  {how}" for what, value, how in measured),
            f"  trained: {run.epochs} epochs, {run.seconds} s, {run.hardware}",
        ]
        if metrics.cost:
            lines.append(f"  {metrics.cost.method}: {metrics.cost}")
        return "\n".join([*lines, f"  {self.notes}"] if self.notes else lines)

    def _repr_html_(self) -> str:
        """What a notebook shows: what is known, and a table of the accuracies."""
        metrics, run = self.metrics, self.training
        results = [*metrics.attacked, *metrics.certified]
        rows: list[tuple[Any, ...]] = [("clean", "", "", metrics.clean, metrics.n)]
        for result in results:
            how = result.attack if isinstance(result, AttackResult) else result.method
            kind = "attacked" if isinstance(result, AttackResult) else "certified"
            rows.append((f"{kind}: {how}", result.norm, result.eps, result.accuracy, result.n))
        what, norms, budgets, accuracies, counts = zip(*rows, strict=True)
        table = Table(
            [
                Column("measured", what, left=True),
                Column("norm", norms, left=True),
                Column("eps", budgets),
                Column("accuracy", accuracies, percent),
                Column("images", counts),
            ]
        )
        lines = [
            f"{self.architecture}, {self.parameters:,} parameters, {self.size / 1e6:.1f} MB",
            f"{self.approach} on {self.dataset}, {self.norm}; {self.paper}",
            f"trained: {run.epochs} epochs, {run.seconds} s, {run.hardware}",
            *([f"{metrics.cost.method}: {metrics.cost}"] if metrics.cost else []),
            *([self.notes] if self.notes else []),
        ]
        text = "<br>".join(map(html.escape, lines))
        return f"<p><b>{html.escape(self.name)}</b><br>{text}</p>{table.to_html()}"


class Records(list[Record]):
    """A list of records that prints as tables of the models and their certified accuracies.

    There is one table for each data set and norm, with a column for each budget. The tables fit
    into a terminal of 80 columns: budgets that do not are left out, those that the fewest models
    were measured at first. ``zoo info NAME`` shows all of them.
    """

    def __str__(self) -> str:
        return "\n\n".join(f"{title}\n{table}" for title, table in self._tables(_COLUMNS))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return "".join(
            f"<p><b>{html.escape(title)}</b></p>{table.to_html()}"
            for title, table in self._tables()
        )

    def to_latex(self) -> str:
        r"""The tables in LaTeX, one below the other; they need ``\usepackage{booktabs}``."""
        return "\n\n".join(f"% {title}\n{table.to_latex()}" for title, table in self._tables())

    def to_frame(self) -> Any:
        """All records as one ``pandas.DataFrame``, with a row for each model; needs pandas.

        The columns ``certified EPS`` have the best certified accuracy at a budget, and no number
        where the model was not measured there.
        """
        keys = ("name", "approach", "dataset", "norm", "architecture", "parameters")
        columns = [Column(key, [getattr(record, key) for record in self]) for key in keys]
        columns.append(Column("bytes", [record.size for record in self]))
        columns.append(Column("available", [record.available for record in self]))
        columns.append(Column("n", [record.metrics.n for record in self]))
        columns.append(Column("clean", [record.metrics.clean for record in self]))
        columns += [_certified(self, eps) for eps in _budgets(self)]
        return Table(columns).to_frame()

    def _tables(self, width: int | None = None) -> list[tuple[str, Table]]:
        """Pairs of a title and a table for each data set and norm, in the order of the records."""
        groups: dict[tuple[str, str], list[Record]] = {}
        for record in self:
            groups.setdefault((record.dataset, record.norm), []).append(record)
        return [
            (f"{dataset}, {norm}: certified accuracy at each budget", _group(records, width))
            for (dataset, norm), records in groups.items()
        ]


def ranked(records: Iterable[Record]) -> Records:
    """Sort records by data set, norm and certified accuracy, the best first.

    The certified accuracies are compared at the largest budget at which all models of the data set
    and norm were measured; without one, at the budget of the most models. Where they are equal, the
    other budgets decide in the same order.
    """
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        groups.setdefault((record.dataset, record.norm), []).append(record)
    found = Records()
    for _, group in sorted(groups.items()):
        budgets = sorted(_budgets(group), key=lambda eps: (-_count(group, eps), -float(eps)))
        accuracies = [_certified(group, eps).values for eps in budgets]

        def rank(place: int, accuracies: Any = accuracies, group: Any = group) -> Any:
            own = [-1.0 if column[place] is None else column[place] for column in accuracies]
            return [-accuracy for accuracy in own], group[place].name

        found += [group[place] for place in sorted(range(len(group)), key=rank)]
    return found


def _group(records: list[Record], width: int | None) -> Table:
    """The table of the models of one data set and norm, not wider than ``width`` if possible."""
    columns = [Column("name", [record.name for record in records], left=True)]
    if any(record.available != "here" for record in records):
        columns.append(Column("where", [record.available for record in records], left=True))
    columns += [
        Column("MB", [record.size / 1e6 for record in records], "{:.1f}".format),
        Column("clean", [record.metrics.clean for record in records], percent),
    ]
    budgets = _budgets(records)
    while True:
        table = Table([*columns, *(_certified(records, eps, str(eps)) for eps in budgets)])
        if width is None or table.width <= width or len(budgets) < 2:
            return table
        budgets.remove(min(budgets, key=lambda eps: (_count(records, eps), float(eps))))


def _certified(records: list[Record], eps: Epsilon, name: str | None = None) -> Column:
    """The best certified accuracy of each record at a budget, None where there is none."""
    found = [
        max((r.accuracy for r in record.metrics.certified if _is_at(record, r, eps)), default=None)
        for record in records
    ]
    return Column(name or f"certified {eps}", found, percent)


def _is_at(record: Record, result: CertifiedResult, eps: Epsilon) -> bool:
    return result.norm == record.norm and Epsilon(result.eps) == eps


def _budgets(records: Iterable[Record]) -> list[Epsilon]:
    """The budgets at which any of the models was certified, in ascending order."""
    found = {
        Epsilon(result.eps)
        for record in records
        for result in record.metrics.certified
        if result.norm == record.norm
    }
    return sorted(found, key=float)


def _count(records: list[Record], eps: Epsilon) -> int:
    """The number of models that were certified at a budget."""
    return sum(value is not None for value in _certified(records, eps).values)


def _seeds_from(entry: dict[str, Any]) -> Seeds:
    return Seeds(
        seeds=entry["seeds"], accuracies=[Spread(**spread) for spread in entry["accuracies"]]
    )


def _without_unset(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    return {key: value for key, value in pairs if value is not None or key not in _OPTIONAL}


def _budget(kind: str, result: CertifiedResult | AttackResult) -> str:
    return f"{kind} {result.norm} {result.eps}"
