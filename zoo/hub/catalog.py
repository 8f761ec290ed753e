"""The catalog of checkpoints: the entries of ``weights_manifest.json`` as records."""

import difflib
import fnmatch
import json
import pathlib
import re
from typing import Any

from zoo.errors import UnknownModelError
from zoo.hub.records import Record, Records, ranked
from zoo.typing import NormLike
from zoo.utils.norms import norm_of
from zoo.utils.whole_file import write_whole

__all__ = ["Record", "Records", "info", "list_models", "write"]

_PACKAGE = pathlib.Path(__file__).parent.parent


def _shipped(name: str) -> pathlib.Path:
    """Path of a file that lies beside the package in a source tree, and inside it in a wheel."""
    inside = _PACKAGE / name
    return inside if inside.exists() else _PACKAGE.parent / name


MANIFEST = _shipped("weights_manifest.json")
SCHEMA = _shipped("weights_manifest.schema.json")
WEIGHTS = _shipped("weights")


def list_models(
    pattern: str = "*",
    *,
    dataset: str | None = None,
    norm: NormLike | None = None,
    approach: str | None = None,
    available: bool | None = None,
) -> Records:
    """List the checkpoints in the catalog that match; this needs no network.

    Args:
        pattern: pattern of the name, with the wildcards ``*`` and ``?``.
        dataset, approach: exact values that the checkpoints must have; None matches all.
        norm: norm of the certificate, ``"linf"`` or ``"l2"`` (``np.inf``, ``2`` and any case too);
            None matches all.
        available: True for the checkpoints that :func:`zoo.load` finds, here or on the Hub; False
            for those that have to be trained first; None for all.

    Returns:
        List of :class:`Record` that prints as a table, sorted by data set, norm and certified
        accuracy, the best first.

    Raises:
        TypeError: naming the argument that is of the wrong type.
        ValueError: for a data set, norm or approach that no checkpoint has, naming those they have.

    Examples:
        >>> import zoo
        >>> [record.name for record in zoo.list_models("linf-dist-*", dataset="digits")]
        ['linf-dist-digits']
    """
    wanted = {"dataset": dataset, "approach": approach}
    if not isinstance(pattern, str):
        raise TypeError(f"pattern must be text, such as 'linf-*', got {pattern!r}")
    for key, value in wanted.items():
        if not isinstance(value, (str, type(None))):
            raise TypeError(f"{key} must be text or None, got {value!r}")
    if not isinstance(available, (bool, type(None))):
        raise TypeError(f"available must be True, False or None, got {available!r}")
    wanted["norm"] = None if norm is None else norm_of(norm)
    records = _records()
    for key, value in wanted.items():
        known = sorted({str(getattr(record, key)) for record in records})
        if value is not None and value not in known:
            raise ValueError(f"no model has {key}={value!r}; there are: {', '.join(known)}")
    return ranked(
        record
        for record in records
        if fnmatch.fnmatchcase(record.name, pattern)
        and available in (None, record.available != "train it")
        and all(value in (None, getattr(record, key)) for key, value in wanted.items())
    )


def info(name: str) -> Record:
    """The record of one checkpoint.

    Args:
        name: name of the checkpoint in the catalog.

    Returns:
        :class:`Record`.

    Raises:
        TypeError: if the name is not text.
        zoo.UnknownModelError: if there is no such checkpoint; the message has the closest names.

    Examples:
        >>> import zoo
        >>> record = zoo.info("linf-dist-digits")
        >>> record.dataset, record.norm
        ('digits', 'linf')
    """
    if not isinstance(name, str):
        raise TypeError(f"name must be a catalog name, as in zoo.list_models(), got {name!r}")
    records = {record.name: record for record in _records()}
    if name in records:
        return records[name]
    if "/" in name:
        raise UnknownModelError(
            f"the catalog has names alone, not {name!r}; zoo.hub.describe() takes a folder or "
            "hf://org/repo[@revision]"
        )
    close = difflib.get_close_matches(name, records, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(close)}?" if close else f"there are: {', '.join(records)}"
    raise UnknownModelError(f"no model {name!r}; {hint}")


def in_source_tree() -> bool:
    """Whether the manifest is that of a source tree, and not of an installed package."""
    return MANIFEST.parent != _PACKAGE


def require_name(name: str) -> None:
    """Raise unless the manifest may have a model of this name.

    Args:
        name: name of a checkpoint, such as ``"linf-dist-mnist-0.1"``.

    Raises:
        ValueError: naming the name and what it has to look like.
    """
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    pattern = schema["$defs"]["model"]["properties"]["name"]["pattern"]
    if re.search(pattern, name) is None:
        raise ValueError(
            f"{name!r} cannot be the name of a checkpoint: it must consist of lower-case letters "
            "and digits, with hyphens between its parts, such as linf-dist-mnist-0.1"
        )


def write(record: Record) -> None:
    """Add a record to the manifest, or replace the record of the same name.

    The new manifest is first checked against its schema; then the file is replaced as a whole.

    Args:
        record: :class:`Record` with everything that was measured.

    Raises:
        ValueError: as :func:`check`.
    """
    write_whole(MANIFEST, _manifest_with(record))


def check(record: Record) -> None:
    """Raise the errors that :func:`write` would raise; nothing is written.

    Args:
        record: :class:`Record` with everything that was measured.

    Raises:
        ValueError: naming what does not fit the manifest's schema, or is NaN or infinite.
    """
    _manifest_with(record)


def _manifest_with(record: Record) -> str:
    import jsonschema

    models = [model for model in _read()["models"] if model["name"] != record.name]
    models.append(record.to_dict())
    manifest = {"models": sorted(models, key=lambda model: model["name"])}
    try:
        jsonschema.validate(manifest, json.loads(SCHEMA.read_text(encoding="utf-8")))
    except jsonschema.ValidationError as error:
        raise ValueError(
            f"with the entry of {record.name}, {MANIFEST} would not fit its schema: "
            f"{error.json_path}: {error.message}"
        ) from error
    return json.dumps(manifest, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _records() -> list[Record]:
    return [Record.from_dict(model) for model in _read()["models"]]


def _read() -> dict[str, Any]:
    return json.loads(MANIFEST.read_text(encoding="utf-8"))
