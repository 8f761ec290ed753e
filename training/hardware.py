"""Describe the hardware that a run or measurement used."""

import collections
import platform

import keras

from zoo.ops.cores import cores


def hardware():
    """One line naming the processor, the cores used and the accelerators, if any."""
    number = cores()
    noun = "core" if number == 1 else "cores"
    counts = collections.Counter(_accelerators())
    found = [name if count == 1 else f"{count} × {name}" for name, count in counts.items()]
    return ", ".join([f"{number} {noun} of {_processor()}", *found])


def _processor():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
        return names[0]
    except (OSError, IndexError):
        return platform.processor() or platform.machine()


def _accelerators():
    """The models of the accelerators, such as ``NVIDIA H200``; Keras only numbers them."""
    if keras.backend.backend() == "jax":
        import jax

        return [device.device_kind for device in jax.devices() if device.platform != "cpu"]
    import tensorflow as tf

    others = [device for device in tf.config.get_visible_devices() if device.device_type != "CPU"]
    details = map(tf.config.experimental.get_device_details, others)
    return [
        detail.get("device_name", other.name) for detail, other in zip(details, others, strict=True)
    ]
