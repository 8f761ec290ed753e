"""Evaluation on a Ray cluster: each chunk of images is a task, which can be retried."""

import contextlib
import dataclasses
import functools
import importlib.util
import logging
import os
import pathlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zoo import evaluation
from zoo.errors import ClusterError, ZooError
from zoo.evaluation import Outcome, RobustnessReport
from zoo.evaluation.outcome import attacks_of
from zoo.hub import checkpoint
from zoo.typing import Array
from zoo.utils import checks, inputs
from zoo.utils.backend import start_in_float32
from zoo.utils.first_line import first_line
from zoo.utils.progress import bar

if TYPE_CHECKING:
    from zoo.models import CertifiedModel

# Names and contents of the files of a checkpoint.
_Files = tuple[tuple[str, bytes], ...]
# How many seconds we wait for a cluster to answer. Ray itself would wait for minutes.
_PATIENCE = 10.0


@dataclasses.dataclass(frozen=True, eq=False)
class Job:
    """One model to be evaluated.

    Attributes:
        name: name of the model in messages.
        model: a :class:`zoo.models.CertifiedModel` whose class is registered with Keras.
        x, y: images and labels, as for :func:`zoo.evaluation.evaluate`.
        settings: other arguments of :func:`zoo.evaluation.evaluate`; ``eps`` is required.
    """

    name: str
    model: "CertifiedModel"
    x: Any
    y: Any
    settings: Mapping[str, Any]


def evaluate(
    jobs: Iterable[Job],
    address: str = "auto",
    *,
    cpus: float = 1,
    gpus: float = 0,
    retries: int = 3,
    verbose: int = 0,
) -> list[RobustnessReport]:
    """Measure the clean, attacked and certified accuracy of many models on a Ray cluster.

    The images of each model are cut into chunks of one batch, and each chunk is a task. The random
    numbers of a task depend only on the seed and on the position of the chunk in the set, so a task
    that was lost with its worker can be repeated on another one with the same result. On machines
    whose arithmetic is the same, every number equals that of :func:`zoo.evaluation.evaluate` to
    the last bit.

    Models and images are sent to the workers, on which only certified-zoo must be installed.

    Args:
        jobs: iterable of :class:`Job`. The arguments of all jobs are checked before the first task
            is submitted.
        address: address of the cluster. ``"host:port"`` connects directly, ``"ray://host:port"``
            through Ray's client. ``"auto"`` is the cluster in ``RAY_ADDRESS``, or the one that this
            machine is part of. ``"local"`` starts a cluster on this machine for the time of the
            call. If the program is already connected to a cluster, that one is used, and stays
            connected.
        cpus, gpus: number of processors and GPUs that Ray reserves for each task.
        retries: how often a chunk is repeated after its worker died.
        verbose: 1 shows a progress bar.

    Returns:
        List of :class:`zoo.evaluation.RobustnessReport`, in the order of the jobs.

    Raises:
        ImportError: if Ray is not installed.
        zoo.ClusterError: if no cluster answers at the address within seconds, or a chunk fails in
            spite of all retries.
        TypeError, ValueError: naming the argument, or the job, that is wrong.
        zoo.SoundnessError: as :func:`zoo.evaluation.evaluate`.

    Examples:
        ```python
        import zoo
        from zoo.evaluation.scale_out import Job, evaluate

        digits = zoo.data.load("digits", "test")
        model = zoo.load("linf-dist-digits")
        job = Job("linf-dist-digits", model, digits.images, digits.labels, {"eps": [0.1]})
        (report,) = evaluate([job], "local")
        ```
    """
    return list(
        evaluate_each(jobs, address, cpus=cpus, gpus=gpus, retries=retries, verbose=verbose)
    )


def evaluate_each(
    jobs: Iterable[Job],
    address: str = "auto",
    *,
    cpus: float = 1,
    gpus: float = 0,
    retries: int = 3,
    verbose: int = 0,
) -> Iterator[RobustnessReport]:
    """Like :func:`evaluate`, but yield each report as soon as it and those before it are complete.

    A caller can keep the reports that have been yielded if a later model cannot be measured.

    Args:
        jobs, address, cpus, gpus, retries, verbose: as for :func:`evaluate`.

    Yields:
        :class:`zoo.evaluation.RobustnessReport`, in the order of the jobs.
    """
    check_cluster(address, cpus=cpus, gpus=gpus)
    jobs = _checked(jobs)
    if retries != 0:
        checks.positive_integer(retries, "retries")
    import ray

    # Before the first task starts: a model that cannot be sent must not stop a running evaluation.
    files = [_packed(job.model) for job in jobs]
    with _connected(ray, address):
        task = ray.remote(
            num_cpus=cpus, num_gpus=gpus, max_retries=retries, runtime_env=_environment()
        )(_measured)
        submitted = [
            _submit(ray, task, job, packed) for job, packed in zip(jobs, files, strict=True)
        ]
        names = [job.name for job in jobs]
        for outcomes in _outcomes(ray, names, submitted, verbose):
            yield evaluation.report_of(evaluation.joined(outcomes))


