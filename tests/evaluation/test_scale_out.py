"""Evaluation on a Ray cluster: equal to that on one machine, also when a worker dies."""

import dataclasses
import json
import pathlib
import secrets
import shutil
import socket
import sys
import tempfile
import time

import keras
import numpy as np
import psutil
import pytest

import zoo
from zoo import evaluation
from zoo.cli import main
from zoo.evaluation import scale_out
from zoo.models.any_classifier import AnyClassifier

pytestmark = pytest.mark.scale

NAMES = ("linf-dist-digits", "crt-digits")
SETTINGS = {"eps": [0.1, "8/255"], "params": {"pgd": {"restarts": 2, "steps": 10}}, "batch_size": 8}


@pytest.fixture(scope="module", autouse=True)
def _environment():
    """Ray reads it once, when it is first asked for anything."""
    environment = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "token",  # what runs here is for nobody else
        "RAY_AUTH_TOKEN": secrets.token_hex(16),
        "RAY_worker_niceness": "0",  # by default workers let every other program go first
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        yield


def one_line_error(capsys, *options):
    assert main(["evaluate", "linf-dist-digits", "--n", "2", "--quiet", *options]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error


def test_without_ray(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert "pip install 'certified-zoo[ray]'" in one_line_error(capsys, "--ray", "local")


@pytest.mark.parametrize("address", ["{}", "ray://{}", "auto"])
def test_no_answer(address, capsys, monkeypatch):
    """Neither where nothing listens nor where what listens says nothing."""
    pytest.importorskip("ray")
    monkeypatch.setattr(scale_out, "_PATIENCE", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", place)
        for _ in range(2):
            error = one_line_error(capsys, "--ray", address.format(place))
            assert f"{place}: no answer within 0.5 seconds" in error
            silent.close()


def test_addresses_and_options_that_are_none(capsys):
    pytest.importorskip("ray")
    error = one_line_error(capsys, "--ray", "nowhere")
    assert "cluster at nowhere: ValueError: Invalid address" in error
    assert "are for --ray" in one_line_error(capsys, "--task-gpus", "1")


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"settings": {}}, {}, "one: settings must be a dictionary with eps"),
        ({"settings": [0.1]}, {}, "one: settings must be a dictionary with eps"),
        ({"settings": {"eps": "much"}}, {}, "eps must be a finite number"),
        ({"settings": {"eps": 0.1, "attack": "pgd"}}, {}, "unexpected keyword argument 'attack'"),
        ({"settings": {"eps": 0.1, "attacks": "pdg"}}, {}, "got 'pdg'"),
        ({"model": None}, {}, "model must be a model of the zoo"),
        ({}, {"address": None}, "address must be text"),
        ({}, {"cpus": "one"}, "cpus must be a positive number"),
        ({}, {"retries": -1}, "retries must be a positive integer"),
    ],
)
def test_wrong_arguments_are_noticed_before_a_cluster_is_asked(
    digits_model, digits, monkeypatch, change, options, message
):
    def asked(*arguments):
        raise AssertionError("asked for a cluster first")

    monkeypatch.setattr(scale_out, "_connected", asked)
    good = scale_out.Job("one", digits_model, digits.images[:2], digits.labels[:2], {"eps": 0.1})
    with pytest.raises((TypeError, ValueError), match=message):
        scale_out.evaluate([good, dataclasses.replace(good, **change)], **options)
    for jobs in (None, 3, ["one"]):
        with pytest.raises(TypeError, match="jobs must be a list"):
            scale_out.evaluate(jobs)


def test_a_generator_of_attacks_is_read_once(digits_model, digits):
    names = ["fgsm", "pgd"]
    settings = {"eps": 0.1, "attacks": iter(names), "spare_certified": iter(["pgd"])}
    job = scale_out.Job("one", digits_model, digits.images[:2], digits.labels[:2], settings)
    (checked,) = scale_out._checked([job])
    assert [attack.name for attack in checked.settings["attacks"]] == names
    assert checked.settings["spare_certified"] == ("pgd",)


