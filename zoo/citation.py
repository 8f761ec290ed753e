"""BibTeX entries of the papers whose methods the models use, and of this package."""

from zoo.errors import UnknownModelError
from zoo.papers import PAPERS, paper_of
from zoo.project import INDEX

_PACKAGE = """\
@software{{certifiedzoo,
  author = {{{{The certified-zoo developers}}}},
  title = {{certified-zoo: a {{Keras}} model zoo of certifiably robust image classifiers}},
  version = {{{version}}},
  url = {{{url}}},
}}"""


def cite(name: str | None = None) -> str:
    """BibTeX entries to cite for a model.

    Args:
        name: name of a checkpoint in the catalog, or an approach, such as ``"linf-dist"``, or a
            loss, ``"calibrated"``, ``"crm"`` or ``"mixture"``; None for this package alone.

    Returns:
        The entry of the paper that the model was trained by, and that of this package, separated by
        an empty line. If the checkpoint names a paper that :data:`zoo.papers.PAPERS` lacks, a
        comment with this paper stands in the place of its entry; if it names none, nothing does.

    Raises:
        TypeError: if the name is not text.
        zoo.UnknownModelError: if there is no such checkpoint, approach or loss; the message has the
            approaches and losses.

    Examples:
        >>> import zoo
        >>> print(zoo.cite("l2nnn-digits").split(",")[0])
        @inproceedings{qian2019l2nonexpansive
    """
    from zoo import __version__

    entries = [_PACKAGE.format(version=__version__, url=INDEX)]
    if name is not None:
        reference = PAPERS[name].reference if name in PAPERS else _paper_of_model(name)
        paper = PAPERS.get(name) or paper_of(reference)
        if paper is not None:
            entries.insert(0, paper.bibtex)
        elif reference:
            entries.insert(0, f"% {' '.join(reference.split())}")
    return "\n\n".join(entries)


def _paper_of_model(name: str) -> str:
    from zoo.hub import catalog

    try:
        return catalog.info(name).paper
    except UnknownModelError as error:
        raise UnknownModelError(f"{error}; approaches and losses: {', '.join(PAPERS)}") from None
