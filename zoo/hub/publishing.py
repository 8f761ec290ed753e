"""Publish a checkpoint on the Hugging Face Hub: stage, audit and upload it, pin its revision."""

import dataclasses
import pathlib
import re
import shutil
import tempfile
from typing import Any

from zoo import data as image_sets
from zoo.errors import PublishError
from zoo.hub import audit, catalog, download
from zoo.hub.card import card
from zoo.hub.checkpoint import CONFIG, WEIGHTS
from zoo.hub.records import File, HubLocation
from zoo.typing import Path
from zoo.utils import checks
from zoo.utils.whole_file import require_writable

_ORGANISATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def publish(
    name: str,
    to: str,
    *,
    private: bool = False,
    dry_run: bool = False,
    sample: int = 100,
    data: Path | None = None,
) -> dict[str, Any]:
    """Publish a checkpoint of the catalog as a repository of its own, and pin its revision.

    The files are copied to a temporary folder and audited (:func:`zoo.hub.audit.audit`) before
    anything is sent. It is safe to call this again, also after an interruption: what the repository
    already has is not sent again. The revision is written to the catalog last, after the files have
    been downloaded from the Hub again and compared.

    Args:
        name: name of the checkpoint in the catalog.
        to: organisation or user on the Hub; the repository is ``to/name``.
        private: whether a new repository is private. An existing one stays as it is.
        dry_run: whether to stop after the audit. This needs no token and no network.
        sample: number of test images that the audit measures again.
        data: an ``.npz`` file that the audit uses instead of the checkpoint's image set.

    Returns:
        Dictionary: ``name``, ``repo_id``, ``revision`` (None after a dry run), ``files`` with their
        sizes, and what the ``audit`` measured.

    Raises:
        zoo.UnknownModelError: if the catalog does not have the name.
        TypeError, ValueError, FileNotFoundError: naming the argument that is wrong.
        zoo.AuditError, zoo.IntegrityError: naming what does not agree. Nothing has been sent.
        zoo.PublishError: if there is no token, or naming what the Hub refused.
        zoo.DownloadError: if the uploaded files cannot be downloaded again. The revision has not
            been pinned.
        OSError: if the catalog cannot be written. This is checked before anything is sent.

    Example:

    >>> from zoo.hub.publishing import publish
    >>> publish("linf-dist-digits", "someone", dry_run=True, sample=20)["repo_id"]
    'someone/linf-dist-digits'
    """
    record = catalog.info(name)
    if not isinstance(to, str) or not _ORGANISATION.fullmatch(to):
        raise ValueError(f"to must be an organisation or user on the Hub, got {to!r}")
    checks.positive_integer(sample, "sample")
    if data is not None:
        image_sets.check(data)
    repo = f"{to}/{name}"
    token = None if dry_run else _token()
    if not dry_run:
        require_writable(catalog.MANIFEST)  # where the revision will be pinned
    with tempfile.TemporaryDirectory(prefix="zoo-publish-") as stage:
        stage = pathlib.Path(stage)
        source = download.fetch(name)
        for file in (CONFIG, WEIGHTS):
            shutil.copyfile(source / file, stage / file)
        (stage / audit.CARD).write_text(card(record), encoding="utf-8")
        measured = audit.audit(stage, record, sample=sample, data=data)
        sizes = {path.name: path.stat().st_size for path in sorted(stage.iterdir())}
        revision = None
        if not dry_run:
            revision = _upload(stage, repo, private, token)
            _check_upload(repo, revision, stage)
            pinned = HubLocation(repo_id=repo, revision=revision)
            if record.hub != pinned:
                catalog.write(dataclasses.replace(record, hub=pinned))
    return {
        "name": name,
        "repo_id": repo,
        "revision": revision,
        "files": sizes,
        "audit": measured,
    }


def _token() -> str:
    from huggingface_hub import constants, get_token

    if constants.HF_HUB_OFFLINE:
        raise PublishError("HF_HUB_OFFLINE is set; publishing needs the Hub")
    token = get_token()
    if not token:
        raise PublishError(
            "publishing needs a token of the Hub with write access: set HF_TOKEN, or run "
            "`hf auth login`"
        )
    return token


def _upload(stage: pathlib.Path, repo: str, private: bool, token: str | None) -> str:
    """Send the files that the repository does not have yet, and return the commit."""
    import huggingface_hub

    api = huggingface_hub.HfApi(token=token)
    try:
        api.create_repo(repo, private=private or None, exist_ok=True)
        message = "Weights, configuration and card"
        return api.upload_folder(repo_id=repo, folder_path=stage, commit_message=message).oid
    except Exception as error:  # the client and its HTTP library raise many types of errors
        raise PublishError(f"{repo} could not be published: {download.line(error)}") from error


def _check_upload(repo: str, revision: str, stage: pathlib.Path) -> None:
    """Download the published files without any cache, and compare them with the staged ones."""
    files = []
    for path in stage.iterdir():
        size, sha256 = download.digest(path)
        files.append(File(path=path.name, size=size, sha256=sha256))
    with tempfile.TemporaryDirectory(prefix="zoo-publish-") as cache:
        download.from_hub(repo, revision, files, cache)
