"""MNIST: handwritten digits."""

from zoo.data.registry import Dataset, register

register(Dataset(name="mnist", image_shape=(28, 28, 1), num_classes=10, builder="mnist"))
