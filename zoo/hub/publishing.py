"""Publish models on the Hugging Face Hub: stage, audit and upload them, and pin their revisions."""

import contextlib
import dataclasses
import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from zoo import data as image_sets
from zoo.epsilon import budgets_of
from zoo.errors import PublishError, ZooError
from zoo.hub import audit, catalog, download, own_card, own_model, upload
from zoo.hub.card import card
from zoo.hub.checkpoint import CARD, CONFIG, CURVE, PICTURE, WEIGHTS
from zoo.hub.records import HubLocation, Record
from zoo.typing import Budget, Path
from zoo.utils import checks
from zoo.utils.first_line import first_line
from zoo.utils.progress import track
from zoo.utils.whole_file import require_writable

if TYPE_CHECKING:
    from zoo.models import CertifiedModel

_PART = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_TO = re.compile(f"(?P<organisation>{_PART})(?:/(?P<name>{_PART}))?")


def publish(
    model: "Path | CertifiedModel",
    to: str,
    *,
    private: bool = False,
    dry_run: bool = False,
    sample: int = 100,
    data: Path | None = None,
    eps: Budget | Sequence[Budget] = (),
    license: str | None = None,
) -> dict[str, Any]:
    """Publish a model on the Hugging Face Hub, in a repository of its own.

    The files are copied to a temporary folder and audited in a fresh process before anything is
    sent. It is safe to call this again, also after an interruption: what the repository already has
    is not sent again. In the end the files are downloaded from the Hub and compared.

    A checkpoint of the catalog is audited against its entry (:func:`zoo.hub.audit.audit`). Last,
    the revision is pinned in the catalog of the source tree; the catalog of an installed package
    is never changed.

    Any other model must load, and certify, in the fresh process
    (:func:`zoo.hub.audit.audit_own`). Its card says how to load it from the Hub. If the folder has
    a ``README.md``, that is the card, with a section on loading if it does not have the address.

    Args:
        model: name of a checkpoint in the catalog, a checkpoint folder (as text with a separator,
            or a path), a ``.keras`` file, or a :class:`zoo.models.CertifiedModel`.
        to: ``"organisation/name"`` of the repository. The name may be left out; it is then that of
            the checkpoint, folder or file.
        private: whether a new repository is private. An existing one stays as it is.
        dry_run: whether to stop after the audit. This needs no token and no network.
        sample: number of test images that the audit measures.
        data: an ``.npz`` file, or the name of an image set, to measure accuracies on. None is the
            image set of a checkpoint in the catalog; for any other model, nothing is measured.
        eps: perturbation budgets of the accuracies on the card, for a model that is not in the
            catalog.
        license: identifier of the weights' licence on the card, such as ``"mit"``, for a model that
            is not in the catalog.

    Returns:
        Dictionary: ``name``, ``repo_id``, ``revision`` (None after a dry run), ``pinned`` (bool:
        whether the catalog now names this revision), ``files`` with their sizes, and what the
        ``audit`` measured.

    Raises:
        zoo.UnknownModelError: if the catalog does not have the name.
        TypeError, ValueError, FileNotFoundError: naming the argument that is wrong.
        zoo.CheckpointError: naming the file or folder, and what is wrong with it.
        zoo.AuditError: naming what does not agree. Nothing has been sent.
        zoo.IntegrityError: naming a file that is not as expected, before anything is sent or when
            the uploaded files are compared. The revision has not been pinned.
        zoo.PublishError: if there is no token, or naming what the Hub refused.
        zoo.DownloadError: if the uploaded files cannot be downloaded again. The revision has not
            been pinned.
        OSError: if the catalog cannot be written. This is checked before anything is sent.

    Examples:
        >>> import zoo
        >>> model = zoo.models.LinfDistNet((8, 8, 1), 10, width=16, depth=2)
        >>> zoo.publish(model, "someone/mine", dry_run=True)["audit"]["model"]["class"]
        'LinfDistNet'
    """
    checks.true_or_false(private, "private")
    checks.true_or_false(dry_run, "dry_run")
    checks.positive_integer(sample, "sample")
    if data is not None:
        image_sets.check(data)
    budgets = [str(budget) for budget in budgets_of(eps)]
    if _is_catalog_name(model):
        download.check(str(model))
        record = catalog.info(str(model))
        if budgets or license is not None:
            raise ValueError(f"eps and license of {record.name} are those of the catalog")
        repo = _repository(to, record.name)
        token = None if dry_run else _require_access(pins=True)
        return _publish_record(record, repo, private, dry_run, sample, data, token)
    if isinstance(model, (str, os.PathLike)):
        if download.hub_address(model):
            raise ValueError(f"{model} is on the Hub already")
        model = os.path.expanduser(model)
    own_model.check(model)
    own_text = _card_of_folder(model)
    if license is not None and own_text is not None:
        raise ValueError(f"license is for a new card, but {model} has a {CARD}; name it there")
    if budgets and data is None:
        raise ValueError("eps is for accuracies, which need data: an image set or an .npz file")
    repo = _repository(to, _name_of(model))
    token = None if dry_run else _require_access(pins=False)
    with _stage() as stage:
        golden = own_model.stage(model, stage)
        measured = audit.audit_own(stage, golden=golden, sample=sample, data=data, eps=budgets)
        text = own_card.own_card(repo, measured, license)
        if own_text is not None:
            text = own_card.with_address(own_text, repo, measured)
        # The name of a data file may be no text in UTF-8; the card has to be.
        text = text.encode("utf-8", "replace").decode()
        (stage / CARD).write_text(text, encoding="utf-8", newline="\n")
        revision = None if dry_run else _upload(stage, repo, private, token)
        return _result(repo.partition("/")[2], repo, revision, stage, measured)


