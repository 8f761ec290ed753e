"""Certified accuracies that papers print, for comparison with the zoo's checkpoints."""

import dataclasses
import pathlib
import tomllib

_FILE = pathlib.Path(__file__).with_name("published.toml")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PublishedResult:
    """A certified accuracy that a paper prints. Nothing of it was measured here.

    Attributes:
        dataset: name of the data set, as in a record.
        norm: ``"linf"`` or ``"l2"``.
        eps: budget as text, such as ``"0.3"`` or ``"8/255"``.
        name: what was certified.
        certified: accuracy in percent.
        clean: accuracy in percent; None if the source prints none.
        source: authors, title, venue and year.
        deterministic: whether the certificate holds for certain.
        caveat: what has to be known before comparing; empty if nothing.
    """

    dataset: str
    norm: str
    eps: str
    name: str
    certified: float
    source: str
    clean: float | None = None
    deterministic: bool = True
    caveat: str = ""

    @property
    def short_source(self) -> str:
        """The source in a few words: its authors, at most two by name, the venue and the year.

        Examples:
            >>> from zoo.evaluation.leaderboard.published import published
            >>> published("cifar10", "linf")[0].short_source
            'Zhang et al., ICLR 2022'
        """
        authors, _, rest = self.source.partition(": ")
        names = authors.split(", ")
        short = " and ".join(names) if len(names) < 3 else f"{names[0]} et al."
        return f"{short}, {rest.rpartition(', ')[2]}"


def published(dataset: str | None = None, norm: str | None = None) -> list[PublishedResult]:
    """Published results, those of one budget from the highest certified accuracy to the lowest.

    Args:
        dataset, norm: results for this data set and this norm alone; None for all.

    Returns:
        List of :class:`PublishedResult`.

    Examples:
        >>> from zoo.evaluation.leaderboard.published import published
        >>> [result.certified for result in published("cifar10", "linf")]
        [54.3, 40.1]
    """
    entries = tomllib.loads(_FILE.read_text(encoding="utf-8"))["result"]
    found = [
        result
        for result in (PublishedResult(**entry) for entry in entries)
        if dataset in (None, result.dataset) and norm in (None, result.norm)
    ]
    return sorted(found, key=lambda result: -result.certified)