def check_cluster(address: str, *, cpus: float = 1, gpus: float = 0) -> None:
    """Raise the errors of :func:`evaluate` about the cluster, without connecting to it.

    Args:
        address, cpus, gpus: as for :func:`evaluate`.

    Raises:
        ImportError: if Ray is not installed.
        TypeError, ValueError: naming the argument that is wrong.
    """
    if not isinstance(address, str):
        raise TypeError(f"address must be text, such as 'auto' or 'host:port', got {address!r}")
    if not address.strip():
        raise ValueError("address is empty; give it as 'auto' or 'host:port'")
    for name, number in {"cpus": cpus, "gpus": gpus}.items():
        if number != 0:
            checks.positive_number(number, name)
    if importlib.util.find_spec("ray") is None:
        raise ImportError(
            "scaling out needs Ray, which is not installed; pip install 'certified-zoo[ray]'"
        )


def _checked(jobs: Any) -> list[Job]:
    """The jobs as a list, after a check of all their arguments."""
    jobs = list(jobs) if isinstance(jobs, Iterable) else [jobs]
    for place, job in enumerate(jobs):
        if not isinstance(job, Job):
            raise TypeError(
                f"jobs must be a list of zoo.evaluation.scale_out.Job, got {type(job).__name__}"
            )
        if not isinstance(job.settings, Mapping) or "eps" not in job.settings:
            raise TypeError(f"{job.name}: settings must be a dictionary with eps at least")
        _require_model(job)
        x, y = inputs.read(job.x, job.y)
        settings = {**job.settings}
        if "attacks" in settings:
            # Objects, because a worker may not know the name of a user's attack.
            settings["attacks"] = attacks_of(settings["attacks"], settings.pop("params", None))
        spared = settings.get("spare_certified", ())
        if isinstance(spared, Iterable) and not isinstance(spared, str):
            settings["spare_certified"] = tuple(spared)
        jobs[place] = job = dataclasses.replace(job, x=x, y=y, settings=settings)
        evaluation.check(job.model, x, y, **settings)
    return jobs


def _require_model(job: Job) -> None:
    from zoo.models import CertifiedModel
    from zoo.models.any_classifier import AnyClassifier

    # An AnyClassifier is a wrapper around an ordinary Keras model, which no checkpoint can hold.
    model = job.model.network if isinstance(job.model, AnyClassifier) else job.model
    if not isinstance(model, CertifiedModel):
        raise TypeError(
            f"{job.name}: model must be a model of the zoo, a zoo.models.CertifiedModel, got "
            f"{type(model).__name__}; without a cluster, zoo.evaluate measures other Keras models "
            "too"
        )


@contextlib.contextmanager
def _connected(ray: Any, address: str) -> Iterator[None]:
    if ray.is_initialized():
        yield
        return
    options = {}
    if address == "local":
        # A temporary cluster needs no web dashboard and should not send usage statistics.
        options = {"include_dashboard": False}
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    else:
        _require_answer(address)
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **options)
    except (OSError, RuntimeError, ValueError) as error:
        raise ClusterError(f"no Ray cluster at {address}: {first_line(error)}") from error
    try:
        yield
    finally:
        ray.shutdown()


def _require_answer(address: str) -> None:
    """Raise unless a gRPC server, such as Ray's, soon answers at the address."""
    import grpc

    place = (_noted_address() if address == "auto" else address) or ""
    place = place.removeprefix("ray://")
    # ray.init reports other forms of addresses, and needs its own certificates to connect with TLS.
    if ":" not in place or os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
        return
    with grpc.insecure_channel(place, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=_PATIENCE)
        except grpc.FutureTimeoutError:
            at = address if place in address else f"{address}, which is {place}"
            raise ClusterError(
                f"no Ray cluster at {at}: no answer within {_PATIENCE:g} seconds"
            ) from None