def publish_all(
    to: str,
    *,
    private: bool = False,
    dry_run: bool = False,
    sample: int = 100,
    verbose: int = 0,
) -> Iterator[dict[str, Any]]:
    """Publish every checkpoint of the catalog, and yield what became of each.

    A checkpoint that cannot be published does not stop the others. After an interruption the same
    call goes on: a checkpoint that is pinned, and whose copy on the Hub is the one here, is neither
    audited nor sent again.

    Args:
        to: organisation or user on the Hub.
        private, dry_run, sample: as for :func:`publish`.
        verbose: 1 shows a progress bar.

    Yields:
        Dictionary: ``name``; ``status``, which is ``"published"``, ``"unchanged"``, ``"audited"``
        (by a dry run) or ``"failed"``; ``repo_id``, ``revision`` (or None), and ``error`` (or
        None).

    Raises:
        ValueError, TypeError: naming the argument that is wrong.
        zoo.PublishError: if there is no token, or if this is an installed package, whose catalog
            cannot keep the revisions.
        OSError: if the catalog cannot be written.
    """
    checks.true_or_false(private, "private")
    checks.true_or_false(dry_run, "dry_run")
    checks.positive_integer(sample, "sample")
    if "/" in str(to):
        raise ValueError(f"to must be an organisation or user on the Hub, got {to!r}")
    records = catalog.list_models()
    repositories = {record.name: _repository(to, record.name) for record in records}
    if not dry_run and not catalog.in_source_tree():
        raise PublishError(
            f"{catalog.MANIFEST} belongs to an installed package and is not changed; publish all "
            "checkpoints from a source tree, whose weights_manifest.json will name their revisions"
        )
    token = None if dry_run else _require_access(pins=True)

    def results() -> Iterator[dict[str, Any]]:
        for record in track(records, "publishing", show=verbose):
            repo = repositories[record.name]
            result = {"name": record.name, "repo_id": repo, "revision": None, "error": None}
            try:
                hub = record.hub
                if not dry_run and hub is not None and _is_on_hub(record, hub, repo):
                    yield {**result, "status": "unchanged", "revision": hub.revision}
                    continue
                done = _publish_record(record, repo, private, dry_run, sample, None, token)
                status = "audited" if dry_run else "published"
                yield {**result, "status": status, "revision": done["revision"]}
            except Exception as error:
                text = str(error) if isinstance(error, ZooError) else first_line(error)
                yield {**result, "status": "failed", "error": text}

    return results()


