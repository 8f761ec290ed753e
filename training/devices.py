"""One training over all devices of a machine, on JAX."""

import keras


def use_all_devices(batch_size):
    """Let Keras split each batch over the devices that JAX sees, weights being the same on all.

    For models made afterwards, in the whole process.

    Args:
        batch_size: of the training.

    Returns:
        The number of devices.

    Raises:
        ValueError: on another backend, or if a batch has no equal parts.

    Reference:
        ``keras.distribution.DataParallel``.
    """
    if keras.backend.backend() != "jax":
        raise ValueError("training on several devices needs KERAS_BACKEND=jax")
    distribution = keras.distribution.DataParallel()
    count = distribution.device_mesh.devices.size
    if batch_size % count:
        raise ValueError(f"batch_size {batch_size} is no multiple of {count} devices")
    keras.distribution.set_distribution(distribution)
    return count
