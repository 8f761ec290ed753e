"""Describe a checkpoint that is not in the catalog: one on the Hub, or in a folder."""

import contextlib
import dataclasses
import os
import pathlib
import re
from typing import Any

from zoo.errors import CheckpointError, DownloadError
from zoo.hub import download
from zoo.hub.checkpoint import CARD, CONFIG, WEIGHTS, not_a_folder, read_config
from zoo.hub.outline import outline_of
from zoo.typing import Norm, Path
from zoo.utils.paths import expanded
from zoo.utils.terminal import printable

_COMMIT = re.compile("[0-9a-f]{40}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Description:
    """What the files of a checkpoint say; it prints as a short text.

    Attributes:
        address: ``hf://org/repo@commit``, or the folder.
        kind: name of the model's class.
        certificates: (norm, method) pairs that models of the class can have; None if the class is
            not of this package.
        image_shape: ``(height, width, channels)``, or None if the configuration does not say it.
        num_classes: number of classes, likewise.
        size: of the weights in bytes, or None if it cannot be found out without a network.
        zoo_version: version of this package that wrote the checkpoint, or None.
        license: licence according to the card, or None.
        results: accuracies according to the card, by what was measured. Its author wrote them.
    """

    address: str
    kind: str
    certificates: tuple[tuple[Norm, str], ...] | None
    image_shape: tuple[int, ...] | None
    num_classes: int | None
    size: int | None
    zoo_version: str | None
    license: str | None
    results: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """The description as a dictionary of JSON's types."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        facts = [self.kind]
        if self.image_shape is not None:
            facts.append("images " + " × ".join(map(str, self.image_shape)))
        if self.num_classes is not None:
            facts.append(f"{self.num_classes} classes")
        if self.size is not None:
            facts.append(f"{self.size / 1e6:.1f} MB")
        lines = [self.address, "  " + ", ".join(facts)]
        if self.certificates:
            pairs = ", ".join(f"{norm} {method}" for norm, method in self.certificates)
            lines.append(f"  certificates: {pairs}")
        width = max(map(len, self.results), default=0)
        lines += [
            f"  {what:<{width}}  {accuracy:.2%}  according to its card"
            for what, accuracy in self.results.items()
        ]
        known = {"licence": self.license, "written by certified-zoo": self.zoo_version}
        lines += [f"  {what}: {v}" for what, v in known.items() if v]
        return "\n".join(map(printable, lines))


def describe(
    name: Path,
    *,
    revision: str | None = None,
    cache_dir: Path | None = None,
    local_files_only: bool = False,
) -> Description:
    """Describe a checkpoint on the Hub or in a folder, without its weights and without Keras.

    Args:
        name: ``hf://org/repo[@revision]``, the address of a repository on huggingface.co, or a
            folder.
        revision, cache_dir, local_files_only: as for :func:`zoo.load`.

    Returns:
        :class:`Description`.

    Raises:
        TypeError, ValueError: if the name is no text or path, or the address is malformed.
        zoo.UnknownModelError, zoo.CheckpointError: if it is no checkpoint.
        zoo.DownloadError: naming the file and why it could not be fetched.

    Examples:
        >>> import tempfile, zoo
        >>> model = zoo.models.LinfDistNet((8, 8, 1), 10, width=16, depth=2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     zoo.save(model, folder)
        ...     zoo.hub.describe(folder).kind
        'LinfDistNet'
    """
    download.check(name)
    address, size = os.fspath(name), None
    if hub := download.hub_address(name):
        repo, asked = hub
        config = download.download_file(
            repo, CONFIG, revision or asked, cache_dir, local_files_only
        )
        folder = config.parent
        if _COMMIT.fullmatch(folder.name):
            address = f"hf://{repo}@{folder.name}"
        size = _size_on_hub(repo, folder, local_files_only)
    else:
        folder = expanded(name)
        with contextlib.suppress(OSError):
            size = (folder / WEIGHTS).stat().st_size
    stored = read_config(folder)
    outline = outline_of(stored)
    try:
        license, results = _metadata(
            card_of(name, revision=revision, cache_dir=cache_dir, local_files_only=local_files_only)
        )
    except (CheckpointError, DownloadError):  # a checkpoint needs no card
        license, results = None, {}
    version = stored.get("zoo_version")
    return Description(
        address=address,
        kind=outline.kind,
        certificates=outline.certificates,
        image_shape=outline.image_shape,
        num_classes=outline.num_classes,
        size=size,
        zoo_version=None if version is None else str(version),
        license=license,
        results=results,
    )


def card_of(
    name: Path,
    *,
    revision: str | None = None,
    cache_dir: Path | None = None,
    local_files_only: bool = False,
) -> str:
    """The card of a checkpoint on the Hub or in a folder, as its author wrote it.

    Args:
        name, revision, cache_dir, local_files_only: as for :func:`describe`.

    Raises:
        ValueError: if the address is malformed.
        zoo.CheckpointError, zoo.DownloadError: if there is no card, or it cannot be fetched.
    """
    download.check(name)
    if hub := download.hub_address(name):
        repo, asked = hub
        path = download.download_file(repo, CARD, revision or asked, cache_dir, local_files_only)
    else:
        if expanded(name).is_file():
            raise not_a_folder(name)
        path = expanded(name) / CARD
        if not path.is_file():
            raise CheckpointError(f"{os.fspath(name)} has no {CARD}")
    return path.read_text(encoding="utf-8", errors="replace")


def _size_on_hub(repo: str, snapshot: pathlib.Path, local_files_only: bool) -> int | None:
    """Size of the weights of a snapshot, from the cache or from the Hub, or None."""
    import huggingface_hub

    with contextlib.suppress(OSError):
        return (snapshot / WEIGHTS).stat().st_size
    if local_files_only:
        return None
    try:
        url = huggingface_hub.hf_hub_url(repo, WEIGHTS, revision=snapshot.name)
        return huggingface_hub.get_hf_file_metadata(url).size
    except Exception:  # the client and its HTTP library raise many types; the size is not vital
        return None


def _metadata(text: str) -> tuple[str | None, dict[str, float]]:
    """Licence and accuracies from a card's metadata; None and ``{}`` if the metadata lacks them."""
    from huggingface_hub import ModelCard

    try:
        data: Any = ModelCard(text, ignore_metadata_errors=True).data
    except Exception:  # YAML and the client raise many types of errors for malformed metadata
        return None, {}
    results = {
        str(result.metric_name or result.metric_type): float(result.metric_value)
        for result in getattr(data, "eval_results", None) or []
        if isinstance(result.metric_value, (int, float))
    }
    license = getattr(data, "license", None)
    return license if isinstance(license, str) else None, results