def test_another_keras_model_is_refused_before_a_cluster_is_asked(digits):
    model = AnyClassifier(
        keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]),
        (8, 8, 1),
        10,
    )
    job = scale_out.Job("mine", model, digits.images[:2], digits.labels[:2], {"eps": 0.1})
    with pytest.raises(
        TypeError, match="mine: model must be a model of the zoo, .* got Sequential"
    ):
        scale_out.evaluate(job)


@pytest.fixture(scope="module")
def cluster():
    """Two nodes with a worker each, of this machine."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    folder = tempfile.mkdtemp(prefix="ray-")  # pytest's own are too long for the name of a socket
    # The second node writes its address into Ray's usual folder, which it does not make.
    (pathlib.Path(tempfile.gettempdir()) / "ray").mkdir(exist_ok=True)
    head = {"num_cpus": 1, "include_dashboard": False, "temp_dir": folder}
    found = Cluster(initialize_head=True, head_node_args=head)
    found.add_node(num_cpus=1)
    processes = psutil.Process().children(recursive=True)
    yield found
    found.shutdown()
    _, alive = psutil.wait_procs(processes, timeout=20)
    shutil.rmtree(folder, ignore_errors=True)
    assert not [process for process in alive if "/ray/" in " ".join(process.cmdline())]


@pytest.fixture(scope="module")
def connected(cluster):
    """The same with a connection that the calls find: workers import Keras once for all of them."""
    import ray

    ray.init(cluster.address, log_to_driver=False)
    yield
    ray.shutdown()


def jobs(digits, count):
    """The jobs, and what they give on this machine."""
    x, y = digits.images[:count], digits.labels[:count]
    found = [scale_out.Job(name, zoo.load(name), x, y, SETTINGS) for name in NAMES]
    return found, [evaluation.evaluate(job.model, x, y, **SETTINGS) for job in found]


def kill_at_first_result(monkeypatch):
    """When the first chunk is done, kill a worker that is at another; returns the list of those."""
    import ray

    killed, wait = [], ray.wait

    def wait_and_kill(references):
        done = wait(references)
        deadline = time.monotonic() + 60
        while not killed and time.monotonic() < deadline:
            for process in psutil.Process().children(recursive=True):
                title = process.cmdline()[:1]
                if not killed and title and title[0].startswith("ray::_measured"):
                    process.kill()
                    killed.append(process.pid)
        return done

    monkeypatch.setattr(ray, "wait", wait_and_kill)
    return killed


def test_a_worker_killed_half_way_changes_nothing(cluster, digits, monkeypatch):
    submitted, local = jobs(digits, 24)
    killed = kill_at_first_result(monkeypatch)
    reports = scale_out.evaluate(submitted, cluster.address)
    assert len(killed) == 1
    assert not sys.modules["ray"].is_initialized()
    for report, expected in zip(reports, local, strict=True):
        assert report.to_json() == expected.to_json()
        np.testing.assert_array_equal(report.labels, expected.labels)
        for name in ("prediction", "radius", "margin", "nearest"):
            arrays = (getattr(r.certificate, name) for r in (report, expected))
            np.testing.assert_array_equal(*arrays)


def test_a_chunk_that_fails_for_good_is_one_error(connected, digits, monkeypatch):
    x, y = digits.images[:40], digits.labels[:40]
    job = scale_out.Job("one", zoo.load(NAMES[0]), x, y, SETTINGS)
    kill_at_first_result(monkeypatch)
    with pytest.raises(zoo.ClusterError, match=r"one, images from \d+ on, could not be .* died"):
        scale_out.evaluate([job], retries=0)


def test_what_was_measured_is_printed_when_a_later_model_fails(connected, capsys, monkeypatch):
    result = scale_out._result

    def fails(ray, reference, what):
        if what.startswith(NAMES[1]):
            raise zoo.ClusterError("the second cannot be measured")
        return result(ray, reference, what)

    monkeypatch.setattr(scale_out, "_result", fails)
    command = ["--n", "20", "--eps", "0.1", "--attacks", "fgsm", "--json", "--quiet"]
    assert main(["evaluate", *NAMES, *command, "--ray", "auto"]) == 1
    printed = capsys.readouterr()
    assert printed.err == "error: the second cannot be measured\n"
    assert main(["evaluate", NAMES[0], *command]) == 0
    assert json.loads(printed.out) == [json.loads(capsys.readouterr().out)]


def test_the_command(cluster, connected, capsys):
    command = [
        "evaluate", *NAMES, "--n", "20", "--eps", "0.1", "--attacks", "fgsm", "--json",
        "--batch-size", "16", "--quiet",
    ]  # fmt: skip
    printed = []
    for on in ([], ["--ray", cluster.address]):
        assert main([*command, *on]) == 0
        printed.append(json.loads(capsys.readouterr().out))
    assert printed[0] == printed[1]
    assert [result["model"] for result in printed[1]] == list(NAMES)


def test_no_images(connected, digits_model, digits):
    job = scale_out.Job("none", digits_model, digits.images[:0], digits.labels[:0], {"eps": 0.1})
    (report,) = scale_out.evaluate([job])
    assert report.n == 0
    assert report.rows[0]["attacked"].keys() == {"fgsm", "pgd", "all"}


def test_soundness_is_asked_of_the_whole(connected, digits_model, digits, monkeypatch):
    """What comes back from the cluster is checked again, with the image's place in the set."""
    result = scale_out._result

    def broken(ray, reference, what):
        outcome = result(ray, reference, what)
        if what == "a, images from 8 on":
            outcome.fooled[0][1]["fgsm"] = np.ones(8, bool)
        return outcome

    monkeypatch.setattr(scale_out, "_result", broken)
    x, y = digits.images[:20], digits.labels[:20]
    settings = {"eps": 0.01, "attacks": "fgsm", "batch_size": 8}
    job = scale_out.Job("a", digits_model, x, y, settings)
    with pytest.raises(zoo.SoundnessError, match="fools image 8, whose"):
        scale_out.evaluate([job])


