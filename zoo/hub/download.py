"""Fetch the files of a checkpoint from a folder, the cache or the Hub, and verify them."""

import contextlib
import hashlib
import os
import pathlib
import re
import urllib.parse
from collections.abc import Iterable

from zoo.errors import CheckpointError, DownloadError, IntegrityError, UnknownModelError
from zoo.hub import catalog
from zoo.hub.checkpoint import CONFIG, WEIGHTS
from zoo.hub.keras_file import SUFFIX
from zoo.hub.records import File
from zoo.typing import Path
from zoo.utils.first_line import first_line
from zoo.utils.paths import expanded

_HUB_NAME = re.compile(r"hf://(?P<repo>[^/@]+/[^/@]+)(?:@(?P<revision>[^@]+))?")
# The address of a repository in a browser, perhaps of a revision or of a file in it.
_HUB_ADDRESS = re.compile(
    r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/(?P<repo>[^/@?#]+/[^/@?#]+)"
    r"(?:@(?P<at>[^@?#]+)|/(?:tree|blob|resolve)/(?P<revision>[^/?#]+)(?:/[^?#]*)?)?/?(?:[?#].*)?",
    re.IGNORECASE,
)
_HUB_BEGINNING = re.compile(r"hf:|(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)(?:/|$)", re.I)
_SHA256 = re.compile(r"[0-9a-f]{64}")


def fetch(
    name: Path,
    *,
    revision: str | None = None,
    cache_dir: Path | None = None,
    local_files_only: bool = False,
    verify: bool = True,
) -> pathlib.Path:
    """Find or download the files of a checkpoint, and return the local folder that holds them.

    A name is looked up in this order: an explicit folder; ``weights/``, which ships with zoo; the
    cache; the Hugging Face Hub at the pinned revision. The environment variables ``HF_ENDPOINT``,
    ``HF_HOME`` and ``HF_HUB_OFFLINE`` are honoured.

    Args:
        name: a catalog name, ``hf://org/repo[@revision]``, an address such as
            ``https://huggingface.co/org/repo``, or a folder. A folder is given as a
            :class:`pathlib.Path`, or as text with a separator (``"./mine"``, ``"~/mine"``), so that
            it cannot be mistaken for a catalog name.
        revision: revision of the Hub repository to use instead of the pinned one.
        cache_dir: folder to use instead of huggingface_hub's cache folder.
        local_files_only: whether to use no network.
        verify: whether to compare size and sha256 with the published ones before use. A wrong file
            is removed from the cache, so the next call fetches it again.

    Returns:
        :class:`pathlib.Path` of a folder that holds ``config.json`` and ``model.weights.h5``, or of
        a ``.keras`` file if the name is that of one.

    Raises:
        TypeError: naming the argument that has the wrong type.
        ValueError: if a name that begins as one on the Hub is malformed.
        zoo.UnknownModelError: if the catalog does not have the name.
        zoo.CheckpointError: if the folder does not exist.
        zoo.DownloadError: naming the file and why it could not be fetched.
        zoo.IntegrityError: naming the file, what was expected and what was found.
    """
    check(name)
    for argument, value in {"revision": revision, "cache_dir": cache_dir}.items():
        if not isinstance(value, (str, os.PathLike, type(None))):
            raise TypeError(f"{argument} must be text or None, got {value!r}")
    explicit = is_outside_catalog(name)
    name = os.fspath(name)
    if hub := hub_address(name):
        repo, own_revision = hub
        revision = revision or own_revision
        return from_hub(repo, revision, None, cache_dir, local_files_only, verify)
    if explicit and revision is not None:
        raise ValueError(f"revision is for models on the Hub; {name} is on this machine")
    if explicit:
        return expanded(name)
    record = catalog.info(name)
    shipped = catalog.WEIGHTS / name
    if revision is None and shipped.is_dir():
        if verify:
            for file in record.files:
                check_file(shipped / file.path, file.size, file.sha256)
        return shipped
    if record.hub is None and revision is not None and shipped.is_dir():
        raise DownloadError(f"{name} is not on the Hub, so that it has no revision {revision!r}")
    if record.hub is None:
        raise DownloadError(
            f"{name} is not in {catalog.WEIGHTS} and has not been published on the Hub; "
            f"{_how_to_train(name)}"
        )
    files = record.files if revision in (None, record.hub.revision) else None
    revision = revision or record.hub.revision
    return from_hub(record.hub.repo_id, revision, files, cache_dir, local_files_only, verify)


def _how_to_train(name: str) -> str:
    """Advice that works where the user is: the recipes are in a source tree, not in a wheel."""
    if (catalog.WEIGHTS.parent / "training" / "recipes" / f"{name}.toml").is_file():
        return f"`python -m training {name}` trains it"
    return f"get the source tree of certified-zoo and run `python -m training {name}` in it"


def hub_address(name: Path) -> tuple[str, str | None] | None:
    """``(repository, revision)`` that a name stands for; None if it stands for something else."""
    name = os.fspath(name)
    if match := _HUB_NAME.fullmatch(name):
        return match["repo"], match["revision"]
    if match := _HUB_ADDRESS.fullmatch(name):
        revision = match["at"] or match["revision"]
        # A browser's address writes the slash in the name of a branch as %2F.
        return match["repo"], None if revision is None else urllib.parse.unquote(revision)
    return None


def is_outside_catalog(name: Path) -> bool:
    """Whether a name stands for a folder or a Hub repository, not for an entry of the catalog."""
    # Windows accepts both separators.
    return isinstance(name, os.PathLike) or "/" in name or os.sep in name or name.startswith("~")


def check(name: Path) -> None:
    """Raise if no checkpoint can have this name; nothing is fetched.

    Args:
        name: as for :func:`fetch`.

    Raises:
        TypeError: if the name is neither text nor a path.
        ValueError: if a name that begins as one on the Hub is malformed.
        zoo.UnknownModelError: if the catalog does not have the name.
        zoo.CheckpointError: if the folder does not exist.
    """
    text = os.fspath(name) if isinstance(name, os.PathLike) else name
    if not isinstance(text, str):
        raise TypeError(
            "a checkpoint's name must be text or a path: a catalog name, "
            f"'hf://org/repo[@revision]' or a folder, got {name!r}"
        )
    if not text:
        raise UnknownModelError("a checkpoint's name must not be empty")
    if hub_address(text):
        return
    if _HUB_BEGINNING.match(text):
        raise ValueError(
            "a Hub name reads hf://org/repo, hf://org/repo@revision or "
            f"https://huggingface.co/org/repo, got {name!r}"
        )
    path = expanded(text)
    if not is_outside_catalog(name):
        try:
            catalog.info(text)
        except UnknownModelError as error:
            if not (path.is_dir() or _is_keras_file(path)):
                raise
            kind = "folder" if path.is_dir() else "file"
            raise UnknownModelError(
                f"the catalog has no model {text!r}, but there is a {kind} of that name here: its "
                f"name is {os.path.join(os.curdir, text)!r}"
            ) from error
    elif not (path.is_dir() or _is_keras_file(path)):
        on_hub = re.match(r"\w", text) and _HUB_NAME.fullmatch(f"hf://{text}")
        on_hub = on_hub and path.suffix != SUFFIX
        advice = f"; a model on the Hub is hf://{text}" if on_hub else ""
        raise CheckpointError(f"no such folder or {SUFFIX} file: {text}{advice}")


def _is_keras_file(path: pathlib.Path) -> bool:
    return path.suffix == SUFFIX and path.is_file()


def digest(path: Path) -> tuple[int, str]:
    """Size in bytes and sha256 of a file."""
    with open(path, "rb") as file:
        return os.path.getsize(path), hashlib.file_digest(file, "sha256").hexdigest()


def check_file(path: pathlib.Path, size: int, sha256: str) -> None:
    """Raise unless a file has the published size and sha256.

    Raises:
        zoo.IntegrityError: naming the file, what was expected and what was found.
    """
    if not path.is_file():
        raise IntegrityError(f"{path} is missing; expected {size} bytes, sha256 {sha256}")
    found_size, found_sha256 = digest(path)
    if (found_size, found_sha256) != (size, sha256):
        raise IntegrityError(
            f"{path} is not the published file: expected {size} bytes, sha256 {sha256}; "
            f"found {found_size} bytes, sha256 {found_sha256}"
        )


def from_hub(
    repo: str,
    revision: str | None,
    files: Iterable[File] | None,
    cache_dir: Path | None,
    local_files_only: bool = False,
    verify: bool = True,
) -> pathlib.Path:
    """Download files of a repository, or find them in the cache, and return their folder.

    Args:
        repo, revision: name of the repository on the Hub, and its revision.
        files: list of :class:`zoo.hub.records.File`. None stands for the two files of a checkpoint
            whose size and sha256 are unknown.
        cache_dir, local_files_only, verify: as for :func:`fetch`.
    """
    known = {file.path: file for file in files or ()}
    paths = []
    for name in known or (CONFIG, WEIGHTS):
        path = download_file(repo, name, revision, cache_dir, local_files_only)
        if verify:
            _verify_download(path, known.get(name))
        paths.append(path)
    return paths[0].parent


def download_file(
    repo: str, file: str, revision: str | None, cache_dir: Path | None, local_files_only: bool
) -> pathlib.Path:
    """Download one file of a repository, or find it in the cache.

    Args:
        repo, file, revision: name of the repository, of the file in it, and its revision.
        cache_dir, local_files_only: as for :func:`fetch`.

    Raises:
        zoo.DownloadError: naming the file and why it could not be fetched.
    """
    import huggingface_hub
    from huggingface_hub import constants, errors

    what = f"{repo}/{file}" + (f" at {revision}" if revision else "")
    try:
        return pathlib.Path(
            huggingface_hub.hf_hub_download(
                repo,
                file,
                revision=revision,
                cache_dir=None if cache_dir is None else os.fspath(cache_dir),
                local_files_only=local_files_only,
            )
        )
    except errors.LocalEntryNotFoundError as error:
        offline = local_files_only or constants.HF_HUB_OFFLINE
        why = (
            "and downloads are switched off"
            if offline
            else f"and the Hub did not answer: {first_line(error)}"
        )
        raise DownloadError(f"{what} is not in the cache {why}") from error
    except errors.RevisionNotFoundError as error:
        raise DownloadError(f"{what}: there is no such revision") from error
    except errors.EntryNotFoundError as error:
        raise DownloadError(f"{what}: the repository has no such file") from error
    except errors.GatedRepoError as error:
        raise DownloadError(
            f"{what}: the repository is gated; request access on its page on the Hub, and log in "
            "here with that account (hf auth login)"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise DownloadError(f"{what}: there is no such repository, or it is private") from error
    except Exception as error:  # the client, its HTTP library and the file system raise many types
        raise DownloadError(f"{what} could not be fetched: {first_line(error)}") from error


def _verify_download(path: pathlib.Path, file: File | None) -> None:
    # The path is a link to the repository's own blob. That may be a link, too, to a file that all
    # repositories share, whose name is not a sha256 but looks like one.
    blob = path.parent / os.readlink(path) if path.is_symlink() else path
    if file is not None:
        size, sha256 = file.size, file.sha256
    elif _SHA256.fullmatch(blob.name):
        # The cache names the blob of a large file by its sha256, as the Hub does.
        size, sha256 = blob.stat().st_size, blob.name
    else:
        return
    try:
        check_file(path, size, sha256)
    except IntegrityError:
        # The client would link a shared file again, so that it must be removed as well.
        for part in (path.resolve(), blob, path):
            with contextlib.suppress(OSError):  # nothing can be removed from a read-only cache
                part.unlink(missing_ok=True)
        raise
