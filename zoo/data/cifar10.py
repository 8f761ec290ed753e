"""CIFAR-10: photographs of animals and vehicles."""

from zoo.data.registry import Dataset, register

register(Dataset(name="cifar10", image_shape=(32, 32, 3), num_classes=10, builder="cifar10"))
