"""Training on all devices of a machine, for the JAX backend."""

import keras


def use_all_devices(batch_size):
    """Make Keras split each batch over all devices that JAX sees, with equal weights on all.

    This applies to all models that the process makes afterwards.

    Args:
        batch_size: number of images per batch.

    Returns:
        The number of devices.

    Raises:
        ValueError: on another backend, or if the batch cannot be split into equal parts.

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
