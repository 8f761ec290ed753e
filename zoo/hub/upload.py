"""Send a staged checkpoint to the Hugging Face Hub, and check what has arrived there."""

import contextlib
import pathlib
import tempfile
from collections.abc import Iterator

from zoo.errors import PublishError
from zoo.hub import download
from zoo.hub.records import File
from zoo.utils.first_line import first_line


def require_token() -> str:
    """The user's token of the Hub.

    Raises:
        zoo.PublishError: if there is none, or downloads and uploads are switched off.
    """
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


def send(stage: pathlib.Path, repo: str, *, private: bool, token: str | None) -> str:
    """Send the files that the repository does not have yet, and return the commit.

    Args:
        stage: folder with the files.
        repo: ``organisation/name``; it is created if it does not exist.
        private: whether a new repository is private.
        token: token with write access.

    Raises:
        zoo.PublishError: naming what the Hub refused.
    """
    import huggingface_hub

    api = huggingface_hub.HfApi(token=token)
    try:
        api.create_repo(repo, private=private or None, exist_ok=True)
        message = "Weights, configuration and card"
        with _plain_http():
            return api.upload_folder(repo_id=repo, folder_path=stage, commit_message=message).oid
    except Exception as error:  # the client and its HTTP library raise many types of errors
        raise PublishError(f"{repo} could not be published: {first_line(error)}") from error


def check(repo: str, revision: str, stage: pathlib.Path) -> None:
    """Download the published files without any cache, and compare them with the staged ones.

    Raises:
        zoo.IntegrityError: naming the file that differs.
        zoo.DownloadError: naming the file that cannot be downloaded.
    """
    files = []
    for path in stage.iterdir():
        size, sha256 = download.digest(path)
        files.append(File(path=path.name, size=size, sha256=sha256))
    with tempfile.TemporaryDirectory(prefix="zoo-publish-") as cache:
        download.from_hub(repo, revision, files, cache)


@contextlib.contextmanager
def _plain_http() -> Iterator[None]:
    """A context in which huggingface_hub uploads by HTTP, and not by the Xet protocol.

    Xet saves traffic for files of gigabytes that change a little; checkpoints have megabytes and
    change completely. It needs a compiled package and a third server, so that there is more that
    can fail. The Hub accepts both. The client has no argument for the choice: it reads this
    constant, which it has from the environment variable of the same name, at each upload.
    """
    from huggingface_hub import constants

    before = constants.HF_HUB_DISABLE_XET
    constants.HF_HUB_DISABLE_XET = True
    try:
        yield
    finally:
        constants.HF_HUB_DISABLE_XET = before
