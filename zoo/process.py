"""Whether models can compute in this process."""

import os

# The process in which a model of zoo was first loaded, built or asked; None before that.
_used_in = None


def require_own_process():
    """Raise if this process was forked from one in which a model had already been used.

    A fork copies none of the threads in which TensorFlow and JAX compute, so the copy would wait
    for them for ever. A process forked before any model was used computes like every other.

    Raises:
        RuntimeError: naming the way to start a process that works.
    """
    global _used_in
    if _used_in is None:
        _used_in = os.getpid()
    elif _used_in != os.getpid():
        raise RuntimeError(
            "this process was forked from one that had already used a model, and the threads in "
            "which the backend computes do not survive a fork; start the process with "
            "multiprocessing.get_context('spawn'), or use models only after forking"
        )
