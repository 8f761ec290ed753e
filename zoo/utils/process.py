"""Detect that a process was forked after a backend was used, where models cannot compute."""

import os

from zoo.utils.backend import backend_name

# For TensorFlow and JAX, the id of the process in which zoo first used the library.
_used_in: dict[str, int] = {}


def note_use(library: str) -> None:
    """Record that this process is about to use a library whose threads do not survive a fork.

    Args:
        library: ``"tensorflow"`` or ``"jax"``.
    """
    _used_in.setdefault(library, os.getpid())


def require_own_process() -> None:
    """Raise if this process was forked from one in which the backend had already been used.

    A fork does not copy the threads in which TensorFlow and JAX compute, so a model in the forked
    process would wait for them forever. A process that was forked before the first use is fine.

    Raises:
        RuntimeError: naming a way to start a process in which models can compute.
    """
    library = backend_name()
    note_use(library)
    if _used_in[library] != os.getpid():
        raise RuntimeError(
            f"this process was forked from one that had already used {library}, whose threads do "
            "not survive a fork; start the process with multiprocessing.get_context('spawn'), or "
            "load models and data only after forking"
        )
