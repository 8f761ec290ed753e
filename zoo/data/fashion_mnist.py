"""Fashion-MNIST: articles of clothing."""

from zoo.data.registry import Dataset, register

register(
    Dataset(name="fashion-mnist", image_shape=(28, 28, 1), num_classes=10, builder="fashion_mnist")
)