def test_an_attack_of_ones_own(connected, digits_model, digits):
    """By its name, which the workers have never heard of."""

    @zoo.attacks.register_attack("own")
    @dataclasses.dataclass(frozen=True)
    class Own(zoo.attacks.Attack):
        share: float = zoo.attacks.parameter(0.5, "share of the budget")

        def run(self, victim, x, y, eps, norm, random):
            return x + self.share * eps.below * random.choice([-1.0, 1.0], x.shape)

    x, y = digits.images[:20], digits.labels[:20]
    settings = {"eps": 0.3, "attacks": "own", "params": {"own": {"share": 1.0}}, "batch_size": 8}
    try:
        (report,) = scale_out.evaluate([scale_out.Job("a", digits_model, x, y, settings)])
        here = evaluation.evaluate(digits_model, x, y, **settings)
    finally:
        del zoo.attacks.ATTACKS["own"]
    assert report.to_dict() == here.to_dict()


def test_workers_have_the_settings_of_keras(connected, digits):
    before = keras.config.epsilon()
    try:
        keras.config.set_epsilon(0.5)
        normalized = keras.layers.Normalization(mean=0.5, variance=0.01)
        network = keras.Sequential(
            [keras.Input((8, 8, 1)), normalized, keras.layers.Flatten(), keras.layers.Dense(10)]
        )
        model = zoo.models.LipschitzMarginNet(network)
        x, y, settings = digits.images[:3], digits.labels[:3], {"eps": 0.01, "attacks": ()}
        (report,) = scale_out.evaluate(scale_out.Job("mine", model, x, y, settings), "auto")
        expected = model.certify(x).radius
    finally:
        keras.config.set_epsilon(before)
    np.testing.assert_array_equal(report.certificate.radius, expected)
