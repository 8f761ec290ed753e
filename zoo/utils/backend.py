"""The Keras backends that zoo supports.

This check is not part of :mod:`zoo.ops`, because importing that package imports Keras, and the
import of Keras fails if the package of the chosen backend is not installed.
"""

#: The names of the supported backends, as in ``KERAS_BACKEND``.
BACKENDS = ("tensorflow", "jax")


def require_backend() -> None:
    """Raise unless Keras runs on one of :data:`BACKENDS`.

    Raises:
        NotImplementedError: naming the backend that Keras runs on, and those that zoo supports.
        ImportError: if Keras cannot be imported, because its backend is unknown or not installed.
    """
    supported = f"zoo works with the Keras backends {' and '.join(BACKENDS)}"
    choose = "set the environment variable KERAS_BACKEND before Keras is imported"
    try:
        import keras
    except (ImportError, ValueError) as error:  # a ValueError for a name that Keras does not know
        raise ImportError(f"Keras cannot be imported: {error}; {supported}; {choose}") from error
    name = keras.backend.backend()
    if name not in BACKENDS:
        raise NotImplementedError(f"{supported}, not with {name!r}; {choose}")
