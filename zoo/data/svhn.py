"""SVHN: digits cropped from photographs of house numbers."""

from zoo.data.registry import Dataset, register

register(Dataset(name="svhn", image_shape=(32, 32, 3), num_classes=10, builder="svhn_cropped"))
