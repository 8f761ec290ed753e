"""The description of the hardware, with made lists of devices."""

import types

import keras
import pytest

from training.hardware import hardware


def device(kind, name):
    return types.SimpleNamespace(device_type=kind, name=name)


CPU = device("CPU", "/physical_device:CPU:0")
GPUS = [device("GPU", f"/physical_device:GPU:{number}") for number in range(2)]


@pytest.mark.parametrize(
    ("devices", "expected"),
    [
        ([CPU], None),
        ([CPU, GPUS[0]], "NVIDIA H200"),
        ([CPU, *GPUS], "2 × NVIDIA H200"),
    ],
)
def test_accelerators_are_named_by_their_model(monkeypatch, devices, expected):
    import tensorflow as tf

    monkeypatch.setattr(tf.config, "get_visible_devices", lambda: devices)
    monkeypatch.setattr(
        tf.config.experimental, "get_device_details", lambda device: {"device_name": "NVIDIA H200"}
    )
    processor, *accelerators = hardware().split(", ")
    assert " of " in processor
    assert accelerators == ([expected] if expected else [])


def test_jax_names_them_too(monkeypatch):
    jax = pytest.importorskip("jax", reason="JAX is not installed")
    kinds = [("cpu", "cpu"), ("gpu", "NVIDIA H200"), ("gpu", "NVIDIA H200")]
    devices = [types.SimpleNamespace(platform=p, device_kind=kind) for p, kind in kinds]
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.setattr(jax, "devices", lambda: devices)
    assert hardware().split(", ")[1:] == ["2 × NVIDIA H200"]