def _noted_address() -> str | None:
    """The address that ``auto`` stands for, or None if unknown; the cluster may have stopped."""
    noted = os.environ.get("RAY_ADDRESS")
    with contextlib.suppress(ImportError, AttributeError, TypeError):  # not in Ray's public API
        from ray._private.services import find_bootstrap_address

        noted = noted or find_bootstrap_address(None)
    return noted


def _environment() -> dict[str, Any]:
    """Ray's runtime environment: variables that a worker needs before it imports Keras."""
    import keras

    variables = {"KERAS_BACKEND": keras.backend.backend(), "TF_CPP_MIN_LOG_LEVEL": "3"}
    return {"env_vars": variables}


def _submit(ray: Any, task: Any, job: Job, files: _Files) -> dict[int, Any]:
    """Submit a task for each chunk of a job.

    Args:
        ray, task: the module, and the remote function to submit.
        job: the job.
        files: checkpoint files of its model.

    Returns:
        Dictionary from the index of each chunk's first image to Ray's reference of the task.
    """
    settings = {**job.settings}
    settings.pop("verbose", None)
    size = checks.positive_integer(settings.get("batch_size", 256), "batch_size")
    # Images are sent as they are: uint8 is a quarter of the size of float32.
    x = job.x
    count = len(checks.images(x, job.model.image_shape))
    y = checks.labels(job.y, count, job.model.num_classes)
    given = (ray.put(files), _layer_settings())
    return {
        first: task.remote(
            *given, x[first : first + size], y[first : first + size], first, settings
        )
        for first in range(0, max(1, count), size)
    }


def _layer_settings() -> tuple[float, str]:
    """The global settings of Keras that change what some layers compute."""
    import keras

    return keras.config.epsilon(), keras.config.image_data_format()


def _outcomes(
    ray: Any, names: Sequence[str], submitted: Sequence[dict[int, Any]], verbose: int
) -> Iterator[list[Outcome]]:
    """Wait for the chunks of one model after another.

    Args:
        names: names of the models.
        submitted: chunks of each model, as :func:`_submit` returns them.

    Yields:
        List of the :class:`zoo.evaluation.Outcome` of a model's chunks, in their order.
    """
    waiting = {reference for chunks in submitted for reference in chunks.values()}
    try:
        with bar(verbose) as progress:
            moving = progress.add_task("evaluating", total=len(waiting))
            for name, chunks in zip(names, submitted, strict=True):
                places = {reference: first for first, reference in chunks.items()}
                outcomes = {}
                while len(outcomes) < len(places):
                    (reference,), _ = ray.wait([r for r in places if r in waiting])
                    waiting.remove(reference)
                    what = f"{name}, images from {places[reference]} on"
                    outcomes[reference] = _result(ray, reference, what)
                    progress.advance(moving)
                yield [outcomes[reference] for reference in places]
    finally:
        with contextlib.suppress(ray.exceptions.RayError):
            for reference in waiting:
                ray.cancel(reference, force=True)


def _result(ray: Any, reference: Any, what: str) -> Outcome:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, (ZooError, TypeError, ValueError, NotImplementedError)):
            raise error.cause from None  # zoo's own message, as without a cluster
        fault = first_line(error.cause)
    except ray.exceptions.RayError as error:
        fault = first_line(error)
    raise ClusterError(f"{what}, could not be measured on the cluster: {fault}")


def _packed(model: "CertifiedModel") -> _Files:
    """The names and contents of the checkpoint files of a model."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint.save(model, folder)
        names = (checkpoint.CONFIG, checkpoint.WEIGHTS)
        return tuple((name, (pathlib.Path(folder) / name).read_bytes()) for name in names)


@functools.lru_cache(maxsize=1)  # a worker usually measures several chunks of the same model
def _unpacked(files: _Files, layer_settings: tuple[float, str]) -> "CertifiedModel":
    import keras

    keras.config.set_epsilon(layer_settings[0])
    keras.config.set_image_data_format(layer_settings[1])
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files:
            (pathlib.Path(folder) / name).write_bytes(content)
        return checkpoint.load(folder)


def _measured(
    files: _Files,
    layer_settings: tuple[float, str],
    x: Array,
    y: Array,
    first: int,
    settings: Mapping[str, Any],
) -> Outcome:
    """The task that a worker runs: measure one chunk."""
    start_in_float32()  # a worker is a process of its own, whose GPU may default to TF32
    model = _unpacked(files, layer_settings)
    return evaluation.outcome_of(model, x, y, first=first, **settings)
