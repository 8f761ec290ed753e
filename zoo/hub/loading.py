"""Load a model by its name."""

from typing import TYPE_CHECKING, Any

from zoo.hub import checkpoint as checkpoints
from zoo.hub import download, keras_file
from zoo.typing import Path
from zoo.utils import checks
from zoo.utils.backend import require_backend
from zoo.utils.process import require_own_process

if TYPE_CHECKING:
    from zoo.models import CertifiedModel


def load(
    checkpoint: Path,
    /,
    *,
    name: str | None = None,
    revision: str | None = None,
    cache_dir: Path | None = None,
    local_files_only: bool = False,
    verify: bool = True,
    weights: bool = True,
    num_classes: int | None = None,
    **overrides: Any,
) -> "CertifiedModel":
    """Load a pretrained model.

    Args:
        checkpoint: a catalog name (see :func:`zoo.list_models`), ``hf://org/repo[@revision]``, the
            repository's address as in ``https://huggingface.co/org/repo``, a checkpoint folder, or
            a ``.keras`` file that ``model.save`` wrote. A folder or file is given as a
            :class:`pathlib.Path`, or as text with a separator (``"./mine"``), so that it cannot be
            mistaken for a catalog name.
        name: name of the Keras model; with None, Keras chooses one.
        revision: revision (a commit, a branch or a tag) of the Hub repository; None takes the one
            that the catalog records.
        cache_dir: folder to use instead of huggingface_hub's cache folder.
        local_files_only: whether to use only files that are on this machine, and no network.
        verify: whether to check size and sha256 of the files before reading them.
        weights: whether to load the weights; with False they are freshly initialised.
        num_classes: number of classes of a new, untrained head on the pretrained features, for
            fine-tuning; the certificate stays valid. None keeps the pretrained head.
        overrides: constructor arguments of the model that replace the stored ones. ``epsilon`` is
            the budget that ``fit`` trains for: choose it for your images, because the stored one
            was chosen for others. If ``num_classes`` is given and ``epsilon`` is not, ``fit`` warns
            if it certifies less than half of the images that are classified correctly.

    Returns:
        A :class:`zoo.models.CertifiedModel`, which is a :class:`keras.Model`.

    Raises:
        zoo.UnknownModelError: if the catalog does not have the name; the message has the closest
            names.
        zoo.DownloadError, zoo.IntegrityError, zoo.CheckpointError: naming the file and what is
            wrong with it.
        TypeError, ValueError: naming the argument that is wrong, or ``keras.config.floatx()`` if it
            is not float32.
        NotImplementedError: if Keras runs on a backend other than TensorFlow and JAX.
        RuntimeError: in a process that was forked after the backend had been used.

    Examples:
        >>> import zoo
        >>> model = zoo.load("linf-dist-digits")
        >>> model.image_shape
        (8, 8, 1)
    """
    if num_classes is not None:
        checks.positive_integer(num_classes, "num_classes")
    checks.true_or_false(verify, "verify")
    checks.true_or_false(weights, "weights")
    folder = download.fetch(
        checkpoint,
        revision=revision,
        cache_dir=cache_dir,
        local_files_only=local_files_only,
        verify=verify,
    )
    require_backend()
    require_own_process()
    from zoo.ops.precision import require_float32_arrays

    require_float32_arrays()
    if name is not None:
        overrides["name"] = name
    if folder.suffix == keras_file.SUFFIX and folder.is_file():
        # A new head needs another loss, so the stored one need not be known here.
        compiled = num_classes is None
        model = keras_file.load(folder, weights=weights, compiled=compiled, **overrides)
    else:
        model = checkpoints.load(folder, weights=weights, **overrides)
    if num_classes is None:
        return model
    model = model.with_new_head(num_classes)
    # The loss of the new head is as new as the head, and its scalars fit it.
    model.on_config_override(set(overrides) - {"loss"})
    model.inherits_epsilon = "epsilon" not in overrides
    return model
