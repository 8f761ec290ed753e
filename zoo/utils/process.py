"""Whether models can compute in this process."""

import os

# The process in which TensorFlow, or JAX, was first used through zoo, by the library's name.
_used_in: dict[str, int] = {}


def note_use(library: str) -> None:
    """Note that this process is about to use a library whose threads do not survive a fork.

    Args:
        library: ``"tensorflow"`` or ``"jax"``.
    """
    _used_in.setdefault(library, os.getpid())


def require_own_process() -> None:
    """Raise if this process was forked from one in which the backend had already been used.

    A fork copies none of the threads in which TensorFlow and JAX compute, so a model in the copy
    would wait for them for ever. A process forked before any use computes like every other.

    Raises:
        RuntimeError: naming the way to start a process that works.
    """
    import keras

    library = keras.backend.backend()
    note_use(library)
    if _used_in[library] != os.getpid():
        raise RuntimeError(
            f"this process was forked from one that had already used {library}, whose threads do "
            "not survive a fork; start the process with multiprocessing.get_context('spawn'), or "
            "load models and data only after forking"
        )
