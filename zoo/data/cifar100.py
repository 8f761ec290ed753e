"""CIFAR-100: photographs of a hundred kinds of animals, plants and things."""

from zoo.data.registry import Dataset, register

_KINDS = {
    "aquatic mammals": "beaver dolphin otter seal whale",
    "fish": "aquarium_fish flatfish ray shark trout",
    "flowers": "orchid poppy rose sunflower tulip",
    "food containers": "bottle bowl can cup plate",
    "fruit and vegetables": "apple mushroom orange pear sweet_pepper",
    "household electrical devices": "clock keyboard lamp telephone television",
    "household furniture": "bed chair couch table wardrobe",
    "insects": "bee beetle butterfly caterpillar cockroach",
    "large carnivores": "bear leopard lion tiger wolf",
    "large man-made outdoor things": "bridge castle house road skyscraper",
    "large natural outdoor scenes": "cloud forest mountain plain sea",
    "large omnivores and herbivores": "camel cattle chimpanzee elephant kangaroo",
    "medium-sized mammals": "fox porcupine possum raccoon skunk",
    "non-insect invertebrates": "crab lobster snail spider worm",
    "people": "baby boy girl man woman",
    "reptiles": "crocodile dinosaur lizard snake turtle",
    "small mammals": "hamster mouse rabbit shrew squirrel",
    "trees": "maple_tree oak_tree palm_tree pine_tree willow_tree",
    "vehicles 1": "bicycle bus motorcycle pickup_truck train",
    "vehicles 2": "lawn_mower rocket streetcar tank tractor",
}

#: The names of the classes, in their order, which is the alphabetical one.
CLASSES = tuple(sorted(name for names in _KINDS.values() for name in names.split()))
#: The twenty superclasses, of five classes each.
GROUPS = {
    kind: tuple(CLASSES.index(name) for name in names.split()) for kind, names in _KINDS.items()
}

register(
    Dataset(
        name="cifar100",
        image_shape=(32, 32, 3),
        num_classes=len(CLASSES),
        builder="cifar100",
        class_names=CLASSES,
        groups=GROUPS,
        source="https://www.cs.toronto.edu/~kriz/cifar.html",
        license="public, without a named licence; the author asks to cite his report",
        citation="Krizhevsky: Learning Multiple Layers of Features from Tiny Images, 2009",
    )
)