def _publish_record(
    record: Record,
    repo: str,
    private: bool,
    dry_run: bool,
    sample: int,
    data: Path | None,
    token: str | None,
) -> dict[str, Any]:
    with _stage() as stage:
        _stage_record(record, stage)
        measured = audit.audit(stage, record, sample=sample, data=data)
        revision = None if dry_run else _upload(stage, repo, private, token)
        if revision is not None and catalog.in_source_tree():
            _pin(record, HubLocation(repo_id=repo, revision=revision))
        return _result(record.name, repo, revision, stage, measured)


def _stage_record(record: Record, stage: pathlib.Path) -> None:
    source = download.fetch(record.name)
    for file in (CONFIG, WEIGHTS):
        shutil.copyfile(source / file, stage / file)
    for file in (CURVE, PICTURE):
        if (source / file).is_file():
            shutil.copyfile(source / file, stage / file)
    (stage / CARD).write_text(card(record, stage), encoding="utf-8", newline="\n")


def _is_on_hub(record: Record, pinned: HubLocation, repo: str) -> bool:
    """Whether the pinned revision in this repository has the files and the card that are here."""
    if pinned.repo_id != repo:
        return False
    with _stage() as stage:
        _stage_record(record, stage)
        try:
            upload.check(repo, pinned.revision, stage)
        except ZooError:
            return False
    return True


def _pin(record: Record, pinned: HubLocation) -> None:
    current = catalog.info(record.name)
    if current != record:
        raise PublishError(
            f"the catalog's entry of {record.name} changed while its files were being published, "
            "so that the revision has not been pinned; publish it again"
        )
    if record.hub != pinned:
        catalog.write(dataclasses.replace(record, hub=pinned))


def _upload(stage: pathlib.Path, repo: str, private: bool, token: str | None) -> str:
    revision = upload.send(stage, repo, private=private, token=token)
    upload.check(repo, revision, stage)
    return revision


def _result(
    name: str, repo: str, revision: str | None, stage: pathlib.Path, measured: dict[str, Any]
) -> dict[str, Any]:
    pinned = {record.hub.revision for record in catalog.list_models() if record.hub is not None}
    return {
        "name": name,
        "repo_id": repo,
        "revision": revision,
        "pinned": revision in pinned,
        "files": {path.name: path.stat().st_size for path in sorted(stage.iterdir())},
        "audit": measured,
    }


@contextlib.contextmanager
def _stage() -> Iterator[pathlib.Path]:
    with tempfile.TemporaryDirectory(prefix="zoo-publish-") as stage:
        yield pathlib.Path(stage)


def _require_access(*, pins: bool) -> str:
    """The token, after a check that the revision can be pinned."""
    token = upload.require_token()
    if pins and catalog.in_source_tree():
        require_writable(catalog.MANIFEST)
    return token


def _is_catalog_name(model: object) -> bool:
    if not isinstance(model, str):
        return False
    return not (download.is_outside_catalog(model) or own_model.is_keras_file(model))


def _card_of_folder(model: object) -> str | None:
    """The text of the card that a model's folder has already; None if there is none.

    Raises:
        ValueError: naming the card, if it is not text in UTF-8.
    """
    if not isinstance(model, (str, os.PathLike)) or not pathlib.Path(model, CARD).is_file():
        return None
    path = pathlib.Path(model, CARD)
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in UTF-8: {error}") from error


def _name_of(model: object) -> str | None:
    """The name that a model's folder or file suggests for its repository."""
    if not isinstance(model, (str, os.PathLike)):
        return None
    path = pathlib.Path(model).resolve()
    return path.stem if own_model.is_keras_file(path) else path.name


def _repository(to: str, name: str | None) -> str:
    match = _TO.fullmatch(to) if isinstance(to, str) else None
    if match is None:
        raise ValueError(
            "to must be an organisation or user on the Hub, or organisation/name of the "
            f"repository, got {to!r}"
        )
    if name is None and match["name"] is None:
        raise ValueError(f"to must be organisation/name, because a model has no name; got {to!r}")
    chosen = str(match["name"] or name)
    if not re.fullmatch(_PART, chosen):
        raise ValueError(f"{chosen!r} cannot be the name of a repository; let to be {to}/NAME")
    return f"{match['organisation']}/{chosen}"
