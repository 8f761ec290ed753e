"""The Keras backends that zoo supports.

This check is not part of :mod:`zoo.ops`, because importing that package imports Keras, and the
import of Keras fails if the package of the chosen backend is not installed.
"""

import json
import os
import pathlib
import sys

from zoo.utils.quiet import without_startup_lines

#: The names of the supported backends, as in ``KERAS_BACKEND``.
BACKENDS = ("tensorflow", "jax")

_imported = _started = False


def backend_name() -> str:
    """The name of the backend that Keras runs on, or will run on once it is imported.

    Keras chooses it by the environment variable ``KERAS_BACKEND``, or else by its file
    ``~/.keras/keras.json``.

    Examples:
        >>> from zoo.utils.backend import backend_name
        >>> backend_name() in ("tensorflow", "jax")
        True
    """
    if keras := sys.modules.get("keras"):
        return keras.backend.backend()
    if name := os.environ.get("KERAS_BACKEND"):
        return name
    home = os.environ.get("KERAS_HOME") or os.path.join(os.path.expanduser("~"), ".keras")
    try:
        settings = json.loads(pathlib.Path(home, "keras.json").read_text(encoding="utf-8"))
        return str(settings.get("backend", "tensorflow"))
    except (OSError, ValueError, AttributeError):  # Keras ignores a file that it cannot read
        return "tensorflow"


def require_backend() -> None:
    """Import Keras and start its backend, without TensorFlow's start-up lines.

    Raises:
        NotImplementedError: naming the backend that Keras runs on, and the :data:`BACKENDS` that
            zoo supports.
        ImportError: if Keras cannot be imported, because its backend is unknown or not installed.
    """
    global _started
    _import_backend()
    if _started:
        return
    if backend_name() == "tensorflow":
        with without_startup_lines():
            import tensorflow as tf

            # TensorFlow looks for devices when it first needs one, and writes about them then. A
            # worker of several must not start them here: they have to be connected first.
            if "TF_CONFIG" not in os.environ:
                tf.config.list_logical_devices()
    _started = True


def _import_backend() -> None:
    """As :func:`require_backend`, but devices are not started, so that they can still be set up."""
    global _imported
    if _imported:
        return
    supported = f"zoo works with the Keras backends {' and '.join(BACKENDS)}"
    choose = "set the environment variable KERAS_BACKEND before Keras is imported"
    # Without level "1", XLA writes lines of information when it compiles the first function.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    try:
        with without_startup_lines():
            import keras
    except (ImportError, ValueError) as error:  # a ValueError for a name that Keras does not know
        raise ImportError(f"Keras cannot be imported: {error}; {supported}; {choose}") from error
    name = keras.backend.backend()
    if name not in BACKENDS:
        raise NotImplementedError(f"{supported}, not with {name!r}; {choose}")
    _imported = True


def start_in_float32() -> None:
    """Start the backend, as :func:`require_backend`, with :func:`use_float32_products`."""
    use_float32_products()
    require_backend()


def use_float32_products() -> None:
    """Have the backend compute matrix products and convolutions in true float32 from now on.

    On a GPU the default of both backends is TF32, which rounds the operands to 11 bits.
    Certificates are about the network as float32 computes it, so they refuse TF32: a program that
    certifies on a GPU calls this function once. Products then take longer, in training too. On a
    CPU this changes nothing. The programs ``zoo`` and ``python -m training`` call it by themselves.

    Raises:
        NotImplementedError, ImportError: as :func:`require_backend`.

    Examples:
        >>> import zoo
        >>> zoo.ops.use_float32_products()
    """
    _import_backend()
    if backend_name() == "jax":
        import jax

        jax.config.update("jax_default_matmul_precision", "highest")
    else:
        import tensorflow as tf

        tf.config.experimental.enable_tensor_float_32_execution(False)
